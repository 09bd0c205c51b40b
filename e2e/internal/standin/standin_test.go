package standin

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestEveryImage: what our files name and do not make has a stand-in, and there is none for what they do not name.
func TestEveryImage(t *testing.T) {
	var named, have []string
	made := map[string]bool{"scratch": true, "sigbox:local": true, "${SIGBOX_IMAGE:-sigbox:local}": true}
	for _, file := range []string{"docker-compose.yml", "deploy/compose.production.yml", "deploy/Dockerfile"} {
		raw, err := os.ReadFile(filepath.Join("..", "..", "..", file))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			words := strings.Fields(line)
			if len(words) < 2 || (words[0] != "FROM" && words[0] != "image:") {
				continue
			}
			if !made[words[1]] && !slices.Contains(named, words[1]) {
				named = append(named, words[1])
			}
		}
	}
	for _, i := range Images {
		have = append(have, i.Tag)
		if i.Differs == "" {
			t.Errorf("%s: is it the original?", i.Tag)
		}
	}
	slices.Sort(named)
	slices.Sort(have)
	if !slices.Equal(named, have) {
		t.Errorf("our files name %v, and there are stand-ins for %v", named, have)
	}
}

// TestTree: what is in a tree comes out of its archive, with directories before what is in them, and its key
// changes with each thing that matters.
func TestTree(t *testing.T) {
	host := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(host, []byte("from the machine"), 0o640); err != nil {
		t.Fatal(err)
	}
	base := func() tree {
		tr := tree{}
		tr.dir("/data", 999, 0o1777)
		tr.link("/bin", "usr/bin")
		tr.file("/data/a", "text", 0o600)
		if err := tr.copy(host, "/data/b"); err != nil {
			t.Fatal(err)
		}
		return tr
	}
	var archive bytes.Buffer
	if err := base().write(&archive); err != nil {
		t.Fatal(err)
	}
	var got []string
	for in := tar.NewReader(&archive); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, h.Name+" "+h.FileInfo().Mode().String()+" "+h.Linkname+string(body))
	}
	want := []string{"bin Lrwxrwxrwx usr/bin", "data/ dtrwxrwxrwx ", "data/a -rw------- text", "data/b -rw-r----- from the machine"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	key := base().key()
	if again := base().key(); again != key {
		t.Error("the key of the same tree differs")
	}
	for name, change := range map[string]func(tree){
		"a file's text": func(tr tree) { tr.file("/data/a", "Text", 0o600) }, "a file's mode": func(tr tree) { tr.file("/data/a", "text", 0o644) },
		"an owner": func(tr tree) { tr.dir("/data", 0, 0o1777) }, "a link": func(tr tree) { tr.link("/bin", "usr/sbin") },
		"one more": func(tr tree) { tr.dir("/tmp", 0, 0o1777) },
	} {
		tr := base()
		change(tr)
		if tr.key() == key {
			t.Errorf("the key does not see %s", name)
		}
	}
}

// TestPrograms: a program comes with the libraries that it loads, and a static one alone.
func TestPrograms(t *testing.T) {
	tr := tree{}
	if err := tr.programs(t.Context(), "/usr/bin/cat"); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(tr.names(), func(n string) bool { return strings.Contains(n, "/libc.so.6") }) {
		t.Errorf("cat has no libc: %v", tr.names())
	}
	if err := tr.programs(t.Context(), "/nonexistent"); err == nil {
		t.Error("a program that is not there is taken")
	}
}
