package clients

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"text/template"

	"github.com/sigbox/sigbox/internal/runs"
)

//go:embed consumers
var consumers embed.FS

// Client is one consumer: a program, or a service that runs one.
type Client struct {
	Name  string // what is typed, for example "cosign-3"
	Title string
	Group string // heading in lists
	About string
	Needs []string // files of `trust export` that its own files refer to
	Parts []Part   // files that were run, of a consumer that was not as a whole

	// Gaps are the reasons of the cells of the matrix that do not say a plain yes, by column.
	Gaps   map[string]Gap
	Cannot []string

	Evidence string // the version that was run and when, or what begins with NotRun

	files []file
}

// Ran says whether a run of the client is on record.
func (c *Client) Ran() bool { return !strings.HasPrefix(c.Evidence, NotRun) }

// Gap is why a cell of the matrix says no, or not simply yes.
type Gap struct {
	Partly bool
	Why    string
}

// Part is a file that a client has run in a row of its results.
type Part struct{ Path, Client, Row string }

type file struct {
	path string
	text *template.Template
}

// Columns of the matrix that need a yes or a reason.
var Columns = []string{"sign", "verify", "attest", "offline", "v1", "v2"}

// Groups are the headings, in order.
var Groups = []string{"command line", "library", "admission", "pipeline", "registry and build"}

// All returns every consumer, by group and then by name.
func All() ([]*Client, error) {
	list, err := load(consumers)
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		if c.Evidence, err = c.evidence(runs.Embedded()); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Find returns the client of a name.
func Find(all []*Client, name string) (*Client, error) {
	for _, c := range all {
		if c.Name == name {
			return c, nil
		}
	}
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
	}
	return nil, fmt.Errorf("no client is called %q: want one of %s", name, strings.Join(names, ", "))
}

func load(dir fs.FS) (list []*Client, err error) {
	names, err := fs.Glob(dir, "consumers/*.txt")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		raw, err := fs.ReadFile(dir, name)
		if err != nil {
			return nil, err
		}
		c, err := parse(dir, strings.TrimSuffix(path.Base(name), ".txt"), string(raw))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *Client) int {
		return cmp.Or(slices.Index(Groups, a.Group)-slices.Index(Groups, b.Group), strings.Compare(a.Name, b.Name))
	})
	return list, nil
}

// section reads one file: "PATH", "PATH verbatim" for text that is no template, or "PATH from NAME" for
// the template consumers/shared/NAME, which several consumers have.
func (c *Client) section(dir fs.FS, header, body string) (file, error) {
	words := strings.Fields(header)
	if len(words) == 0 || !fs.ValidPath(words[0]) || words[0] == "." || slices.ContainsFunc(c.files, func(f file) bool { return f.path == words[0] }) {
		return file{}, fmt.Errorf("%q is not the path of a file, or is there twice", header)
	}
	p := words[0]
	switch {
	case len(words) == 1:
	case len(words) == 2 && words[1] == "verbatim":
		t, err := template.New(p).Delims("\x00\x01", "\x01\x00").Parse(body)
		return file{p, t}, err
	case len(words) == 3 && words[1] == "from" && fs.ValidPath(words[2]):
		raw, err := fs.ReadFile(dir, path.Join("consumers/shared", words[2]))
		if err != nil {
			return file{}, err
		}
		if strings.TrimSpace(body) != "" {
			return file{}, fmt.Errorf("%s has a text of its own and is said to be from %s", p, words[2])
		}
		body = string(raw)
	default:
		return file{}, fmt.Errorf("%q: want PATH, PATH verbatim or PATH from NAME", header)
	}
	t, err := compile(p, body)
	return file{p, t}, err
}

// parse reads the file of a consumer, and what it takes from dir. Keys are title, group, about, needs, "no COLUMN" and
// "partly COLUMN", and, as often as wanted, cannot and part ("PATH | CLIENT | ROW": a file that another client
// has run).
func parse(dir fs.FS, name, text string) (*Client, error) {
	c := &Client{Name: name, Gaps: map[string]Gap{}}
	head, rest := cut(text)
	for line := range strings.Lines(head) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, _ := strings.Cut(line, ":")
		if err := c.set(key, strings.TrimSpace(value)); err != nil {
			return nil, err
		}
	}
	if c.Title == "" || c.About == "" || !slices.Contains(Groups, c.Group) {
		return nil, fmt.Errorf("it wants title, about and a group of %s", strings.Join(Groups, ", "))
	}
	for rest != "" {
		header, after, _ := strings.Cut(rest, "\n")
		body, next := cut(after)
		f, err := c.section(dir, strings.TrimSuffix(strings.TrimPrefix(header, "-- "), " --"), body)
		if err != nil {
			return nil, err
		}
		c.files, rest = append(c.files, f), next
	}
	if len(c.files) == 0 {
		return nil, errors.New("it has no files")
	}
	return c, nil
}

// cut returns what comes before the next line "-- PATH --", and the rest from that line on.
func cut(text string) (before, rest string) {
	at := 0
	for line := range strings.Lines(text) {
		if l := strings.TrimSuffix(line, "\n"); strings.HasPrefix(l, "-- ") && strings.HasSuffix(l, " --") {
			return text[:at], text[at:]
		}
		at += len(line)
	}
	return text, ""
}

func (c *Client) set(key, value string) error {
	kind, column, _ := strings.Cut(key, " ")
	once := map[string]*string{"title": &c.Title, "group": &c.Group, "about": &c.About}
	switch to := once[key]; {
	case value == "":
		return fmt.Errorf("%q has no value", key)
	case to != nil && *to == "":
		*to = value
	case key == "needs" && c.Needs == nil:
		c.Needs = strings.Fields(value)
	case key == "part":
		words := strings.SplitN(value, " | ", 3)
		if len(words) != 3 {
			return fmt.Errorf("part %q: want PATH | CLIENT | ROW", value)
		}
		c.Parts = append(c.Parts, Part{words[0], words[1], words[2]})
	case key == "cannot":
		c.Cannot = append(c.Cannot, value)
	case (kind == "no" || kind == "partly") && slices.Contains(Columns, column) && c.Gaps[column].Why == "":
		c.Gaps[column] = Gap{Partly: kind == "partly", Why: value}
	default:
		return fmt.Errorf("%q is no key, or is there twice", key)
	}
	return nil
}
