package airgap

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sigbox/sigbox/tuf/foreign"
	"github.com/sigbox/sigbox/tuf/mirrordir"
	"github.com/sigbox/sigbox/tuf/trustroot"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

// TestForeign: trust roots of others are carried over the gap as ours is, and written to mirror directories.
func TestForeign(t *testing.T) {
	g := newGap(t)
	theirs := tuftest.Compose(t, tuftest.Material(t, "https://acme.example", start))[0]
	if theirs.Name != trustroot.TrustedRootName {
		t.Fatal(theirs.Name)
	}
	acme, err := foreign.FromFile("acme", theirs.Content, nil, start, start.Add(30*day))
	if err != nil {
		t.Fatal(err)
	}
	more, err := foreign.Publish([]foreign.Root{acme})
	if err != nil {
		t.Fatal(err)
	}
	own := tuftest.Compose(t, tuftest.Material(t, "https://sigstore.example.com", start))
	if _, err := g.outside.Publish(t.Context(), append(own, more...)); err != nil {
		t.Fatal(err)
	}
	m := g.open()
	if _, changed, err := m.Import(t.Context(), g.export(90*day), 1<<20); err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	p := m.Repo.Published()
	dir := t.TempDir()
	if err := mirrordir.New(dir).Write(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for _, target := range append(more, own[0]) {
		f, ok := p.Target(target.Name)
		if !ok || string(f.Bytes) != string(target.Content) {
			t.Errorf("%s is not there inside, or differs", target.Name)
		}
		if raw, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(f.Path))); err != nil || string(raw) != string(target.Content) {
			t.Errorf("%s in a directory: %v", f.Path, err)
		}
	}
}
