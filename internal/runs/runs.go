package runs

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed results
var results embed.FS

// What a command can show of a client.
const (
	Sign   = "sign"
	Verify = "verify"
	Attest = "attest"
)

// File is what one client did: results/CLIENT.json.
type File struct {
	Client string `json:"client"` // the name that `sigbox clients` knows it by, for example "cosign-3"
	Rows   []Row  `json:"rows"`
}

// Row is one thing that a client did on one log.
type Row struct {
	What     string    `json:"what"`          // as the README's table has it
	Log      int       `json:"log,omitempty"` // 1 or 2: Rekor v1, Rekor v2; 0 where no log has to do with it
	Version  string    `json:"version"`       // of the client, for example "v3.1.3"
	Date     string    `json:"date"`          // UTC, for example "2026-11-26"
	Commit   string    `json:"commit"`        // of sigbox; with "-dirty" where files were changed
	Outcome  string    `json:"outcome"`       // "yes", "refused" as it must be, or what else the test has checked
	Commands []Command `json:"commands"`      // in order; those of this client only
}

// Command is one run of the client.
type Command struct {
	Line    string `json:"line"`              // as a shell takes it; what differs from run to run is a variable
	Env     string `json:"env,omitempty"`     // environment file that was sourced, if any
	Does    string `json:"does,omitempty"`    // Sign, Verify, Attest, or "" for anything else
	Offline bool   `json:"offline,omitempty"` // nothing but files and, for images, the registry could be reached or was asked
	Exit    int    `json:"exit"`
	Output  string `json:"output"` // SHA-256, in hex, of what was printed on both streams
}

// Did says whether a command of the row did it, with success. What is Sign, Verify, Attest or "offline".
func (r Row) Did(what string) bool {
	return slices.ContainsFunc(r.Commands, func(c Command) bool {
		if what == "offline" {
			return c.Exit == 0 && c.Offline && c.Does == Verify
		}
		return c.Exit == 0 && c.Does == what
	})
}

// same says whether the other row is of the same thing on the same log.
func (r Row) same(other Row) bool { return r.What == other.What && r.Log == other.Log }

// Last returns the version and the day of the newest row.
func (f File) Last() (version, date string) {
	for _, r := range f.Rows {
		if r.Date >= date {
			version, date = r.Version, r.Date
		}
	}
	return version, date
}

// Embedded is the directory of result files that this program was built with.
func Embedded() fs.FS {
	sub, err := fs.Sub(results, "results")
	if err != nil { // a constant path
		panic(err)
	}
	return sub
}

// Read reads the file of a client and checks that it is whole. Without one it returns fs.ErrNotExist.
func Read(dir fs.FS, client string) (f File, err error) {
	raw, err := fs.ReadFile(dir, client+".json")
	if err != nil {
		return f, err
	}
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return f, fmt.Errorf("results of %s: %w", client, err)
	}
	if f.Client != client || len(f.Rows) == 0 {
		return f, fmt.Errorf("results of %s: the file is of %q and has %d rows", client, f.Client, len(f.Rows))
	}
	for i, r := range f.Rows {
		err := r.check()
		if slices.ContainsFunc(f.Rows[:i], r.same) {
			err = errors.New("it is there twice")
		}
		if err != nil {
			return f, fmt.Errorf("results of %s: row %q: %w", client, r.What, err)
		}
	}
	return f, nil
}

func (r Row) check() error {
	switch {
	case r.What == "" || r.Version == "" || r.Outcome == "" || len(r.Date) != len("2006-01-02") || len(r.Commit) < 40:
		return errors.New("it lacks what was done, version, date, commit or outcome")
	case r.Log < 0 || r.Log > 2:
		return fmt.Errorf("there is no Rekor v%d", r.Log)
	case len(r.Commands) == 0:
		return errors.New("it has no commands")
	}
	for _, c := range r.Commands {
		if c.Line == "" || len(c.Output) != 64 {
			return fmt.Errorf("command %q lacks its line or its output's SHA-256", c.Line)
		}
	}
	return nil
}

// Results are rows as they are run, of any number of clients.
type Results struct {
	files map[string]*File
}

// Add adds a row of a client. The commands of a row that is there are those of both.
func (r *Results) Add(client string, row Row) {
	if r.files == nil {
		r.files = map[string]*File{}
	}
	if r.files[client] == nil {
		r.files[client] = &File{Client: client}
	}
	f := r.files[client]
	if i := slices.IndexFunc(f.Rows, row.same); i >= 0 {
		f.Rows[i].Commands = append(f.Rows[i].Commands, row.Commands...)
		return
	}
	f.Rows = append(f.Rows, row)
}

// Write writes the files of the clients that have rows to dir. Rows that are in a file already and were not
// run this time stay as they are, version and date included, so that part of the tests can be run again;
// after a run of everything (all) they go.
func (r *Results) Write(dir string, all bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for client, f := range r.files {
		merged := *f
		old, err := Read(os.DirFS(dir), client)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case !all:
			merged.Rows = merge(old.Rows, f.Rows)
		}
		slices.SortStableFunc(merged.Rows, func(a, b Row) int {
			if a.What != b.What {
				return strings.Compare(a.What, b.What)
			}
			return a.Log - b.Log
		})
		var text bytes.Buffer
		enc := json.NewEncoder(&text)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(merged); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, client+".json"), text.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// merge returns the new rows and those of the old ones that they do not replace.
func merge(old, new []Row) []Row {
	rows := slices.Clone(new)
	for _, o := range old {
		if !slices.ContainsFunc(new, o.same) {
			rows = append(rows, o)
		}
	}
	return rows
}
