package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sigbox/sigbox/tlog/entry/entrytest"
)

// rolledBack is an instance whose database was restored to an older state, and a copy of the whole
// instance from before that.
func rolledBack(t *testing.T) (data, whole string) {
	t.Helper()
	data, whole = newData(t), newData(t)
	r := start(t, "--data", data, "--listen", freeAddr(t))
	added(t, r.url+"/api/v1/log/entries", entrytest.NewHashedRekord(t, []byte("a")))
	r.stop(t, syscall.SIGTERM)
	file := filepath.Join(data, "sigbox.db")
	older, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r = start(t, "--data", data, "--listen", freeAddr(t))
	for _, text := range []string{"b", "c"} {
		added(t, r.url+"/api/v1/log/entries", entrytest.NewHashedRekord(t, []byte(text)))
	}
	r.stop(t, syscall.SIGTERM)
	if err := os.CopyFS(whole, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, older, 0o600); err != nil {
		t.Fatal(err)
	}
	return data, whole
}

// TestLogRecover: an instance with an older database says what is wrong and what to do, and does it.
func TestLogRecover(t *testing.T) {
	data, whole := rolledBack(t)
	stdout, stderr := logs(t, 1, "recover", "rekor-v1", "--data", data)
	for _, want := range []string{
		"ROLLBACK DETECTED\n", "the database has    3 entries, root ", "the guard remembers 5 entries, root ",
		"2 entries are missing, with the indexes 3 to 4", "recover rekor-v1 --data " + data + " --from DIRECTORY", "--accept-loss --confirm 3:5\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("it does not say %q:\n%s", want, stdout)
		}
	}
	if stderr != "sigbox: log rekor-v1 has lost 2 entries\n" {
		t.Errorf("stderr %q", stderr)
	}
	if stdout, _ := logs(t, 0, "recover", "rekor-v2", "--data", data); !strings.Contains(stdout, "rekor-v2: nothing to recover: it has 2 entries") {
		t.Errorf("a sound log: %s", stdout)
	}
	other := newData(t)
	start(t, "--data", other, "--listen", freeAddr(t)).stop(t, syscall.SIGTERM)
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"from itself":           {[]string{"--from", data}, "another sigbox is running"},
		"from another instance": {[]string{"--from", other}, `it has no log with the origin "127.0.0.1 - `},
		"from nowhere":          {[]string{"--from", filepath.Join(other, "none")}, "is no directory, and no connection string"},
		"from no instance":      {[]string{"--from", t.TempDir()}, "instance.json"},
		"loss, not confirmed":   {[]string{"--accept-loss"}, "--accept-loss and --confirm go together"},
		"loss, other sizes":     {[]string{"--accept-loss", "--confirm", "3:6"}, "the log has 3 entries and the guard remembers 5: nothing was done"},
		"loss, no sizes":        {[]string{"--accept-loss", "--confirm", "yes"}, `--confirm "yes": want two sizes`},
		"loss, and more":        {[]string{"--accept-loss", "--confirm", "3:5:7"}, "want two sizes"},
		"loss and from":         {[]string{"--accept-loss", "--confirm", "3:5", "--from", whole}, "none of the others can be"},
	} {
		if stdout, stderr := logs(t, 1, append([]string{"recover", "rekor-v1", "--data", data}, tc.args...)...); stdout != "" || !strings.Contains(stderr, tc.want) {
			t.Errorf("%s: %q %q, want %q", name, stdout, stderr, tc.want)
		}
	}
	if l := listLogs(t, "--data", data)["rekor-v1"]; l.Size != 3 || l.State != "active" {
		t.Errorf("what was refused left a trace: %+v", l)
	}
	if stdout, _ := logs(t, 0, "recover", "rekor-v1", "--data", data, "--from", whole); !strings.Contains(stdout, "the entries from index 3 on are back") {
		t.Errorf("recover says %s", stdout)
	}
	logs(t, 0, "fsck", "--data", data)
	r := start(t, "--data", data, "--listen", freeAddr(t))
	if ready := get(t, r.url+"/readyz"); !strings.Contains(ready, `"status":"ok"`) {
		t.Errorf("readyz: %s", ready)
	}
	added(t, r.url+"/api/v1/log/entries", entrytest.NewHashedRekord(t, []byte("d")))
	if status, answer := postTo(t, r.url+"/api/v1/log/entries/retrieve", []byte(`{"logIndexes":[3,4,5]}`)); status != http.StatusOK || strings.Count(answer, `"inclusionProof"`) != 3 {
		t.Errorf("%d %s", status, answer)
	}
}

// TestLogAcceptLoss gives the missing entries up: the log is read on, and says so everywhere.
func TestLogAcceptLoss(t *testing.T) {
	data, whole := rolledBack(t)
	head := func() string {
		r := start(t, "--data", data, "--listen", freeAddr(t))
		defer r.stop(t, syscall.SIGTERM)
		return get(t, r.url+"/api/v1/log")
	}
	was := head()
	stdout, _ := logs(t, 0, "recover", "rekor-v1", "--data", data, "--accept-loss", "--confirm", "3:5")
	if !strings.Contains(stdout, "rekor-v1 is frozen with 3 entries; 2 were given up") || !strings.Contains(stdout, "sigbox up --data") {
		t.Errorf("it says %s", stdout)
	}
	l := listLogs(t, "--data", data)["rekor-v1"]
	if l.State != "frozen" || l.Lost != 2 || !strings.Contains(l.Reason, "2 entries from index 3 on were lost and given up") {
		t.Errorf("list: %+v", l)
	}
	if table, _ := logs(t, 0, "list", "--data", data); !strings.Contains(table, "frozen, lost 2") {
		t.Errorf("list:\n%s", table)
	}
	if stdout, _ := logs(t, 0, "recover", "rekor-v1", "--data", data); !strings.Contains(stdout, "is frozen, for good: 2 entries from index 3") {
		t.Errorf("recover says %s", stdout)
	}
	for _, args := range [][]string{{"--from", whole}, {"--accept-loss", "--confirm", "3:5"}} {
		logs(t, 1, append([]string{"recover", "rekor-v1", "--data", data}, args...)...)
	}
	logs(t, 0, "fsck", "--data", data)
	if now := head(); now != was {
		t.Errorf("another head: %s, before %s", now, was)
	}
	r := start(t, "--data", data, "--listen", freeAddr(t))
	if ready := get(t, r.url+"/readyz"); !strings.Contains(ready, `"status":"ok"`) || !strings.Contains(ready, `"log rekor-v1":"frozen: 2 entries from index 3`) {
		t.Errorf("readyz: %s", ready)
	}
	if status, answer := postTo(t, r.url+"/api/v1/log/entries", entrytest.NewHashedRekord(t, []byte("d"))); status != http.StatusMethodNotAllowed {
		t.Errorf("%d %s", status, answer)
	}
	added(t, r.url+"/api/v2/log/entries", v2Entry(t, "the other logs go on"))
}
