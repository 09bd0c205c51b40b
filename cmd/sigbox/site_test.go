//go:build postgres

package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
)

// site is where replicas of `sigbox serve` run: databases with a user of their own, keys, and a
// configuration that a test changes as it needs.
type site struct {
	server      *pgtest.Server
	logs, guard string // names of databases
	user        string
	dir         string
	text        string // of the configuration; LISTEN is for the replica's address
}

const siteConfig = `public_url: https://sigstore.example.com
listen: LISTEN
logging: {level: debug, format: text}
tlog:
  database:
    url: LOGS_AS_USER
    migrate_url: LOGS
    lock_timeout: 500ms
    statement_timeout: 2s
    idle_timeout: 500ms
  guard:
    database: {url: "GUARD_AS_USER", migrate_url: "GUARD"}
  poll: 100ms
  rekor_v1:
    shards:
      - {name: rekor-v1, tree_id: 1193046, key: keys/rekor-v1.pem}
  rekor_v2: {key: keys/rekor-v2.pem}
  ct: {key: keys/ct.pem, roots: ca.pem}
`

// newSite makes everything but schemas and logs.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{server: pgtest.Shared(t), dir: t.TempDir()}
	s.user = fmt.Sprintf("app%d", time.Now().UnixNano())
	s.server.Exec(t, "postgres", "CREATE ROLE "+s.user+" LOGIN")
	t.Cleanup(func() { s.server.Exec(t, "postgres", "DROP ROLE "+s.user) })
	s.logs, s.guard = s.server.Database(t), s.server.Database(t)
	for _, name := range []string{"rekor-v1", "rekor-v2", "ct", "spare"} {
		key, err := keys.NewECDSA()
		if err != nil {
			t.Fatal(err)
		}
		if err := keys.Save(filepath.Join(s.dir, "keys", name+".pem"), key); err != nil {
			t.Fatal(err)
		}
	}
	h, err := ca.NewHierarchy(clock.System{}, "test")
	if err != nil {
		t.Fatal(err)
	}
	var chain []byte
	for _, c := range h.Chain() {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	write(t, filepath.Join(s.dir, "ca.pem"), string(chain))
	s.text = strings.NewReplacer("LOGS_AS_USER", s.asUser(s.logs), "GUARD_AS_USER", s.asUser(s.guard),
		"LOGS", s.server.URL(s.logs), "GUARD", s.server.URL(s.guard)).Replace(siteConfig)
	return s
}

// sharedGuard is the part of the configuration that says which guard there is.
func (s *site) sharedGuard() string {
	return fmt.Sprintf("guard:\n    database: {url: %q, migrate_url: %q}", s.asUser(s.guard), s.server.URL(s.guard))
}

// asUser is the connection string of a database for the user that serve connects as.
func (s *site) asUser(database string) string {
	return strings.Replace(s.server.URL(database), "user=postgres", "user="+s.user, 1)
}

// running is a site with migrated databases and created logs.
func runningSite(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	file := s.config(t)
	if stdout, stderr, code := run(t, "migrate", "--config", file); code != 0 {
		t.Fatalf("migrate: %d\n%s%s", code, stdout, stderr)
	}
	createLogs(t, file)
	return s
}

// config writes the configuration of one replica, with pairs of texts replaced, and returns its path.
func (s *site) config(t *testing.T, changes ...string) string {
	t.Helper()
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(s.text, changes[i]) {
			t.Fatalf("the configuration has no %q", changes[i])
		}
	}
	text := strings.NewReplacer(changes...).Replace(s.text)
	f, err := os.CreateTemp(s.dir, "sigbox-*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(strings.ReplaceAll(text, "LISTEN", freeAddr(t))); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// createLogs makes the logs of a configuration.
func createLogs(t *testing.T, file string) {
	t.Helper()
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	stores, err := stack.OpenLogStores(t.Context(), cfg.TLog, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer stores.Close()
	logs, err := stack.ServedLogs(cfg.TLog)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range logs {
		seeds, err := l.Seeds()
		if err != nil {
			t.Fatal(err)
		}
		l.Config.Guard = stores.Guard
		store, err := stores.Store(t.Context(), l.Config.Name)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.Create(t.Context(), store, l.Config, seeds); err != nil {
			t.Fatal(err)
		}
	}
}

// serve runs a replica and waits until it listens.
func (s *site) serve(t *testing.T, file string, args ...string) *instanceRun {
	t.Helper()
	r := startCommand(t, sigbox(t, append([]string{"serve", "--config", file}, args...)...))
	address, _, _ := strings.Cut(r.url, " ")
	r.url = "http://" + address
	return r
}

// refusal runs serve where it must not start.
func (s *site) refusal(t *testing.T, file string, args ...string) (stderr string, code int) {
	t.Helper()
	stdout, stderr, code := run(t, append([]string{"serve", "--config", file}, args...)...)
	if code == 0 || strings.Contains(stdout, "ready") {
		t.Errorf("serve started: exit code %d\n%s%s", code, stdout, stderr)
	}
	return stderr, code
}

// ready is the body of /readyz.
type ready struct {
	Status        string
	Checks, Notes map[string]string
}

func readyz(t *testing.T, url string) (code int, body ready) {
	t.Helper()
	res, err := http.Get(url + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, body
}

// await asks again and again, and fails the test after some time.
func await(t *testing.T, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}
