package clients

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/sigbox/sigbox/internal/runs"
)

// NotRun is what stands where a version would, while there is no result file.
const NotRun = "written, not run"

// Rendered is a consumer's files for one instance.
type Rendered struct {
	*Client
	Files   []File
	Command string // that writes them
}

// File is one file, by its path with slashes.
type File struct {
	Path string
	Text string
}

// Render writes a consumer's files for an instance. A file that comes out blank is left out.
func (c *Client) Render(i *Instance) (Rendered, error) {
	r := Rendered{Client: c}
	for _, f := range c.files {
		var b strings.Builder
		if err := f.text.Execute(&b, i); err != nil {
			return r, fmt.Errorf("%s: %w", c.Name, err)
		}
		if text := strings.Trim(b.String(), "\n"); strings.TrimSpace(text) != "" {
			r.Files = append(r.Files, File{f.path, text + "\n"})
		}
	}
	var err error
	r.Command, err = i.command(c.Name)
	return r, err
}

// command is the command line that writes the files of a client with the same choices.
func (i *Instance) command(name string) (string, error) {
	words := []string{"sigbox", "clients", name, "--url", strings.TrimSuffix(i.Mirror, "/tuf"), "--out", i.dir}
	for _, c := range [][2]string{{"--image", i.chosen.Image}, {"--identity", i.chosen.Identity}, {"--issuer", i.chosen.Issuer}} {
		if c[1] != "" {
			words = append(words, c[0], c[1])
		}
	}
	for n, w := range words {
		quoted, err := sh(w)
		if err != nil {
			return "", fmt.Errorf("%q: %w", w, err)
		}
		words[n] = quoted
	}
	return strings.Join(words, " "), nil
}

// evidence says which version of the client was run and when, from its result file in results.
func (c *Client) evidence(results fs.FS) (string, error) {
	f, err := runs.Read(results, c.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return c.partsRun(results)
	}
	if err != nil {
		return "", err
	}
	version, date := f.Last()
	return fmt.Sprintf("%s, run on %s", version, date), nil
}

// partsRun says which files were run of a consumer that was not.
func (c *Client) partsRun(results fs.FS) (string, error) {
	text := NotRun
	for _, p := range c.Parts {
		f, err := runs.Read(results, p.Client)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		for _, r := range f.Rows {
			if r.What == p.Row {
				text += fmt.Sprintf("; %s: %s %s, %s", p.Path, p.Client, r.Version, r.Date)
			}
		}
	}
	return text, nil
}

// Print returns everything as text for a terminal.
func (r Rendered) Print() string {
	var b strings.Builder
	r.head(&b)
	fmt.Fprintf(&b, "\nWritten to files by: %s\n", r.Command)
	for _, f := range r.Files {
		fmt.Fprintf(&b, "\n---- %s\n%s", f.Path, f.Text)
	}
	r.tail(&b)
	return b.String()
}

func (r Rendered) head(b *strings.Builder) {
	fmt.Fprintf(b, "%s (%s)\n%s\n", r.Title, r.Evidence, r.About)
}

func (r Rendered) tail(b *strings.Builder) {
	if len(r.Cannot) > 0 {
		fmt.Fprintf(b, "\nWhat it cannot do:\n")
	}
	for _, line := range r.Cannot {
		fmt.Fprintf(b, "- %s\n", line)
	}
}

// Write writes the files, and those of `trust export` that they refer to, below dir, and returns what was
// written. Files that are there are replaced.
func (r Rendered) Write(i *Instance, dir string) (names []string, err error) {
	put := func(name string, content []byte) error {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if path.Ext(name) == ".sh" && strings.HasPrefix(string(content), "#!") {
			mode = 0o755
		}
		names = append(names, name)
		if err := os.WriteFile(to, content, mode); err != nil {
			return err
		}
		return os.Chmod(to, mode)
	}
	for _, name := range r.Needs {
		content, err := i.needed(name)
		if err != nil {
			return names, err
		}
		if err := put(name, content); err != nil {
			return names, err
		}
	}
	for _, f := range r.Files {
		if err := put(f.Path, []byte(f.Text)); err != nil {
			return names, err
		}
	}
	return names, nil
}

// Written says what Write wrote to dir.
func (r Rendered) Written(dir string, names []string) string {
	var b strings.Builder
	r.head(&b)
	fmt.Fprintf(&b, "\nwrote to %s:\n", dir)
	for _, name := range names {
		fmt.Fprintf(&b, "  %s\n", name)
	}
	r.tail(&b)
	return b.String()
}
