package stack

import (
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/peertest"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
)

// TestMendsAfterReload: what is to be replaced is what was taken over last.
func TestMendsAfterReload(t *testing.T) {
	dir := t.TempDir()
	authority := peertest.New(t, "peers")
	id := &identity{}
	for _, name := range []string{"first", "second"} {
		authority.Issue(t, dir, name, "ca", func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(-time.Minute) }) // renewed before its authority
		authority.Write(t, filepath.Join(dir, name+".pem"))
		if err := id.load(config.File(filepath.Join(dir, name+".crt")), config.KeyFile(filepath.Join(dir, name+".key")), config.File(filepath.Join(dir, name+".pem"))); err != nil {
			t.Fatal(err)
		}
		for _, i := range append(id.tlsItems(), mends{file: filepath.Join(dir, "sigbox.yaml")}.peerItems("ca", id)...) {
			want := name + ".crt"
			if i.What == "ca peers authority" {
				want = name + ".pem"
			}
			if !strings.Contains(i.Mend[0], filepath.Join(dir, want)) {
				t.Errorf("%s, %s: %q does not name %s", name, i.What, i.Mend, want)
			}
		}
	}
}

// TestReloadLooks: what a reload has dealt with is what it has read, taken over or refused, and not what
// has changed since.
func TestReloadLooks(t *testing.T) {
	const first = `public_url: http://localhost:8080
listen: 127.0.0.1:8080
tls: {certificate: web.crt, key: web.key}
issuer: {key: issuer.pem}
`
	second := strings.Replace(first, "web.crt, key: web.key", "new.crt, key: new.key", 1)
	for _, tc := range []struct {
		name    string
		then    string // what the configuration says when it is loaded
		during  string // file that changes when the configuration has been read
		after   string // file that changes after the reload
		noticed bool
	}{
		{"nothing", first, "", "", false},
		{"a file that is named", first, "", "web.crt", true},
		{"a file that is named anew", second, "", "new.crt", true},
		{"a file that was named", second, "", "web.crt", false},
		{"a file that is not there", strings.Replace(first, "web.crt", "absent.crt", 1), "", "absent.crt", true},
		{"a configuration that does not parse", "nonsense", "", "web.crt", true},
		{"the configuration", first, "", "sigbox.yaml", true},
		{"the configuration, while it is taken over", second, "sigbox.yaml", "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			authority := peertest.New(t, "web")
			authority.Issue(t, dir, "web", "web")
			authority.Issue(t, dir, "new", "web")
			if err := keys.Save(filepath.Join(dir, "issuer.pem"), newKey(t, keys.NewRSA)); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "sigbox.yaml")
			put(t, dir, "sigbox.yaml", first, 0o644)
			cfg, err := config.Load(file)
			if err != nil {
				t.Fatal(err)
			}
			log := slog.New(slog.DiscardHandler)
			s := &Server{cfg: cfg, clock: clock.System{}, log: log, registry: newRegistry(), live: &live{log: log, level: &slog.LevelVar{}, tls: &identity{}}}
			change := func(name string) {
				if name != "" {
					raw, _ := os.ReadFile(filepath.Join(dir, name)) // or it is not there
					put(t, dir, name, string(raw)+"\n", 0o644)
				}
			}
			r := newReloader(s, ServerOptions{Config: cfg, Load: func() (*config.Config, error) {
				next, err := config.Load(file)
				change(tc.during)
				return next, err
			}})
			put(t, dir, "sigbox.yaml", tc.then, 0o644)
			done := r.reload(t.Context(), "test")
			change(tc.after)
			if got := r.look() != done; got != tc.noticed {
				t.Errorf("noticed: %v; %q", got, *r.note.Load())
			}
		})
	}
}
