//go:build postgres

package main

import (
	"bytes"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sigbox/sigbox/tlog/entry/entrytest"
)

// rollbackWords is what a person is told, with both sizes.
var rollbackWords = regexp.MustCompile(`ROLLBACK DETECTED: the database has size 4, (the guard remembers|this process has seen) size 7`)

// TestServeRollback: the logs' database is restored to an older state, below a running replica and
// between a stop and a start. Both say so wherever one looks, refuse writes, and go on serving what
// the database has.
func TestServeRollback(t *testing.T) {
	s := runningSite(t)
	file := s.config(t)
	r := s.serve(t, file)
	s.both(t, r, 2)
	old := get(t, r.url+"/api/v1/log/entries?logIndex=3")
	r.stop(t, syscall.SIGTERM)
	s.server.Exec(t, "postgres", "CREATE DATABASE "+s.logs+"_old TEMPLATE "+s.logs)

	r = s.serve(t, file)
	s.both(t, r, 3)
	s.restore(t)
	t.Run("below a running replica", func(t *testing.T) { s.rolledBack(t, r, old) })
	if code := r.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d after SIGTERM:\n%s", code, r.stderr)
	}
	t.Run("at the next start", func(t *testing.T) { s.rolledBack(t, s.serve(t, file), old) })
	t.Run("on a replica that was not there before", func(t *testing.T) { s.rolledBack(t, s.serve(t, s.config(t)), old) })
}

// both adds entries to both Rekor logs.
func (s *site) both(t *testing.T, r *instanceRun, n int) {
	t.Helper()
	for range n {
		added(t, r.url+"/api/v1/log/entries", entrytest.NewHashedRekord(t, []byte("x")))
		added(t, r.url+"/api/v2/log/entries", v2Entry(t, "x"))
	}
}

// restore puts the older state in the place of the database.
func (s *site) restore(t *testing.T) {
	t.Helper()
	s.server.Exec(t, "postgres", "ALTER DATABASE "+s.logs+" ALLOW_CONNECTIONS false",
		"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '"+s.logs+"'",
		"ALTER DATABASE "+s.logs+" RENAME TO "+s.logs+"_new", "ALTER DATABASE "+s.logs+"_old RENAME TO "+s.logs)
	t.Cleanup(func() { s.server.Exec(t, "postgres", "DROP DATABASE "+s.logs+"_new WITH (FORCE)") })
}

func (s *site) rolledBack(t *testing.T, r *instanceRun, old string) {
	t.Helper()
	var body ready
	await(t, "/readyz says what happened", 20*time.Second, func() bool {
		var code int
		if code, body = readyz(t, r.url); code != http.StatusOK {
			t.Fatalf("/readyz is %d: all replicas would be taken away, and the reads with them", code)
		}
		return rollbackWords.MatchString(body.Checks["log rekor-v1"]) && rollbackWords.MatchString(body.Checks["log rekor-v2"])
	})
	if body.Status != "degraded" || body.Checks["log ct"] != "ok" {
		t.Errorf("/readyz: %+v", body)
	}
	metrics := get(t, r.url+"/metrics")
	for _, want := range []string{
		`sigbox_tlog_rollback_detected{log="rekor-v1"} 1`, `sigbox_tlog_rollback_detected{log="rekor-v2"} 1`, `sigbox_tlog_rollback_detected{log="ct"} 0`,
		`sigbox_tlog_healthy{log="rekor-v1"} 0`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics do not say %s", want)
		}
	}
	if !rollbackWords.MatchString(r.stderr.String()) {
		t.Errorf("nothing on standard error:\n%s", r.stderr)
	}
	for path, body := range map[string][]byte{"/api/v1/log/entries": entrytest.NewHashedRekord(t, []byte("y")), "/api/v2/log/entries": v2Entry(t, "y")} {
		status, text, header, err := answer(t.Context(), http.MethodPost, r.url+path, bytes.NewReader(body))
		if status != http.StatusServiceUnavailable || err != nil || header.Get("Retry-After") == "" {
			t.Errorf("POST %s: %d %v %v", path, status, header, err)
		}
		if strings.Contains(text, "ROLLBACK") || strings.Contains(text, "guard") {
			t.Errorf("POST %s tells clients of our insides: %s", path, text)
		}
	}
	status, text, _, err := answer(t.Context(), http.MethodGet, r.url+"/api/v1/log/entries?logIndex=3", nil)
	if status != http.StatusOK || err != nil || bodyOf(text) != bodyOf(old) {
		t.Errorf("an entry from before the loss: %d %v\n%s", status, err, text)
	}
	if !strings.Contains(get(t, r.url+"/api/v2/checkpoint"), "sigstore.example.com\n") {
		t.Error("the checkpoint is not served")
	}
}

var bodyForm = regexp.MustCompile(`"body":"[^"]+"`)

func bodyOf(text string) string { return bodyForm.FindString(text) }
