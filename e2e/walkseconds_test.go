package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/tuftest"
	tufweb "github.com/sigbox/sigbox/tuf/web"
)

// soon is how long the part of a set lives that expires while the test runs: all clients have taken it by then.
const soon = 40 * time.Second

// TestExpiresInSeconds serves sets of which one part expires in real time. Clients that took it a moment before
// refuse it then, whether they have a cache or not.
func TestExpiresInSeconds(t *testing.T) {
	t.Parallel()
	defer cell(t, secondsClients, secondsRow, 1)()
	type set struct {
		role, mirror, root string
		ends               time.Time
		rigs               map[string]*rig
	}
	var sets []*set
	for _, role := range []string{tuf.Root, tuf.Targets, tuf.Snapshot, tuf.Timestamp} {
		s := &set{role: role, rigs: map[string]*rig{}}
		var repository *tuf.Repository
		s.mirror, repository = brief(t, role)
		s.ends = repository.Published().Expires(role)
		s.root = filepath.Join(t.TempDir(), "root.json")
		f, _ := repository.Published().File("1.root.json")
		if err := os.WriteFile(s.root, f.Bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		sets = append(sets, s)
	}
	each := func(do func(s *set, client, script string)) {
		for _, s := range sets {
			for client, script := range inSeconds {
				do(s, client, script)
			}
		}
	}
	run := func(r *rig, s *set, script string) {
		t.Helper()
		r.issuer, r.mirror, r.rekor = s.mirror, s.mirror, s.mirror
		r.script(t, walking+script, append(r.env(t), "ROOT="+s.root, "PYMODULES="+python(t)))
	}
	each(func(s *set, client, script string) {
		r := newRig(t, t.TempDir())
		s.rigs[client] = r
		run(r, s, script)
		if left := time.Until(s.ends); left <= 0 {
			t.Fatalf("%s: the machine was too slow: it expired %s ago, before it could be refused", s.role, -left)
		}
	})
	each(func(s *set, client, script string) {
		time.Sleep(time.Until(s.ends.Add(time.Second)))
		for _, r := range []*rig{s.rigs[client], newRig(t, t.TempDir())} {
			run(r, s, fmt.Sprintf("client() { %s; }\nrefuses expired client\ngrep -q %s .out\n", script, s.role))
		}
	})
}

// brief serves a new repository of which this role expires soon, and nothing is renewed.
func brief(t *testing.T, role string) (mirror string, repository *tuf.Repository) {
	t.Helper()
	cfg := tuftest.Config(t, clock.System{})
	*map[string]*time.Duration{
		tuf.Root: &cfg.Lifetimes.Root, tuf.Targets: &cfg.Lifetimes.Targets, tuf.Snapshot: &cfg.Lifetimes.Snapshot, tuf.Timestamp: &cfg.Lifetimes.Timestamp,
	}[role] = soon
	repository = tuf.New(cfg)
	mux := http.NewServeMux()
	tufweb.New("/tuf", repository.Published, nil).Register(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	if err := repository.Create(t.Context(), tuftest.Compose(t, tuftest.Material(t, server.URL, time.Now()))); err != nil {
		t.Fatal(err)
	}
	return server.URL + "/tuf", repository
}
