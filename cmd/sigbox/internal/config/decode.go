package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// Load reads and checks a configuration file. Its error is an [*Error] with everything that is
// wrong. Nothing that the file names is looked at.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, whole(path, "cannot be read: %v", errors.Unwrap(err))
	}
	defer f.Close()
	switch st, err := f.Stat(); {
	case err != nil:
		return nil, whole(path, "cannot be read: %v", err)
	case st.IsDir():
		return nil, whole(path, "is a directory: name the file in it")
	case st.Mode().IsRegular() && st.Mode().Perm()&0o002 != 0:
		return nil, whole(path, "can be written by everybody (mode %04o), and whoever writes it decides which keys sign: run chmod 644 on it", st.Mode().Perm())
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, whole(path, "cannot be read: %v", err)
	}
	return Parse(path, raw)
}

// whole is the error for a file that holds no configuration at all.
func whole(file, format string, args ...any) error {
	return &Error{File: file, Problems: []Problem{{Text: fmt.Sprintf(format, args...)}}}
}

// Parse is [Load] for a file that was read already.
func Parse(path string, raw []byte) (*Config, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	root, err := document(path, raw)
	if err != nil {
		return nil, err
	}
	d := &decoder{problems: problems{file: path}, dir: filepath.Dir(abs), at: map[string]position{}}
	c := &Config{}
	d.mapping(root, reflect.ValueOf(c).Elem(), "")
	c.file, c.at = path, d.at
	c.inherit()
	check(c, &d.problems)
	if err := d.err(); err != nil {
		return nil, err
	}
	return c, nil
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?(.*)$`)

// document parses the one YAML document that a file holds, which must be a mapping.
func document(path string, raw []byte) (*yaml.Node, error) {
	switch {
	case len(raw) > maxFile:
		return nil, whole(path, "is larger than %d bytes, which no configuration is", maxFile)
	case !utf8.Valid(raw):
		return nil, whole(path, "is not UTF-8 text")
	}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil, whole(path, "is empty")
	}
	if err == nil && !errors.Is(dec.Decode(&more), io.EOF) {
		return nil, whole(path, "has more than one YAML document: want one, without further --- lines")
	}
	if err != nil {
		return nil, syntaxError(path, raw, err)
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, whole(path, "is not a mapping: want lines of the form KEY: VALUE")
	}
	return root, nil
}

// syntaxError puts the library's error into our form.
func syntaxError(path string, raw []byte, err error) error {
	p := Problem{Text: err.Error()}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		p.Text = "is not YAML: " + m[2]
		// The library counts lines from 0 in some errors, and leaves out line 0 in all.
		if p.Line == 0 || strings.HasPrefix(m[2], "did not find expected") {
			p.Line++
		}
	}
	for i, line := range bytes.Split(raw, []byte("\n")) {
		if indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]; bytes.ContainsRune(indent, '\t') {
			p.Line, p.Text = i+1, "is indented with a tab: YAML takes spaces only"
			break
		}
	}
	if p.Line > 0 {
		p.Column = 1
	}
	return &Error{File: path, Problems: []Problem{p}}
}

// decoder brings YAML nodes into structs and collects what does not fit.
type decoder struct {
	problems
	dir string              // where relative paths begin
	at  map[string]position // of every key that is there
}

// field is a key of a section.
type field struct {
	reflect.StructField
	key string // as it is in the file
}

// fields lists the keys of a section.
func fields(t reflect.Type) (list []field) {
	for i := range t.NumField() {
		f := t.Field(i)
		if key := f.Tag.Get("yaml"); key != "" && key != "-" {
			list = append(list, field{f, key})
		}
	}
	return list
}

func (f field) required() bool { return f.Tag.Get("required") == "true" }
func (f field) live() bool     { return f.Tag.Get("live") == "true" }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func at(n *yaml.Node) position { return position{n.Line, n.Column} }

// mapping decodes a section. v is the struct.
func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	d.defaults(v)
	known := map[string]field{}
	for _, f := range fields(v.Type()) {
		known[f.key] = f
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		full := join(path, key.Value)
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" || key.Value == "" {
			d.add(at(key), path, "has a key that is not plain text: anchors, aliases and merges have no place here")
			continue
		}
		f, ok := known[key.Value]
		if !ok {
			d.add(at(key), full, "there is no such key%s", suggest(key.Value, path, v.Type()))
			continue
		}
		if first, twice := d.at[full]; twice {
			d.add(at(key), full, "is given twice; the first time at line %d", first.line)
			continue
		}
		d.at[full] = at(key)
		d.value(value, v.FieldByIndex(f.Index), f, full)
	}
	for _, f := range fields(v.Type()) {
		if full := join(path, f.key); f.required() && d.at[full] == (position{}) {
			d.add(d.section(n, path), full, "is missing: %s", firstSentence(doc(v.Type().Name(), f.Name)))
		}
	}
}

// section is where a section is named, or where it begins.
func (d *decoder) section(n *yaml.Node, path string) position {
	if p, ok := d.at[path]; ok {
		return p
	}
	return at(n)
}

// defaults sets what the tags say, in a section and those inside of it that are always there.
func (d *decoder) defaults(v reflect.Value) {
	for _, f := range fields(v.Type()) {
		to := v.FieldByIndex(f.Index)
		if text := f.Tag.Get("default"); text != "" {
			if err := setScalar(to, text, ""); err != nil {
				panic(fmt.Sprintf("default of %s: %v", f.key, err))
			}
		} else if to.Kind() == reflect.Struct {
			d.defaults(to)
		}
	}
}

// value decodes the value of one key.
func (d *decoder) value(n *yaml.Node, v reflect.Value, f field, path string) {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		d.add(at(n), path, "uses an anchor or an alias: write the value out")
		return
	case n.Tag == "!!null":
		d.add(d.section(n, path), path, "has no value: write one, or remove the line")
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if g, ok := v.Addr().Interface().(*Guard); ok && n.Kind != yaml.MappingNode {
		if g.None = n.Kind == yaml.ScalarNode && n.Value == "none"; !g.None {
			d.add(at(n), path, "want a section with the key file or database, or the word none")
		}
		return
	}
	if db, ok := v.Addr().Interface().(*Database); ok && n.Kind == yaml.ScalarNode {
		d.defaults(v)
		d.at[join(path, "url")] = at(n)
		d.scalar(n, reflect.ValueOf(&db.URL).Elem(), field{}, path)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		if n.Kind != yaml.MappingNode {
			d.add(at(n), path, "want a section: keys of its own on the lines below, indented further")
			return
		}
		d.mapping(n, v, path)
	case reflect.Slice:
		if _, one := v.Addr().Interface().(*PeerAddresses); one && n.Kind == yaml.ScalarNode {
			n = &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{n}}
		}
		d.list(n, v, path)
	default:
		d.scalar(n, v, f, path)
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		d.add(at(n), path, "want a list: on the lines below, each item begins with a dash")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		full := fmt.Sprintf("%s[%d]", path, i)
		d.at[full] = at(item)
		d.value(item, v.Index(i), field{}, full)
	}
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, f field, path string) {
	if n.Kind != yaml.ScalarNode {
		d.add(at(n), path, "want one value, not a %s", map[yaml.Kind]string{yaml.MappingNode: "section", yaml.SequenceNode: "list"}[n.Kind])
		return
	}
	if strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
		d.add(at(n), path, "has a YAML tag (%s): leave it out", n.Tag)
		return
	}
	if err := setScalar(v, n.Value, d.dir); err != nil {
		d.add(at(n), path, "%v", err)
		return
	}
	if text := inBounds(v, f); text != "" {
		d.add(at(n), path, "%s", text)
	}
}

// setScalar sets a field that is one text in the file.
func setScalar(v reflect.Value, text, dir string) error {
	if s, ok := v.Addr().Interface().(scalar); ok {
		return s.parse(text, dir)
	}
	switch v.Kind() {
	case reflect.Int64:
		i, err := strconv.ParseInt(text, 10, 64)
		if errors.Is(err, strconv.ErrRange) {
			return fmt.Errorf("%s does not fit into 64 bits", text)
		}
		if err != nil || strings.HasPrefix(text, "+") {
			return fmt.Errorf("%q is not a whole number", text)
		}
		v.SetInt(i)
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%q: want true or false", text)
		}
		v.SetBool(text == "true")
	default:
		panic("no way to decode a " + v.Type().String())
	}
	return nil
}

// inBounds says how a value breaks the bounds in the tags of its field.
func inBounds(v reflect.Value, f field) string {
	if one := f.Tag.Get("one"); one != "" {
		choices := strings.Split(one, "|")
		for _, c := range choices {
			if v.String() == c {
				return ""
			}
		}
		return fmt.Sprintf("%q: want %s", v.String(), orList(choices))
	}
	for _, bound := range []string{"min", "max"} {
		text := f.Tag.Get(bound)
		if text == "" {
			continue
		}
		limit := reflect.New(v.Type()).Elem()
		if err := setScalar(limit, text, ""); err != nil {
			panic(fmt.Sprintf("%s of %s: %v", bound, f.key, err))
		}
		if bound == "min" && v.Int() < limit.Int() {
			return fmt.Sprintf("%v is too small: want at least %s", v, text)
		}
		if bound == "max" && v.Int() > limit.Int() {
			return fmt.Sprintf("%v is too large: want at most %s", v, text)
		}
	}
	return ""
}

func orList(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
