package instance

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/filelock"
)

var born = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)

func fillOne(d *Dir) error { return os.WriteFile(d.File("sigbox.db"), []byte("x"), 0o600) }

func TestCreateThenOpen(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, path string){
		"absent":       func(*testing.T, string) {},
		"empty":        func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o700)) },
		"absent, deep": func(*testing.T, string) {},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "data")
			if strings.Contains(name, "deep") {
				path = filepath.Join(path, "a", "b")
			}
			prepare(t, path)
			must(t, Create(path, "127.0.0.1", SQLite, born, fillOne))
			d, err := Open(path)
			must(t, err)
			defer d.Close()
			if d.Info.Host != "127.0.0.1" || d.Info.TreeID < 1 || !d.Info.Created.Equal(born) {
				t.Errorf("info = %+v", d.Info)
			}
			if _, err := os.Stat(d.File("sigbox.db")); err != nil {
				t.Error(err)
			}
			left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".sigbox-new-*"))
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}

func TestFailedCreateLeavesNothing(t *testing.T) {
	for _, existing := range []bool{false, true} {
		root := t.TempDir()
		path := filepath.Join(root, "data")
		if existing {
			must(t, os.Mkdir(path, 0o700))
		}
		want := errors.New("no entropy today")
		err := Create(path, "127.0.0.1", SQLite, born, func(d *Dir) error { return errors.Join(fillOne(d), want) })
		if !errors.Is(err, want) {
			t.Fatalf("err = %v", err)
		}
		files, _ := filepath.Glob(filepath.Join(root, "*"))
		hidden, _ := filepath.Glob(filepath.Join(root, ".*"))
		inside, _ := os.ReadDir(path)
		if n := len(files) + len(hidden) + len(inside); n != map[bool]int{false: 0, true: 1}[existing] {
			t.Errorf("existing=%v: left behind %v %v %v", existing, files, hidden, inside)
		}
	}
}

// TestKilledFirstRunIsForgotten: what a first run made before it was killed is removed by the next,
// and does not make an empty directory somebody else's. What another process still fills stays.
func TestKilledFirstRunIsForgotten(t *testing.T) {
	for _, existing := range []bool{false, true} {
		root := t.TempDir()
		path := filepath.Join(root, "data")
		stageIn := root
		if existing {
			must(t, os.Mkdir(path, 0o700))
			stageIn = path
		}
		killed, filling := filepath.Join(stageIn, staging+"1"), filepath.Join(stageIn, staging+"2")
		for _, dir := range []string{killed, filling} {
			must(t, os.Mkdir(dir, 0o700))
			must(t, os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600))
		}
		other, err := filelock.Acquire(filepath.Join(filling, "lock"))
		must(t, err)
		defer other.Close()
		if s, err := Probe(path); s != Absent || err != nil {
			t.Errorf("existing=%v: %v %v, want a path that can hold a new instance", existing, s, err)
		}
		must(t, Create(path, "127.0.0.1", SQLite, born, fillOne))
		if _, err := os.Stat(killed); err == nil {
			t.Errorf("existing=%v: the killed run's directory is still there", existing)
		}
		if _, err := os.Stat(filling); err != nil {
			t.Errorf("existing=%v: another process's directory is gone: %v", existing, err)
		}
		d, err := Open(path)
		must(t, err)
		must(t, d.Close())
	}
}

func TestTwoInstancesNeverShareATree(t *testing.T) {
	a, err := newInfo("h", SQLite, born)
	must(t, err)
	b, err := newInfo("h", SQLite, born)
	must(t, err)
	if a.TreeID == b.TreeID || a.ID == b.ID {
		t.Errorf("%+v and %+v share an id", a, b)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(t *testing.T, path string)
		want  string
	}{
		"newer format":  {func(t *testing.T, p string) { put(t, p, `{"format":99,"host":"h","tree_id":1}`) }, "made by a newer sigbox"},
		"not JSON":      {func(t *testing.T, p string) { put(t, p, `{`) }, "is damaged"},
		"missing field": {func(t *testing.T, p string) { put(t, p, `{"format":1}`) }, "a field is missing"},
		"second process": {func(t *testing.T, p string) {
			d, err := Open(p)
			must(t, err)
			t.Cleanup(func() { d.Close() })
		}, "another sigbox is running on it"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "data")
			must(t, Create(path, "127.0.0.1", SQLite, born, fillOne))
			tc.spoil(t, path)
			if _, err := Open(path); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("err = %v, want %q", err, tc.want)
			}
		})
	}
}

func TestProbe(t *testing.T) {
	dir := t.TempDir()
	if s, err := Probe(filepath.Join(dir, "none")); s != Absent || err != nil {
		t.Errorf("missing directory: %v %v", s, err)
	}
	if s, err := Probe(dir); s != Absent || err != nil {
		t.Errorf("empty directory: %v %v", s, err)
	}
	put(t, dir, "{}")
	if s, err := Probe(dir); s != Existing || err != nil {
		t.Errorf("instance: %v %v", s, err)
	}
	other := t.TempDir()
	must(t, os.WriteFile(filepath.Join(other, "thesis.tex"), nil, 0o600))
	if _, err := Probe(other); !errors.Is(err, ErrForeign) {
		t.Errorf("somebody else's directory: %v", err)
	}
}

func put(t *testing.T, dir, text string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(dir, "instance.json"), []byte(text), 0o600))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
