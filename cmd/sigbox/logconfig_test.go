//go:build postgres

package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sigbox/sigbox/tlog/entry/entrytest"
)

// TestLogCreate makes the logs of a configuration file, each once, and refuses what two logs may
// not share.
func TestLogCreate(t *testing.T) {
	s := newSite(t)
	file := s.config(t)
	if _, stderr := logs(t, 1, "create", "ct", "--config", file); !strings.Contains(stderr, "sigbox migrate") {
		t.Errorf("before migrate: %s", stderr)
	}
	if stdout, stderr, code := run(t, "migrate", "--config", file); code != 0 {
		t.Fatalf("migrate: %d\n%s%s", code, stdout, stderr)
	}
	for name, want := range map[string]string{
		"rekor-v1": `rekor-v1: created with 2 entries, origin "sigstore.example.com - 1193046", key id `,
		"rekor-v2": `rekor-v2: created with 2 entries, origin "sigstore.example.com", key id `,
		"ct":       `ct: created with 2 entries, origin "sigstore.example.com/ct", key id `,
	} {
		if stdout, _ := logs(t, 0, "create", name, "--config", file); !strings.HasPrefix(stdout, want) {
			t.Errorf("create says %q, want %q", stdout, want)
		}
	}
	shard := "- {name: rekor-v1, tree_id: 1193046, key: keys/rekor-v1.pem}"
	next := func(line string) string { return s.config(t, shard, shard+"\n      - "+line) }
	for name, tc := range map[string]struct {
		log, file string
		want      string
	}{
		"there already":           {"rekor-v1", file, "a log is created once"},
		"no such log":             {"rekor-v9", file, `has no log "rekor-v9": its logs are rekor-v1, rekor-v2, ct`},
		"origin of another":       {"v2b", s.config(t, "rekor_v2: {key: keys/rekor-v2.pem}", "rekor_v2: {name: v2b, key: keys/spare.pem}"), `origin "sigstore.example.com"`},
		"key of another":          {"v2c", s.config(t, "rekor_v2: {key: keys/rekor-v2.pem}", "rekor_v2: {name: v2c, host: b.example.com, key: keys/rekor-v2.pem}"), "its key is that of log rekor-v2"},
		"tree id, other host":     {"v1b", s.config(t, shard, "- {name: v1b, tree_id: 1193046, host: b.example.com, key: keys/spare.pem}"), "tree id 1193046"},
		"key of a log not v1":     {"v1c", s.config(t, shard, "- {name: v1c, tree_id: 5, key: keys/ct.pem}", "  ct: {key: keys/ct.pem, roots: ca.pem}\n", ""), "its key is that of log ct"},
		"without a configuration": {"rekor-v1", "", "--config"},
	} {
		args := []string{"create", tc.log}
		if tc.file != "" {
			args = append(args, "--config", tc.file)
		}
		if stdout, stderr := logs(t, 1, args...); stdout != "" || !strings.Contains(stderr, tc.want) {
			t.Errorf("%s: %q %q, want %q", name, stdout, stderr, tc.want)
		}
	}
	if stdout, _ := logs(t, 0, "create", "second", "--config", next("{name: second, tree_id: 77, key: keys/rekor-v1.pem}")); !strings.Contains(stdout, "- 77") {
		t.Errorf("a shard with the key of the one before it: %s", stdout)
	}
	list := listLogs(t, "--config", file)
	if len(list) != 4 || list["ct"].Size != 2 || list["second"].KeyID != list["rekor-v1"].KeyID {
		t.Errorf("list: %+v", list)
	}
	// An empty database under a guard that remembers.
	logsDB := s.logs
	s.text = strings.ReplaceAll(s.text, logsDB, s.server.Database(t))
	file = s.config(t)
	if stdout, stderr, code := run(t, "migrate", "--config", file); code != 0 {
		t.Fatalf("migrate: %d\n%s%s", code, stdout, stderr)
	}
	if _, stderr := logs(t, 1, "create", "rekor-v1", "--config", file); !strings.Contains(stderr, "ROLLBACK DETECTED") || !strings.Contains(stderr, "with 2 entries") {
		t.Errorf("create what the guard remembers: %s", stderr)
	}
}

// TestLogFreezeUnderReplicas freezes logs while two replicas write: what they acknowledge is in, and
// both serve the last checkpoint soon. Then the Rekor v1 log goes on in a new shard.
func TestLogFreezeUnderReplicas(t *testing.T) {
	s := runningSite(t)
	file := s.config(t)
	a, b := s.serve(t, file), s.serve(t, s.config(t))
	var mu sync.Mutex
	acknowledged := 0
	var wg sync.WaitGroup
	started := make(chan bool, 100)
	for i := range 4 {
		url := []string{a.url, b.url}[i%2]
		wg.Go(func() {
			for n := 0; ; n++ {
				status, text := postTo(t, url+"/api/v1/log/entries", entrytest.NewHashedRekord(t, fmt.Append(nil, i, n)))
				if status == http.StatusMethodNotAllowed {
					return
				}
				if status != http.StatusCreated {
					t.Errorf("%d %s", status, text)
					return
				}
				mu.Lock()
				acknowledged++
				mu.Unlock()
				select {
				case started <- true:
				default:
				}
			}
		})
	}
	for range 8 {
		<-started
	}
	if stdout, _ := logs(t, 0, "freeze", "rekor-v1", "--config", file, "--yes"); stdout != "rekor-v1 is frozen\n" {
		t.Errorf("freeze says %q", stdout)
	}
	wg.Wait()
	logs(t, 0, "freeze", "rekor-v2", "--config", file, "--yes")
	if l := listLogs(t, "--config", file)["rekor-v1"]; l.Size != int64(acknowledged)+2 || l.State != "frozen" {
		t.Errorf("%d entries were acknowledged: %+v", acknowledged, l)
	}
	for _, url := range []string{a.url, b.url} {
		await(t, "the last checkpoint of rekor-v2", 10*time.Second, func() bool { return strings.Contains(get(t, url+"/api/v2/checkpoint"), "\nLog frozen — ") })
		await(t, "frozen in readyz", 10*time.Second, func() bool {
			code, body := readyz(t, url)
			return code == http.StatusOK && body.Status == "ok" && body.Checks["log rekor-v1"] == "frozen"
		})
		if status, text := postTo(t, url+"/api/v2/log/entries", v2Entry(t, "late")); status != http.StatusMethodNotAllowed || text != "This log has been frozen, please switch to the latest log.\n" {
			t.Errorf("%d %q", status, text)
		}
	}
	logs(t, 0, "fsck", "--config", file)
	for _, r := range []*instanceRun{a, b} {
		r.stop(t, syscall.SIGTERM)
	}
	shard := "- {name: rekor-v1, tree_id: 1193046, key: keys/rekor-v1.pem}"
	next := s.config(t, shard, shard+"\n      - {name: second, tree_id: 77, key: keys/rekor-v1.pem}")
	logs(t, 0, "create", "second", "--config", next)
	r := s.serve(t, next)
	status, text := postTo(t, r.url+"/api/v1/log/entries", entrytest.NewHashedRekord(t, []byte("goes on")))
	if want := fmt.Sprintf(`"logIndex":%d,"verification"`, acknowledged+2+2); status != http.StatusCreated || !strings.Contains(text, want) {
		t.Errorf("%d, no %s: %s", status, want, text)
	}
	if info := get(t, r.url+"/api/v1/log"); !strings.Contains(info, `"treeID":"77"`) || !strings.Contains(info, `"inactiveShards":[{"rootHash"`) || !strings.Contains(info, fmt.Sprintf(`"treeSize":%d`, acknowledged+2)) {
		t.Errorf("log info: %s", info)
	}
	r.stop(t, syscall.SIGTERM)
	if _, code := s.refusal(t, s.config(t, shard, "- {name: second, tree_id: 77, key: keys/rekor-v1.pem}\n      "+shard)); code == 0 {
		t.Error("shards in the wrong order are served")
	}
}

// TestLogRecoverFromDatabase restores an older database under a shared guard, and brings the rest
// back from the one that was lost; the second time with a shorter one, which is refused.
func TestLogRecoverFromDatabase(t *testing.T) {
	s := runningSite(t)
	file := s.config(t)
	r := s.serve(t, file)
	add := func(texts ...string) {
		for _, text := range texts {
			added(t, r.url+"/api/v1/log/entries", entrytest.NewHashedRekord(t, []byte(text)))
		}
	}
	add("a", "b")
	r.stop(t, syscall.SIGTERM)
	older, shorter := s.copyLogs(t), s.copyLogs(t)
	r = s.serve(t, file)
	add("c", "d", "e")
	r.stop(t, syscall.SIGTERM)
	whole := s.logs
	s.text = strings.ReplaceAll(s.text, whole, older)
	file = s.config(t)

	stdout, _ := logs(t, 1, "recover", "rekor-v1", "--config", file)
	if !strings.Contains(stdout, "3 entries are missing, with the indexes 4 to 6") || !strings.Contains(stdout, "recover rekor-v1 --config "+file+" --from postgres://USER@HOST/DATABASE") {
		t.Errorf("it says\n%s", stdout)
	}
	if _, stderr := logs(t, 1, "recover", "rekor-v1", "--config", file, "--from", s.server.URL(shorter)); !strings.Contains(stderr, "it has 4 entries, the guard remembers 7: 3 are missing there too") {
		t.Errorf("from a shorter database: %s", stderr)
	}
	if _, stderr := logs(t, 1, "recover", "rekor-v1", "--config", file, "--from", s.server.URL(s.guard)); !strings.Contains(stderr, "--from") {
		t.Errorf("from a database of something else: %s", stderr)
	}
	r = s.serve(t, file) // it reads, and runs while it is recovered
	if code, body := readyz(t, r.url); code != http.StatusOK || !strings.Contains(body.Checks["log rekor-v1"], "ROLLBACK DETECTED") {
		t.Errorf("readyz: %d %+v", code, body)
	}
	if stdout, _ := logs(t, 0, "recover", "rekor-v1", "--config", file, "--from", s.server.URL(whole)); !strings.Contains(stdout, "the entries from index 4 on are back") {
		t.Errorf("recover says %s", stdout)
	}
	r.stop(t, syscall.SIGTERM)
	logs(t, 0, "fsck", "--config", file)
	r = s.serve(t, file)
	add("f")
	if code, body := readyz(t, r.url); code != http.StatusOK || body.Status != "ok" {
		t.Errorf("readyz: %d %+v", code, body)
	}
	out := filepath.Join(t.TempDir(), "out")
	logs(t, 0, "export", "rekor-v1", "--config", file, "--out", out)
	if _, err := os.Stat(filepath.Join(out, "tile/entries/000.p/8")); err != nil {
		t.Error(err)
	}
}

// copyLogs copies the database of the logs, which nobody uses.
func (s *site) copyLogs(t *testing.T) string {
	t.Helper()
	name := s.logs + fmt.Sprintf("_%d", time.Now().UnixNano())
	s.server.Exec(t, "postgres", "CREATE DATABASE "+name+" TEMPLATE "+s.logs)
	t.Cleanup(func() { s.server.Exec(t, "postgres", "DROP DATABASE "+name+" WITH (FORCE)") })
	return name
}
