package oidc

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

const (
	maxConfigBytes = 1 << 20
	maxConfigNodes = 100_000 // visited, so that aliases of aliases count each time
	maxConfigDepth = 16
	maxProblems    = 100 // listed; a file with more is not Fulcio's
)

// Problem is one thing wrong with a configuration file.
type Problem struct {
	File    string
	Line    int // from 1; 0 where the problem is the whole file's
	Message string
}

// ConfigError lists every problem of a configuration file, one a line, in file order.
type ConfigError struct{ Problems []Problem }

func (e *ConfigError) Error() string {
	lines := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		where := p.File
		if p.Line > 0 {
			where += ":" + strconv.Itoa(p.Line)
		}
		lines = append(lines, where+": "+p.Message)
	}
	return strings.Join(lines, "\n")
}

// ParseConfig reads Fulcio's configuration: YAML with kebab-case names or JSON with PascalCase
// names. file names it in problems. The error is always a *ConfigError.
//
// It is stricter than upstream: unknown and repeated keys, unknown types, undefined ci-providers,
// an issuer-url that differs from its key, and templates beyond the admitted language are problems.
// It knows one key more, claims-may-override in an entry of ci-issuer-metadata: the names of
// default-template-values that a token's claim of the same name replaces.
func ParseConfig(file string, data []byte) (*Config, error) {
	r := &reader{file: file, cfg: &Config{Providers: map[string]*Provider{}}}
	if root := r.document(data); root != nil {
		r.root(root)
	}
	if len(r.problems) > 0 {
		slices.SortStableFunc(r.problems, func(a, b Problem) int { return a.Line - b.Line })
		return nil, &ConfigError{Problems: r.problems}
	}
	return r.cfg, nil
}

// reader walks the syntax tree, so that every problem has its line.
type reader struct {
	file     string
	json     bool // names are PascalCase
	cfg      *Config
	problems []Problem
	visited  int
}

func (r *reader) problem(n *yaml.Node, format string, args ...any) {
	if len(r.problems) == maxProblems {
		return
	}
	line := 0
	if n != nil {
		line = n.Line
	}
	r.problems = append(r.problems, Problem{r.file, line, fmt.Sprintf(format, args...)})
}

func (r *reader) document(data []byte) *yaml.Node {
	switch {
	case len(data) > maxConfigBytes:
		r.problem(nil, "larger than %d bytes", maxConfigBytes)
		return nil
	case !utf8.Valid(data):
		r.problem(nil, "not valid UTF-8")
		return nil
	}
	r.json = json.Valid(data)
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if err.Error() == "EOF" {
			r.problem(nil, "is empty: want oidc-issuers, meta-issuers or both")
			return nil
		}
		r.syntax(strings.TrimPrefix(err.Error(), "yaml: "))
		return nil
	}
	if dec.Decode(&more) == nil {
		r.problem(&more, "a second YAML document: want one")
		return nil
	}
	return doc.Content[0]
}

// syntax records the YAML reader's complaint, whose line is in its text.
func (r *reader) syntax(text string) {
	n := &yaml.Node{}
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if num, msg, ok := strings.Cut(rest, ": "); ok {
			if line, err := strconv.Atoi(num); err == nil {
				n.Line, text = line, msg
			}
		}
	}
	r.problem(n, "%s", text)
}

// key is a name in the file's two spellings and what to do with its value.
type key struct {
	yaml, json string
	read       func(k, v *yaml.Node)
}

// fields reads a mapping whose keys are known.
func (r *reader) fields(n *yaml.Node, what string, keys []key) {
	for _, e := range r.mapping(n, what) {
		i := slices.IndexFunc(keys, func(k key) bool {
			return r.json && strings.EqualFold(k.json, e.name) || !r.json && k.yaml == e.name
		})
		if i < 0 {
			names := make([]string, 0, len(keys))
			for _, k := range keys {
				if r.json {
					names = append(names, k.json)
				} else {
					names = append(names, k.yaml)
				}
			}
			r.problem(e.key, "unknown key %q in %s: want one of %s", clip(e.name), what, strings.Join(names, ", "))
			continue
		}
		keys[i].read(e.key, e.value)
	}
}

type member struct {
	name       string
	key, value *yaml.Node
}

// mapping returns a mapping's members with aliases followed and merge keys (<<) applied.
func (r *reader) mapping(n *yaml.Node, what string) []member {
	return r.members(n, what, 0)
}

func (r *reader) members(n *yaml.Node, what string, depth int) []member {
	n = r.follow(n)
	if n == nil {
		return nil
	}
	if n.Kind != yaml.MappingNode || depth > maxConfigDepth {
		r.problem(n, "%s is not a mapping", what)
		return nil
	}
	var out, merged []member
	lines := map[string]int{} // of the names in out
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := r.follow(n.Content[i]), n.Content[i+1]
		if k == nil {
			return nil
		}
		if k.Tag == "!!merge" {
			merged = append(merged, r.merge(v, what, depth+1)...)
			continue
		}
		if k.Kind != yaml.ScalarNode {
			r.problem(k, "a key of %s is not text", what)
			continue
		}
		if line, twice := lines[k.Value]; twice {
			r.problem(n.Content[i], "key %q of %s appears twice, first on line %d", clip(k.Value), what, line)
			continue
		}
		lines[k.Value] = n.Content[i].Line
		out = append(out, member{k.Value, n.Content[i], v})
	}
	for _, m := range merged { // a mapping's own keys win, then the first merged
		if _, have := lines[m.name]; !have {
			lines[m.name] = m.key.Line
			out = append(out, m)
		}
	}
	return out
}

func (r *reader) merge(v *yaml.Node, what string, depth int) []member {
	v = r.follow(v)
	if v == nil || v.Kind != yaml.SequenceNode {
		return r.members(v, what, depth)
	}
	var out []member
	for _, c := range v.Content {
		out = append(out, r.members(c, what, depth)...)
	}
	return out
}

// follow returns what an alias stands for, nil once the document has been visited too often.
func (r *reader) follow(n *yaml.Node) *yaml.Node {
	if n == nil || r.visited > maxConfigNodes {
		return nil
	}
	if r.visited++; r.visited > maxConfigNodes {
		r.problem(n, "more than %d nodes: aliases multiply", maxConfigNodes)
		return nil
	}
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// text reads a scalar as it was written.
func (r *reader) text(dst *string, what string) func(_, v *yaml.Node) {
	return func(_, v *yaml.Node) {
		n := r.follow(v)
		if n == nil {
			return
		}
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Tag == "!!binary" {
			r.problem(v, "%s is not text", what)
			return
		}
		*dst = n.Value
	}
}

func (r *reader) boolean(dst *bool, what string) func(_, v *yaml.Node) {
	return func(_, v *yaml.Node) {
		n := r.follow(v)
		if n == nil {
			return
		}
		if n.Tag != "!!bool" {
			r.problem(v, "%s is not true or false", what)
			return
		}
		*dst = strings.EqualFold(n.Value, "true")
	}
}
