package config

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
	"text/tabwriter"
)

// Example is a configuration that [Parse] takes.
//
//go:embed example.yaml
var Example string

var index = regexp.MustCompile(`\[[0-9]*\]`)

// Explain says what a key is for, "" for the file as a whole. A key may have the index of a list's
// item in it, as in errors.
func Explain(path string) (string, error) {
	path = strings.Trim(index.ReplaceAllString(path, ""), ".")
	var b strings.Builder
	if path == "" {
		fmt.Fprintf(&b, "%s\n", doc("Config", ""))
	} else {
		k, ok := find(path)
		if !ok {
			return "", fmt.Errorf("there is no key %q%s", path, closest(path))
		}
		fmt.Fprintf(&b, "%s: %s\n", k.Path, k.facts())
		for _, text := range []string{k.Doc, k.About} {
			if text != "" {
				fmt.Fprintf(&b, "\n%s\n", text)
			}
		}
	}
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	heading := "\nKeys:\n"
	for _, k := range Keys() {
		if k.parent() == path {
			b.WriteString(heading)
			heading = ""
			fmt.Fprintf(table, "  %s\t%s\n", k.Path, firstSentence(k.Doc))
		}
	}
	if err := table.Flush(); err != nil { // a strings.Builder takes everything
		panic(err)
	}
	return b.String(), nil
}

func find(path string) (Key, bool) {
	for _, k := range Keys() {
		if k.Path == path {
			return k, true
		}
	}
	return Key{}, false
}

// closest proposes keys that end like path.
func closest(path string) string {
	last := path[strings.LastIndex(path, ".")+1:]
	var same []string
	best, distance := "", 3
	for _, k := range Keys() {
		if k.Name == last {
			same = append(same, k.Path)
		}
		if d := editDistance(path, k.Path); d < distance {
			best, distance = k.Path, d
		}
	}
	switch {
	case best != "":
		return "; did you mean " + best + "?"
	case len(same) > 0:
		return "; there is " + strings.Join(same, ", ")
	}
	return "; \"sigbox config explain\" lists the first ones"
}

// facts are the kind, the bounds and the default of a key, on one line.
func (k Key) facts() string {
	text := k.Kind
	if k.Bounds != "" {
		text += map[bool]string{true: " ", false: ", "}[k.Kind == "one of"] + k.Bounds
	}
	switch {
	case k.Required && k.parent() == "":
		text += "; required"
	case k.Required:
		text += "; required in its section"
	case k.Default != "":
		text += "; default " + k.Default
	default:
		text += "; optional"
	}
	if k.Live {
		text += "; live"
	}
	return text
}

// Reference is the page docs/reference/configuration.md.
func Reference() string {
	var b strings.Builder
	b.WriteString("<!-- Made from the structs in cmd/sigbox/internal/config; do not edit. To make it again:\n" +
		"     go test ./cmd/sigbox/internal/config -run TestReference -update -->\n\n# Configuration\n\n")
	fmt.Fprintf(&b, "%s\n\n", doc("Config", ""))
	b.WriteString("`sigbox config check` finds what is wrong with a file, `sigbox config show` prints it with all defaults,\n" +
		"and `sigbox config explain KEY` prints what is on this page.\n\n")
	fmt.Fprintf(&b, "```yaml\n%s```\n\n## The file\n", Example)
	for _, k := range Keys() {
		if database, inside := databaseOf(k); inside && k.Path != database {
			continue
		}
		k.write(&b, k.Path)
	}
	fmt.Fprintf(&b, "\n## Databases\n\n%s\n", doc("Database", ""))
	for _, k := range Keys() {
		if rest, ok := strings.CutPrefix(k.Path, "tlog.database."); ok {
			k.write(&b, "database."+rest)
		}
	}
	return b.String()
}

// databaseOf returns the section of a database that a key is in, or is.
func databaseOf(k Key) (path string, inside bool) {
	for _, s := range Keys() {
		if s.Type == "Database" && (k.Path == s.Path || strings.HasPrefix(k.Path, s.Path+".")) {
			return s.Path, true
		}
	}
	return "", false
}

func (k Key) write(b *strings.Builder, title string) {
	if k.Section && k.parent() == "" {
		fmt.Fprintf(b, "\n## %s\n\n%s\n\n%s\n", title, sentence(k.facts()), k.Doc)
	} else {
		fmt.Fprintf(b, "\n### %s\n\n%s\n\n%s\n", title, sentence(k.facts()), k.Doc)
	}
	switch {
	case k.Type == "Database":
		b.WriteString("\nIts keys: see [Databases](#databases).\n")
	case k.About != "":
		fmt.Fprintf(b, "\n%s\n", k.About)
	}
}

// sentence writes facts in italics, as a sentence.
func sentence(text string) string {
	return "*" + strings.ToUpper(text[:1]) + text[1:] + ".*"
}
