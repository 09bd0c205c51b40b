package config

import (
	"embed"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"regexp"
	"strings"
	"sync"
)

// The comments of the structs, which the compiler does not keep.
//
//go:embed config.go tlog.go ca.go peers.go writers.go presets.go
var sources embed.FS

// docs are the comments by "Type" and "Type.Field".
var docs = sync.OnceValue(func() map[string]string {
	out := map[string]string{}
	files, err := sources.ReadDir(".")
	if err != nil {
		panic(err)
	}
	for _, f := range files {
		name := f.Name()
		src, err := sources.ReadFile(name)
		if err != nil {
			panic(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ParseComments)
		if err != nil {
			panic(err)
		}
		for _, decl := range file.Decls {
			if g, ok := decl.(*ast.GenDecl); ok && g.Tok == token.TYPE {
				readType(out, g)
			}
		}
	}
	return out
})

func readType(out map[string]string, g *ast.GenDecl) {
	spec := g.Specs[0].(*ast.TypeSpec)
	out[spec.Name.Name] = g.Doc.Text()
	s, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, f := range s.Fields.List {
		for _, name := range f.Names {
			out[spec.Name.Name+"."+name.Name] = f.Doc.Text()
		}
	}
}

// doc returns the comment of a type, or of a field of it.
func doc(typeName, fieldName string) string {
	if fieldName != "" {
		typeName += "." + fieldName
	}
	return strings.TrimSpace(docs()[typeName])
}

// firstSentence is the beginning of a comment, on one line, without its full stop.
func firstSentence(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if i := strings.Index(text, ". "); i >= 0 {
		text = text[:i]
	}
	for _, end := range []string{": ", "; "} {
		text, _, _ = strings.Cut(text, end)
	}
	text = strings.TrimSuffix(text, ".")
	if len(text) > 1 && text[1] >= 'A' && text[1] <= 'Z' { // an abbreviation
		return text
	}
	return strings.ToLower(text[:1]) + text[1:]
}

// Key is one key of the configuration.
type Key struct {
	Path     string // such as tlog.rekor_v1.shards.key; items of a list have no index
	Name     string // the last part of Path
	Kind     string // what its value is, in words
	Default  string // "" for none
	Bounds   string // "" for none
	Required bool   // where its section is there
	Section  bool   // it has keys of its own
	Live     bool   // serve takes a change over while it runs
	Doc      string // paragraphs, wrapped
	About    string // of a section: what holds wherever there is one like it
	Type     string // of a section: the name of its struct
}

func (k Key) parent() string {
	return strings.TrimSuffix(strings.TrimSuffix(k.Path, k.Name), ".")
}

// Keys lists all keys in the order of the structs, each section before what is in it.
var Keys = sync.OnceValue(func() []Key { return keysOf(reflect.TypeFor[Config](), "") })

func keysOf(t reflect.Type, path string) (list []Key) {
	for _, f := range fields(t) {
		inner := f.Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		k := Key{
			Path: join(path, f.key), Name: f.key, Kind: kindOf(f.Type), Required: f.required(),
			Section: inner.Kind() == reflect.Struct, Doc: doc(t.Name(), f.Name),
			Default: f.Tag.Get("default"), Bounds: boundsOf(f), Live: f.live(),
		}
		if d := f.Tag.Get("derived"); d != "" {
			k.Default = d
		}
		if k.Section {
			k.Type, k.About = inner.Name(), about(inner.Name())
		}
		list = append(list, k)
		if k.Section {
			list = append(list, keysOf(inner, k.Path)...)
		}
	}
	return list
}

var firstSentenceEnd = regexp.MustCompile(`\.(\s+|$)`)

// about is what the comment of a type says beyond its first sentence, which says what the comment
// of the key says too. Its first paragraph is wrapped anew, having lost its beginning.
func about(typeName string) string {
	text := doc(typeName, "")
	end := firstSentenceEnd.FindStringIndex(text)
	if end == nil {
		return ""
	}
	first, rest, _ := strings.Cut(text[end[1]:], "\n\n")
	return strings.TrimSpace(wrap(first, 96) + "\n\n" + rest)
}

// wrap breaks a paragraph into lines of at most width letters.
func wrap(text string, width int) string {
	var b strings.Builder
	length := 0
	for _, word := range strings.Fields(text) {
		switch {
		case length == 0:
		case length+1+len(word) > width:
			b.WriteByte('\n')
			length = 0
		default:
			b.WriteByte(' ')
			length++
		}
		b.WriteString(word)
		length += len(word)
	}
	return b.String()
}

var kinds = map[reflect.Type]string{
	reflect.TypeFor[Origin]():     "origin, SCHEME://HOST or SCHEME://HOST:PORT",
	reflect.TypeFor[Address]():    "address, HOST:PORT",
	reflect.TypeFor[Host]():       "host name",
	reflect.TypeFor[Name]():       "name",
	reflect.TypeFor[File]():       "path of a file",
	reflect.TypeFor[Dir]():        "path of a directory",
	reflect.TypeFor[KeyFile]():    "path of a private file, or ${credential:NAME}",
	reflect.TypeFor[Duration]():   "duration with a unit",
	reflect.TypeFor[Size]():       "bytes, or a number with KiB, MiB or GiB",
	reflect.TypeFor[Secret]():     "reference to a secret",
	reflect.TypeFor[ConnString](): "connection string, or a reference to one",
	reflect.TypeFor[string]():     "one of",
	reflect.TypeFor[int64]():      "whole number",
	reflect.TypeFor[bool]():       "true or false",
	reflect.TypeFor[InstanceID](): "32 hex digits",
	reflect.TypeFor[IssuerURL]():  "URL of an issuer",
	reflect.TypeFor[Text]():       "text without spaces",
	reflect.TypeFor[Database]():   "section, or its url",
	reflect.TypeFor[Guard]():      "section, or the word none",

	reflect.TypeFor[PeerAddresses](): "address, HOST:PORT, or a list of them",
	reflect.TypeFor[[]Source]():      "list of addresses, HOST:PORT, and paths of directories",
	reflect.TypeFor[[]Network]():     "list of IP addresses and networks",
	reflect.TypeFor[Rate]():          "rate, COUNT/PERIOD, such as 600/1m",
	reflect.TypeFor[[]IssuerURL]():   "list of URLs of issuers",
	reflect.TypeFor[[]File]():        "list of paths of files",
	reflect.TypeFor[[]Host]():        "list of host names",
	reflect.TypeFor[[]Kind]():        "list of kinds: " + strings.Join(Kinds, ", "),
}

func kindOf(t reflect.Type) string {
	if k, ok := kinds[t]; ok {
		return k
	}
	switch t.Kind() {
	case reflect.Pointer:
		return kindOf(t.Elem())
	case reflect.Slice:
		return "list of sections"
	}
	return "section"
}

func boundsOf(f field) string {
	if one := f.Tag.Get("one"); one != "" {
		return orList(strings.Split(one, "|"))
	}
	low, high := f.Tag.Get("min"), f.Tag.Get("max")
	switch {
	case low != "" && high != "":
		return low + " to " + high
	case low != "":
		return "at least " + low
	}
	return ""
}
