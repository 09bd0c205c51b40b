package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// position is where something stands in the file; lines and columns count from 1.
type position struct{ line, column int }

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Line, Column int    // from 1; 0 where it is the file as a whole
	Key          string // such as tlog.rekor_v1.shards[0].key; may be ""
	Text         string // what is wrong, and what to do
}

// Error is everything that is wrong with a configuration.
type Error struct {
	File     string
	Problems []Problem // at least one, in the order of the file
}

// Error has a line for each problem, which begins as those of compilers do: FILE:LINE:COLUMN.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = e.File
		if p.Line > 0 {
			lines[i] = fmt.Sprintf("%s:%d:%d", e.File, p.Line, p.Column)
		}
		if p.Key != "" {
			lines[i] += ": " + p.Key
		}
		lines[i] += ": " + p.Text
	}
	if len(lines) == 1 {
		return lines[0]
	}
	return fmt.Sprintf("%d problems in the configuration:\n%s", len(lines), strings.Join(lines, "\n"))
}

// problems collects what is wrong with one file.
type problems struct {
	file string
	list []Problem
}

func (p *problems) add(at position, key, format string, args ...any) {
	p.list = append(p.list, Problem{Line: at.line, Column: at.column, Key: key, Text: fmt.Sprintf(format, args...)})
}

// about tells whether there is a problem with a key or with what is in it.
func (p *problems) about(key string) bool {
	return slices.ContainsFunc(p.list, func(q Problem) bool {
		return q.Key == key || strings.HasPrefix(q.Key, key+".") || strings.HasPrefix(q.Key, key+"[")
	})
}

// err returns the [Error], nil where there is nothing wrong.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &Error{File: p.file, Problems: p.list}
}

// Problem is one about a key, which may be a default and not be in the file: then it is placed where
// its section is.
func (c *Config) Problem(key, format string, args ...any) Problem {
	at, ok := c.at[key]
	for section := key; !ok && section != ""; at, ok = c.at[section] {
		section = section[:max(0, strings.LastIndexAny(section, ".["))]
	}
	return Problem{Line: at.line, Column: at.column, Key: key, Text: fmt.Sprintf(format, args...)}
}

// Err is the [Error] of problems that were found beyond the file itself, nil for none.
func (c *Config) Err(list []Problem) error {
	p := problems{file: c.file, list: list}
	return p.err()
}
