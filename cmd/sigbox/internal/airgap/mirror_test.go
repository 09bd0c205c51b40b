package airgap

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
	format "github.com/sigbox/sigbox/tuf/airgap"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// gap is an outside without logs and a mirror inside, whose keys the outside's root names.
type gap struct {
	t       *testing.T
	clock   *clock.Manual
	keys    tuf.Keys
	outside *tuf.Repository
	dir     string
	last    *format.Envelope
}

func newGap(t *testing.T) *gap {
	t.Helper()
	g := &gap{t: t, clock: clock.NewManual(start), dir: filepath.Join(t.TempDir(), "mirror")}
	first, _ := metadata.Root(start.Add(time.Hour)).ToBytes(false)
	if err := Create(t.Context(), g.dir, first); err != nil {
		t.Fatal(err)
	}
	cfg := tuftest.Config(t, g.clock)
	for name, to := range map[string]*crypto.Signer{snapshotFile: &cfg.Keys.Snapshot, timestampFile: &cfg.Keys.Timestamp} {
		var err error
		if *to, err = keys.Load(filepath.Join(g.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	g.keys = cfg.Keys
	g.outside = tuftest.Repository(t, cfg, tuftest.Material(t, "https://sigstore.example.com", start))
	root, _ := g.outside.Published().File("1.root.json")
	if err := os.WriteFile(filepath.Join(g.dir, rootFile), root.Bytes, 0o644); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *gap) open() *Mirror {
	g.t.Helper()
	m, err := Open(g.t.Context(), g.dir, g.clock, slog.New(slog.DiscardHandler))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		if err := m.Close(); err != nil {
			g.t.Error(err)
		}
	})
	return m
}

// export writes the next export to a file.
func (g *gap) export(goodFor time.Duration) string {
	g.t.Helper()
	now, p := g.clock.Now(), g.outside.Published()
	m := format.Manifest{Mirror: "https://sigstore.example.com/tuf", Number: 1, Made: now, GoodUntil: now.Add(goodFor), Versions: p.Versions()}
	if g.last != nil {
		m.Number = g.last.Manifest.Number + 1
		m.After, _ = g.last.Manifest.ID()
	}
	parts := map[string][]byte{}
	add := func(name string, raw []byte) {
		sum := sha256.Sum256(raw)
		m.Parts = append(m.Parts, format.Part{Name: name, Size: int64(len(raw)), SHA256: hex.EncodeToString(sum[:])})
		parts[name] = raw
	}
	v := p.Versions()
	for _, f := range [][2]string{
		{"tuf/1.root.json", "1.root.json"}, {"tuf/targets.json", fmt.Sprintf("%d.targets.json", v.Targets)},
		{"tuf/snapshot.json", fmt.Sprintf("%d.snapshot.json", v.Snapshot)}, {"tuf/timestamp.json", "timestamp.json"},
	} {
		file, _ := p.File(f[1])
		add(f[0], file.Bytes)
	}
	for _, name := range p.Targets() {
		file, _ := p.Target(name)
		add("targets/"+name, file.Bytes)
	}
	add("bundles/app.sigstore.json", []byte("{}"))
	e, err := m.Seal()
	if err != nil {
		g.t.Fatal(err)
	}
	if err := e.Sign(g.keys.Targets, parts["tuf/1.root.json"]); err != nil {
		g.t.Fatal(err)
	}
	g.last = e
	var out bytes.Buffer
	err = format.Write(&out, e, func(p format.Part) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(parts[p.Name])), nil })
	if err != nil {
		g.t.Fatal(err)
	}
	path := filepath.Join(g.t.TempDir(), "export.tar")
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		g.t.Fatal(err)
	}
	return path
}

// traces are the files of the mirror, with what is in them; of the database what it shows.
func (g *gap) traces(m *Mirror) string {
	g.t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(g.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), databaseFile) {
			return err
		}
		raw, err := os.ReadFile(path)
		fmt.Fprintf(&out, "%s %x\n", path, sha256.Sum256(raw))
		return err
	})
	if err != nil {
		g.t.Fatal(err)
	}
	cur, err := m.Repo.Current(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	fmt.Fprintf(&out, "%+v", cur.Versions())
	return out.String()
}

// TestImport: what is taken in is shown under versions of its own, and never beyond the time that was signed for.
func TestImport(t *testing.T) {
	g := newGap(t)
	m := g.open()
	first := g.export(90 * day)
	g.clock.Advance(40 * day) // on the way: what was signed outside online is over
	if _, changed, err := m.Import(t.Context(), first, 1<<20); err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	until := start.Add(90 * day)
	expect := func(v tuf.Versions, snapshot, timestamp time.Time) {
		t.Helper()
		p := m.Repo.Published()
		if p.Versions() != v || !p.Expires(tuf.Snapshot).Equal(snapshot) || !p.Expires(tuf.Timestamp).Equal(timestamp) {
			t.Errorf("%+v, snapshot until %s, timestamp until %s; want %+v, %s, %s", p.Versions(), p.Expires(tuf.Snapshot), p.Expires(tuf.Timestamp), v, snapshot, timestamp)
		}
	}
	expect(tuf.Versions{Root: 1, Targets: 1, Snapshot: 2, Timestamp: 2}, g.clock.Now().Add(30*day), g.clock.Now().Add(7*day))
	if _, changed, err := m.Import(t.Context(), first, 1<<20); err != nil || changed {
		t.Errorf("again: changed %v, %v", changed, err)
	}
	g.clock.Advance(47 * day) // three days before the end
	refresh := func() {
		t.Helper()
		if err := m.Repo.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	refresh()
	expect(tuf.Versions{Root: 1, Targets: 1, Snapshot: 3, Timestamp: 3}, until, until)
	refresh()
	g.clock.Advance(2 * day)
	refresh()
	expect(tuf.Versions{Root: 1, Targets: 1, Snapshot: 3, Timestamp: 3}, until, until) // nothing could be made to live longer
	g.clock.Advance(2 * day)
	refresh()
	expect(tuf.Versions{Root: 1, Targets: 1, Snapshot: 3, Timestamp: 3}, until, until) // over, and nothing is signed

	if err := g.outside.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := g.export(10 * day)
	if _, _, err := m.Import(t.Context(), second, 1<<20); err != nil {
		t.Fatal(err)
	}
	expect(tuf.Versions{Root: 1, Targets: 1, Snapshot: 4, Timestamp: 4}, g.clock.Now().Add(10*day), g.clock.Now().Add(7*day))
	if raw, err := m.ReceiptJSON(); err != nil || !bytes.Contains(raw, []byte(g.last.Signatures[0].Sig)) {
		t.Errorf("receipt %s, %v", raw, err)
	}
}

// TestImportLeavesNoTrace: each file is refused with its reason, and nothing has changed.
func TestImportLeavesNoTrace(t *testing.T) {
	g := newGap(t)
	m := g.open()
	if _, _, err := m.Import(t.Context(), g.export(90*day), 1<<20); err != nil {
		t.Fatal(err)
	}
	first, imported := g.last, g.clock.Now()
	g.clock.Advance(time.Hour)
	second := g.export(90 * day)
	read := func(path string) []byte {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	put := func(raw []byte) string {
		path := filepath.Join(t.TempDir(), "file.tar")
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	other := newGap(t)
	fifo := t.TempDir()
	before := g.traces(m)
	for _, tc := range []struct {
		name, path string
		max        int64
		at         time.Duration
		want       error
	}{
		{"one is missing between", g.export(90 * day), 1 << 20, 0, format.ErrGap},
		{"cut", put(read(second)[:len(read(second))/2]), 1 << 20, 0, format.ErrForm},
		{"one byte is another", put(bytes.Replace(read(second), []byte("BEGIN"), []byte("BEGUN"), 1)), 1 << 20, 0, format.ErrForm},
		{"of another instance", other.export(90 * day), 1 << 20, 0, format.ErrRoot},
		{"more than is allowed", second, 1, 0, format.ErrTooLarge},
		{"over", second, 1 << 20, 90 * day, format.ErrExpired},
		{"not a file", fifo, 1 << 20, 0, errors.ErrUnsupported},
		{"empty", put(nil), 1 << 20, 0, format.ErrForm},
	} {
		g.clock.Advance(tc.at)
		_, changed, err := m.Import(t.Context(), tc.path, tc.max)
		if tc.want == errors.ErrUnsupported {
			if err == nil || !strings.Contains(err.Error(), "is not a file") {
				t.Errorf("%s: %v", tc.name, err)
			}
		} else if !errors.Is(err, tc.want) || changed {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
		if after := g.traces(m); after != before {
			t.Errorf("%s: left a trace:\n%s\nafter\n%s", tc.name, after, before)
		}
	}
	if e, err := m.Receipt(); err != nil || !e.Manifest.Made.Equal(imported) || e.Manifest.Number != first.Manifest.Number {
		t.Errorf("receipt %+v, %v", e, err)
	}
}

// TestImportNotNamed: a root that does not name the mirror's keys, and what to do.
func TestImportNotNamed(t *testing.T) {
	g := newGap(t)
	for _, name := range []string{snapshotFile, timestampFile} {
		path := filepath.Join(g.dir, name)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := keys.Save(path, tuftest.Key(t)); err != nil {
			t.Fatal(err)
		}
	}
	m := g.open()
	_, _, err := m.Import(t.Context(), g.export(90*day), 1<<20)
	if !errors.Is(err, tuf.ErrNotNamed) || !strings.Contains(err.Error(), "sigbox tuf request --mirror-snapshot-key") {
		t.Errorf("error %v", err)
	}
	if m.Repo.Published() != nil {
		t.Error("something is shown")
	}
}

// TestImportKilled: an import that was killed after the set was published, and before its receipt was written.
func TestImportKilled(t *testing.T) {
	g := newGap(t)
	m := g.open()
	path := g.export(90 * day)
	f, err := m.read(path, mkdir(t, g.dir, staging+"1"), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Repo.Adopt(context.Background(), f.Carried()); err != nil {
		t.Fatal(err)
	}
	mkdir(t, g.dir, largeDir)
	mkdir(t, filepath.Join(g.dir, largeDir), "1")
	if _, changed, err := m.Import(t.Context(), path, 1<<20); err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	if left, _ := filepath.Glob(filepath.Join(g.dir, staging+"*")); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
	bundle, err := m.Large("1", "bundles", "app.sigstore.json")
	if err != nil {
		t.Fatal(err)
	}
	bundle.Close()
}

func mkdir(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestLarge: nothing but what was imported is opened, whatever is asked for.
func TestLarge(t *testing.T) {
	g := newGap(t)
	m := g.open()
	if _, _, err := m.Import(t.Context(), g.export(90*day), 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(g.dir, snapshotFile), filepath.Join(g.dir, largeDir, "1", "bundles", "link")); err != nil {
		t.Fatal(err)
	}
	for _, path := range [][3]string{
		{"1", "bundles", "../../../snapshot.key"}, {"1", "bundles", ".."}, {"1", "..", "snapshot.key"}, {"..", "bundles", "a"}, {"01", "bundles", "app.sigstore.json"},
		{"1", "bundles", "link"}, {"1", "bundles", "none"}, {"2", "bundles", "app.sigstore.json"}, {"-1", "entries", "a"}, {"1", "bundles", "a\x00b"},
	} {
		if f, err := m.Large(path[0], path[1], path[2]); err == nil {
			t.Errorf("%q was opened: %s", path, f.Name())
		}
	}
}

// TestCreate writes over nothing, and leaves nothing where it fails.
func TestCreate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mirror")
	if err := Create(t.Context(), dir, []byte("{}")); err == nil {
		t.Error("a root that is none was taken")
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is left: %v", err)
	}
	g := newGap(t)
	if err := Create(t.Context(), g.dir, g.root()); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("over another: %v", err)
	}
}

func (g *gap) root() []byte {
	f, _ := g.outside.Published().File("1.root.json")
	return f.Bytes
}
