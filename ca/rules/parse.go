package rules

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"cel.dev/cel-go/cel"
	"gopkg.in/yaml.v3"

	"github.com/sigbox/sigbox/oidc"
)

// Bounds of a file.
const (
	maxFile   = 256 << 10 // bytes
	maxRules  = 100       // for one issuer
	maxReason = 200       // letters
	maxName   = 64
)

// Parse reads the rules of a file for the issuers that are known. file is its name, for messages; the
// error names every problem, with its line. An issuer that is not known is a problem: its rules would
// restrict nobody.
func Parse(file string, data []byte, known *oidc.Config) (*Set, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", file, maxFile)
	}
	env, err := newEnv()
	if err != nil {
		return nil, fmt.Errorf("CEL: %w", err)
	}
	r := &reader{file: file, env: env, set: &Set{known: map[string]bool{}, issuers: map[string]list{}}}
	for _, i := range known.Issuers {
		r.set.known[i.URL] = true
	}
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return r.set, nil // only comments
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: holds more than one document", file)
	}
	r.document(doc.Content[0])
	return r.set, errors.Join(r.problems...)
}

type reader struct {
	file     string
	env      *cel.Env
	set      *Set
	problems []error
}

func (r *reader) problem(n *yaml.Node, format string, args ...any) {
	r.problems = append(r.problems, fmt.Errorf("%s:%d: %s", r.file, n.Line, fmt.Sprintf(format, args...)))
}

// pairs calls f for each member of a mapping of plain text keys.
func (r *reader) pairs(n *yaml.Node, what string, f func(k, v *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.problem(n, "want %s", what)
		return
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case k.Kind != yaml.ScalarNode || k.Tag != "!!str" || v.Kind == yaml.AliasNode:
			r.problem(k, "is no plain key with a plain value: anchors, aliases and merges have no place here")
		case seen[k.Value]:
			r.problem(k, "%s is there twice", k.Value)
		default:
			f(k, v)
		}
		seen[k.Value] = true
	}
}

func (r *reader) document(n *yaml.Node) {
	r.pairs(n, "issuers, each with a list of rules", func(k, v *yaml.Node) {
		if !r.set.known[k.Value] {
			r.problem(k, "issuer %q is not configured, so that its rules would restrict nobody: write it as the file of issuers does", k.Value)
		}
		if v.Kind != yaml.SequenceNode || len(v.Content) == 0 || len(v.Content) > maxRules {
			r.problem(v, "%s: want a list of 1 to %d rules", k.Value, maxRules)
			return
		}
		var own list
		var err error
		names := map[string]bool{}
		for _, item := range v.Content {
			one := r.rule(item)
			if names[one.name] && one.name != "" {
				r.problem(item, "the name %q is taken by another rule of %s", one.name, k.Value)
			}
			names[one.name] = true
			own.rules = append(own.rules, one)
		}
		if own.grant, err = granted(k.Value, own.rules); err != nil {
			r.problem(v, "%v", err)
		}
		r.set.issuers[k.Value] = own
	})
}

func (r *reader) rule(n *yaml.Node) (out rule) {
	given := map[string]bool{}
	r.pairs(n, "a rule with name, allow and reason", func(k, v *yaml.Node) {
		given[k.Value] = true
		if v.Kind != yaml.ScalarNode || v.Tag != "!!str" && k.Value != "allow" {
			r.problem(v, "%s: want text", k.Value)
			return
		}
		switch k.Value {
		case "name":
			out.name = r.text(v, "name", maxName)
		case "reason":
			out.reason = r.text(v, "reason", maxReason)
		case "allow":
			var err error
			out.source = v.Value
			if out.allow, err = compile(r.env, v.Value); err != nil {
				r.problem(v, "allow %v", err)
			}
		default:
			r.problem(k, "%s: there is no such key; there are name, allow, reason", k.Value)
		}
	})
	for _, name := range []string{"name", "allow", "reason"} {
		if n.Kind == yaml.MappingNode && !given[name] {
			r.problem(n, "a rule has no %s", name)
		}
	}
	return out
}

// text is what goes into log lines and answers: one line of printable letters.
func (r *reader) text(v *yaml.Node, what string, most int) string {
	s := v.Value
	if s == "" || len([]rune(s)) > most || strings.TrimSpace(s) != s || strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) {
		r.problem(v, "%s: want one line of 1 to %d printable letters", what, most)
	}
	return s
}
