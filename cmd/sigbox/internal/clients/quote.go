package clients

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/template"
	syntax "text/template/parse"
	"unicode"

	"github.com/sigbox/sigbox/internal/runs"
)

// quoting are the functions of which every printed value must end in one.
var quoting = template.FuncMap{
	"sh": sh, "yaml": scalar, "json": scalar, "groovy": groovy, "pem": pemBlock,
	"b64":     func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"version": ran, "object": object,
	"lines": base64Lines, "git": gitValue,
}

// text are functions whose result is still to be quoted.
var text = template.FuncMap{"exactly": exactly}

// compile parses a template and refuses one that prints a value unquoted.
func compile(name, body string) (*template.Template, error) {
	t, err := template.New(name).Option("missingkey=error").Funcs(quoting).Funcs(text).Parse(body)
	if err != nil {
		return nil, err
	}
	return t, refuseBare(t.Root)
}

func refuseBare(n syntax.Node) error {
	switch n := n.(type) {
	case *syntax.ListNode:
		if n == nil {
			return nil
		}
		for _, c := range n.Nodes {
			if err := refuseBare(c); err != nil {
				return err
			}
		}
	case *syntax.ActionNode:
		if len(n.Pipe.Decl) > 0 {
			return nil
		}
		last := n.Pipe.Cmds[len(n.Pipe.Cmds)-1]
		if _, literal := last.Args[0].(*syntax.StringNode); literal && len(n.Pipe.Cmds) == 1 {
			return nil // the author's own text, such as braces
		}
		if f, ok := last.Args[0].(*syntax.IdentifierNode); ok && quoting[f.Ident] != nil {
			return nil
		}
		return fmt.Errorf("%s prints a value and does not say how it is quoted: end it in one of %s", n, strings.Join(slices.Sorted(maps.Keys(quoting)), ", "))
	case *syntax.IfNode:
		return errors.Join(refuseBare(n.List), refuseBare(n.ElseList))
	case *syntax.RangeNode:
		return errors.Join(refuseBare(n.List), refuseBare(n.ElseList))
	case *syntax.WithNode:
		return errors.Join(refuseBare(n.List), refuseBare(n.ElseList))
	case *syntax.TemplateNode:
		return fmt.Errorf("%s: a consumer's templates call no other", n)
	}
	return nil
}

var errControl = errors.New("the value holds a control character, which this file cannot")

// base64Lines is base64 in lines, for a here-document whose lines are no scalar's.
func base64Lines(s string) string {
	out := base64.StdEncoding.EncodeToString([]byte(s))
	return strings.Join(slices.Collect(chunks(out, 100)), "\n")
}

func chunks(s string, n int) iter.Seq[string] {
	return func(yield func(string) bool) {
		for ; len(s) > n; s = s[n:] {
			if !yield(s[:n]) {
				return
			}
		}
		yield(s)
	}
}

// sh makes one word of s for a shell.
func sh(s string) (string, error) {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "", errControl
	}
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@%:,") == "" {
		return s, nil
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'", nil
}

// scalar is s in double quotes, which JSON and YAML read alike.
func scalar(s string) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return "", err
	}
	out := strings.TrimSuffix(b.String(), "\n")
	b.Reset()
	for _, r := range out {
		if r != ' ' && r < 0x10000 && !unicode.IsPrint(r) {
			fmt.Fprintf(&b, `\u%04x`, r) // JSON leaves DEL, C1 controls and the like, which YAML refuses
			continue
		}
		b.WriteRune(r)
	}
	return b.String(), nil
}

// object writes a JSON object anew, as a file.
func object(s string) (string, error) {
	var b bytes.Buffer
	if s = strings.TrimSpace(s); !strings.HasPrefix(s, "{") || json.Indent(&b, []byte(s), "", "  ") != nil {
		return "", errors.New("a value that should be a JSON object is something else")
	}
	return b.String(), nil
}

// exactly is a regular expression that matches s and nothing else.
func exactly(s string) string { return "^" + regexp.QuoteMeta(s) + "$" }

// groovy is s in single quotes, where Groovy expands nothing.
func groovy(s string) (string, error) {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "", errControl
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'", nil
}

// gitValue is s as a value of a git configuration file.
func gitValue(s string) (string, error) {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "", errControl
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`, nil
}

// pemBlock writes PEM anew, indented for a YAML block scalar; the first line has its indentation from the
// template.
func pemBlock(indent int, s string) (string, error) {
	var out []string
	for rest := []byte(s); len(strings.TrimSpace(string(rest))) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || !slices.Contains([]string{"CERTIFICATE", "PUBLIC KEY"}, block.Type) {
			return "", errors.New("a value that should be certificates or a public key in PEM is something else")
		}
		text := pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})
		out = append(out, strings.Split(strings.TrimSpace(string(text)), "\n")...)
	}
	return strings.Join(out, "\n"+strings.Repeat(" ", indent)), nil
}

// ran is the version of a client that was run, and an error while none was.
func ran(client string) (string, error) {
	f, err := runs.Read(runs.Embedded(), client)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("no run of %s is on record, so no version of it can be named", client)
	}
	version, _ := f.Last()
	return version, err
}
