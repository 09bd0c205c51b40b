package clients

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// check reads a file as what its name says it is. A kind that it does not know is an error: one must say how
// it is read.
func check(t *testing.T, f File) error {
	t.Helper()
	switch kind(f.Path) {
	case "yaml":
		_, err := readYAML(f.Text)
		return err
	case "json":
		var v any
		return json.Unmarshal([]byte(f.Text), &v)
	case "sh":
		return shellReads(t, f.Text)
	case "groovy":
		return balanced(f.Text)
	case "go":
		_, err := parser.ParseFile(token.NewFileSet(), f.Path, f.Text, parser.AllErrors)
		return err
	case "git":
		cmd := exec.CommandContext(t.Context(), "git", "config", "-f", "-", "--list")
		cmd.Stdin = strings.NewReader(f.Text)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("git: %w: %s", err, out)
		}
		return nil
	case "base64":
		_, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(f.Text, "\n"))
		return err
	case "read by the tests of e2e":
		return nil
	}
	return errors.New("nobody reads files of this name: say in kind how it is checked")
}

// kind is what a file is, by its name.
func kind(p string) string {
	switch path.Base(p) {
	case "Jenkinsfile":
		return "groovy"
	case "gitconfig":
		return "git"
	}
	switch path.Ext(p) {
	case ".yaml", ".yml":
		return "yaml"
	case ".json":
		return "json"
	case ".sh":
		return "sh"
	case ".go":
		return "go"
	case ".b64":
		return "base64"
	case ".mjs", ".py", ".java", ".kts":
		return "read by the tests of e2e"
	}
	return ""
}

// readYAML reads every document; a key that is there twice is an error.
func readYAML(text string) (docs []any, err error) {
	for dec := yaml.NewDecoder(strings.NewReader(text)); ; {
		var v any
		if err := dec.Decode(&v); errors.Is(err, io.EOF) {
			return docs, nil
		} else if err != nil {
			return nil, err
		}
		docs = append(docs, v)
	}
}

func shellReads(t *testing.T, text string) error {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-n")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("sh -n: %w: %s", err, out)
	}
	return nil
}

// balanced walks over Groovy's strings and comments and wants every bracket closed.
func balanced(text string) error {
	var open []byte
	closes := map[byte]byte{'}': '{', ')': '(', ']': '['}
	for i := 0; i < len(text); i++ {
		rest := text[i:]
		switch c := text[i]; {
		case strings.HasPrefix(rest, "//"):
			i += max(strings.IndexByte(rest, '\n'), 1)
		case strings.HasPrefix(rest, "'''"), strings.HasPrefix(rest, `"""`):
			end := strings.Index(rest[3:], rest[:3])
			if end < 0 {
				return fmt.Errorf("a string is not closed: %.60q", rest)
			}
			i += end + 5
		case c == '\'' || c == '"':
			end := closing(rest)
			if end < 0 {
				return fmt.Errorf("a string is not closed: %.60q", rest)
			}
			i += end
		case strings.IndexByte("{([", c) >= 0:
			open = append(open, c)
		case closes[c] != 0:
			if len(open) == 0 || open[len(open)-1] != closes[c] {
				return fmt.Errorf("%q closes nothing: %.60q", c, rest)
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("%q is not closed", open)
	}
	return nil
}

// closing is where the string ends that text begins with, on its line; -1 where it does not.
func closing(text string) int {
	for i := 1; i < len(text) && text[i] != '\n'; i++ {
		switch text[i] {
		case '\\':
			i++
		case text[0]:
			return i
		}
	}
	return -1
}

// TestCheckSees: each reader refuses what it must.
func TestCheckSees(t *testing.T) {
	for name, text := range map[string]string{
		"a.yaml": "a: 1\na: 2\n", "b.yaml": "a: \"x\n", "a.json": `{"a": 1,}`, "a.sh": "if true; then\n", "Jenkinsfile": "pipeline { agent any\n",
		"x/Jenkinsfile": "a = 'it's'\n", "a.go": "package a\nfunc {", "gitconfig": "[a\n", "a.b64": "ab=\n", "a.xyz": "x",
	} {
		if err := check(t, File{name, text}); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if docs, err := readYAML("a: 1\n---\nb: 2\n"); err != nil || len(docs) != 2 {
		t.Errorf("%v, %v", docs, err)
	}
}
