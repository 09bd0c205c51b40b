package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"database/sql"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/tile"
)

// postTo posts JSON and returns the status and the body.
func postTo(t *testing.T, url string, body []byte) (int, string) {
	t.Helper()
	res, err := http.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(answer)
}

// added posts and fails the test unless something was made.
func added(t *testing.T, url string, body []byte) {
	t.Helper()
	if status, answer := postTo(t, url, body); status != http.StatusCreated {
		t.Fatalf("POST %s: %d %s", url, status, answer)
	}
}

// v2Entry is a request to Rekor v2 with a fresh key.
func v2Entry(t *testing.T, data string) []byte {
	t.Helper()
	key, digest := entrytest.P256(t), entrytest.Digest(crypto.SHA256, []byte(data))
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return entrytest.JSON(t, map[string]any{"hashedRekordRequestV002": map[string]any{"digest": digest, "signature": map[string]any{
		"content":  entrytest.SignDigest(t, key, crypto.SHA256, digest),
		"verifier": map[string]any{"publicKey": map[string]any{"rawBytes": pub}, "keyDetails": "PKIX_ECDSA_P256_SHA_256"},
	}}})
}

// certRequest is a request to Fulcio with a token of the instance's issuer.
func certRequest(t *testing.T, url string) []byte {
	t.Helper()
	token, stderr, code := run(t, "token", "--url", url, "--email", "dev@example.com")
	if code != 0 {
		t.Fatal(stderr)
	}
	key := entrytest.P256(t)
	return entrytest.JSON(t, map[string]any{
		"credentials": map[string]any{"oidcIdentityToken": strings.TrimSpace(token)},
		"publicKeyRequest": map[string]any{
			"publicKey":         map[string]any{"algorithm": "ECDSA", "content": string(entrytest.PEM(t, key.Public()))},
			"proofOfPossession": entrytest.SignDigest(t, key, crypto.SHA256, entrytest.Digest(crypto.SHA256, []byte("dev@example.com"))),
		},
	})
}

// logs runs `sigbox log` and fails the test unless it ends with that code.
func logs(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, code := run(t, append([]string{"log"}, args...)...)
	if code != want {
		t.Fatalf("log %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, stdout, stderr)
	}
	return stdout, stderr
}

func listLogs(t *testing.T, args ...string) map[string]listedLog {
	t.Helper()
	stdout, _ := logs(t, 0, append([]string{"list", "--json"}, args...)...)
	var rows []listedLog
	if err := json.Unmarshal([]byte(stdout), &rows); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	out := map[string]listedLog{}
	for _, r := range rows {
		out[r.Name] = r
	}
	return out
}

// TestLogWhileUpRuns: list, fsck and export work beside a running instance and see what it has
// acknowledged; freeze does not.
func TestLogWhileUpRuns(t *testing.T) {
	logWhileUpRuns(t)
}

// logWhileUpRuns runs the test on an instance with further flags, which say where its logs are.
func logWhileUpRuns(t *testing.T, database ...string) {
	t.Helper()
	at := append([]string{"--data", newData(t)}, database...)
	r := start(t, append(slices.Clone(at), "--listen", freeAddr(t))...)
	added(t, r.url+"/api/v1/log/entries", entrytest.NewHashedRekord(t, []byte("a")))
	key := entrytest.P256(t)
	envelope := entrytest.Envelope(t, "application/vnd.in-toto+json", []byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"x","predicate":{}}`), key)
	added(t, r.url+"/api/v1/log/entries", entrytest.DSSE(t, envelope, entrytest.PEM(t, key.Public())))
	for range 260 {
		added(t, r.url+"/api/v2/log/entries", v2Entry(t, "b"))
	}
	if status, answer := postTo(t, r.url+"/api/v2/signingCert", certRequest(t, r.url)); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}

	list := listLogs(t, at...)
	if n := list["rekor-v1"].Size; n != 4 || list["rekor-v2"].Size != 262 || list["ct"].Size != 3 {
		t.Errorf("list: %+v", list)
	}
	if l := list["rekor-v2"]; l.State != "active" || l.Origin != "127.0.0.1" || !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(l.KeyID) || l.LastEntry.IsZero() {
		t.Errorf("list: %+v", l)
	}
	table, _ := logs(t, 0, append([]string{"list"}, at...)...)
	column := -1
	for line := range strings.Lines(table) {
		at := max(strings.Index(line, "STATE"), strings.Index(line, "active"))
		if column >= 0 && at != column {
			t.Errorf("the table is not aligned:\n%s", table)
		}
		column = at
	}

	stdout, stderr := logs(t, 0, append([]string{"fsck"}, at...)...)
	for _, want := range []string{"ct: ok: 3 entries", "rekor-v1: ok: 4 entries", "rekor-v2: ok: 262 entries"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("fsck does not say %q:\n%s", want, stdout)
		}
	}
	if !strings.Contains(stderr, "rekor-v2: 256 of 262 leaves checked\n") || strings.Contains(stderr, "\r") {
		t.Errorf("fsck's progress, not on a terminal: %q", stderr)
	}

	testExport(t, r, at)
	_, stderr = logs(t, 1, append([]string{"freeze", "ct", "--yes"}, at...)...)
	if !strings.Contains(stderr, "another sigbox is running") {
		t.Errorf("freeze beside a running instance: %s", stderr)
	}
	if code := r.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("up was disturbed: %d\n%s", code, r.stderr)
	}
}

// testExport compares an exported directory with what the instance serves, before and after it grew.
func testExport(t *testing.T, r *instanceRun, at []string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "www")
	export := func(code int, name, dir string) (string, string) {
		return logs(t, code, append([]string{"export", name, "--out", dir}, at...)...)
	}
	for _, paths := range [][]string{
		{"checkpoint", "tile/0/000", "tile/0/001.p/6", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/6"},
		{"checkpoint", "tile/0/000", "tile/0/001.p/7", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/7"},
	} {
		stdout, stderr := export(0, "rekor-v2", dir)
		if !strings.HasPrefix(stdout, "rekor-v2: 26") || !strings.Contains(stderr, "entries written") {
			t.Errorf("export says %q, %q", stdout, stderr)
		}
		for _, path := range paths {
			got, err := os.ReadFile(filepath.Join(dir, path))
			if err != nil {
				t.Error(err)
			} else if string(got) != get(t, r.url+"/api/v2/"+path) {
				t.Errorf("%s is not what the instance serves", path)
			}
		}
		added(t, r.url+"/api/v2/log/entries", v2Entry(t, "c"))
	}
	if _, stderr := export(1, "rekor-v1", dir); !strings.Contains(stderr, "holds another log") {
		t.Errorf("export of one log over another: %s", stderr)
	}
	// The stored bytes of the CT log are not its leaves; its bundles must hold the leaves.
	ct := filepath.Join(t.TempDir(), "ct")
	export(0, "ct", ct)
	bundle, err := os.ReadFile(filepath.Join(ct, "tile/entries/000.p/3"))
	if err != nil {
		t.Fatal(err)
	}
	hashes, err := os.ReadFile(filepath.Join(ct, "tile/0/000.p/3"))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := tile.ParseBundle(bundle)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range entries {
		if h := tile.LeafHash(e); !bytes.Equal(h[:], hashes[32*i:32*i+32]) {
			t.Errorf("ct entry %d does not hash to its leaf", i)
		}
	}
}

// TestFsckFindsEveryFlippedBit changes one thing in the database by hand, past its triggers.
func TestFsckFindsEveryFlippedBit(t *testing.T) {
	data := newData(t)
	r := start(t, "--data", data, "--listen", freeAddr(t))
	added(t, r.url+"/api/v1/log/entries", entrytest.NewHashedRekord(t, []byte("a")))
	added(t, r.url+"/api/v2/log/entries", v2Entry(t, "b"))
	if status, answer := postTo(t, r.url+"/api/v2/signingCert", certRequest(t, r.url)); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	r.stop(t, syscall.SIGTERM)
	file := filepath.Join(data, "sigbox.db")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const of = " WHERE log_id = (SELECT id FROM tlog WHERE name = ?)"
	for name, tc := range map[string]struct {
		log, table, column, where string // the blob whose bit is flipped
		at                        int    // byte of it, from the end if negative
		sql                       string // instead of that
		want                      string
	}{
		"v1 body":                    {log: "rekor-v1", table: "tlog_leaf", column: "data", where: "idx = 2", at: 40, want: "leaf 2 hashes to"},
		"v2 body":                    {log: "rekor-v2", table: "tlog_leaf", column: "data", where: "idx = 1", at: 40, want: "leaf 1 hashes to"},
		"CT leaf":                    {log: "ct", table: "tlog_leaf", column: "data", where: "idx = 0", at: 40, want: "leaf 0"},
		"CT chain, outside the tree": {log: "ct", table: "tlog_leaf", column: "data", where: "idx = 2", at: -40, want: "leaf 2: identity: chain: certificate 2"},
		"stored leaf hash":           {log: "rekor-v1", table: "tlog_leaf", column: "leaf_hash", where: "idx = 1", want: "leaf 1 hashes to"},
		"v1 identity":                {log: "rekor-v1", table: "tlog_leaf", column: "identity", where: "idx = 2", want: "leaf 2 has identity"},
		"v2 identity":                {log: "rekor-v2", table: "tlog_leaf", column: "identity", where: "idx = 2", want: "leaf 2 has identity"},
		"CT identity":                {log: "ct", table: "tlog_leaf", column: "identity", where: "idx = 1", want: "leaf 1 has identity"},
		"v1 search key":              {log: "rekor-v1", table: "tlog_key", column: "key", where: "idx = 2", want: "leaf 2 is"},
		"CT leaf hash as key":        {log: "ct", table: "tlog_key", column: "key", where: "idx = 1", want: "leaf 1 is"},
		"search key of nothing":      {log: "rekor-v1", sql: "INSERT INTO tlog_key SELECT id, x'00', 0 FROM tlog WHERE name = ?", want: "under a search key that it does not have"},
		"v2 has no search keys":      {log: "rekor-v2", sql: "INSERT INTO tlog_key SELECT id, x'00', 0 FROM tlog WHERE name = ?", want: "under a search key that it does not have"},
		"root of the head row":       {log: "rekor-v2", table: "tlog_head", column: "root", where: "1", want: "not that of its checkpoint"},
		"signature":                  {log: "rekor-v2", table: "tlog_head", column: "checkpoint", where: "1", at: 90, want: "checkpoint"},
		"the last leaf is gone":      {log: "rekor-v2", sql: "DELETE FROM tlog_leaf" + of + " AND idx = 2", want: "leaf 2 is missing"},
		"time of a leaf":             {log: "rekor-v1", sql: "UPDATE tlog_leaf SET time_ms = time_ms + 3600000" + of + " AND idx = 1", want: "leaf 1 has time"},
		"key of the log's own row":   {log: "ct", sql: "UPDATE tlog SET key_sha256 = zeroblob(32) WHERE name = ?", want: "and key"},
		"a checkpoint of other log":  {log: "ct", sql: "UPDATE tlog_head SET (size, root, checkpoint) = (SELECT size, root, checkpoint FROM tlog_head h JOIN tlog l ON l.id = h.log_id WHERE l.name = 'rekor-v2')" + of, want: "checkpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, good, 0o600); err != nil {
				t.Fatal(err)
			}
			byHand(t, file, func(db *sql.DB) error {
				if tc.sql != "" {
					_, err := db.Exec(tc.sql, tc.log)
					return err
				}
				var blob []byte
				where := of + " AND " + tc.where
				if err := db.QueryRow("SELECT "+tc.column+" FROM "+tc.table+where+" LIMIT 1", tc.log).Scan(&blob); err != nil {
					return err
				}
				flipped := bytes.Clone(blob)
				flipped[(tc.at+len(blob))%len(blob)] ^= 1
				_, err := db.Exec("UPDATE "+tc.table+" SET "+tc.column+" = ?2"+strings.Replace(where, "?", "?1", 1)+" AND "+tc.column+" = ?3", tc.log, flipped, blob)
				return err
			})
			stdout, stderr := logs(t, 1, "fsck", "--data", data)
			if !regexp.MustCompile(`(?m)^` + tc.log + `: BAD: .*` + tc.want).MatchString(stdout) {
				t.Errorf("fsck does not say %q of %s:\n%s", tc.want, tc.log, stdout)
			}
			if n := strings.Count(stdout, ": ok: "); n != 2 || !strings.HasSuffix(stderr, "sigbox: 1 of 3 logs checked are bad\n") {
				t.Errorf("%d of the other logs are good:\n%s%s", n, stdout, stderr)
			}
			for _, other := range []string{"ct", "rekor-v1", "rekor-v2"} {
				if other != tc.log {
					logs(t, 0, "fsck", other, "--data", data)
					break
				}
			}
		})
	}
}

// byHand changes a database without its triggers.
func byHand(t *testing.T, file string, change func(*sql.DB) error) {
	t.Helper()
	db, err := sqlite.Open(context.Background(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var triggers []string
	rows, err := db.Read().Query("SELECT name FROM sqlite_master WHERE type = 'trigger'")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		triggers = append(triggers, "DROP TRIGGER "+name)
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	for _, q := range append(triggers, "PRAGMA foreign_keys = 0") {
		if _, err := db.Writer().Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	if err := change(db.Writer()); err != nil {
		t.Fatal(err)
	}
}

// TestLogFreeze freezes all logs of an instance, which goes on to serve them.
func TestLogFreeze(t *testing.T) {
	data := newData(t)
	r := start(t, "--data", data, "--listen", freeAddr(t))
	added(t, r.url+"/api/v2/log/entries", v2Entry(t, "before"))
	served := map[string]string{}
	for _, path := range []string{"/api/v2/checkpoint", "/api/v2/tile/entries/000.p/3", "/api/v1/log/publicKey", "/ct/v1/get-entries?start=0&end=1"} {
		served[path] = get(t, r.url+path)
	}
	head, _, _ := strings.Cut(served["/api/v2/checkpoint"], "\n\n") // its text, with the origin, size and root
	delete(served, "/api/v2/checkpoint")
	r.stop(t, syscall.SIGTERM)

	if _, stderr := logs(t, 1, "freeze", "rekor-v2", "--data", data); !strings.Contains(stderr, "--yes") {
		t.Errorf("freeze without --yes: %s", stderr)
	}
	if state := listLogs(t, "--data", data)["rekor-v2"].State; state != "active" {
		t.Errorf("without --yes it is %s", state)
	}
	for _, name := range []string{"rekor-v1", "rekor-v2", "ct"} {
		for _, want := range []string{name + " is frozen\n", name + " was frozen already\n"} {
			if stdout, _ := logs(t, 0, "freeze", name, "--yes", "--data", data); stdout != want {
				t.Errorf("freeze says %q, want %q", stdout, want)
			}
		}
		if state := listLogs(t, "--data", data)[name].State; state != "frozen" {
			t.Errorf("%s is %s", name, state)
		}
	}

	r = start(t, "--data", data, "--listen", freeAddr(t))
	before := listLogs(t, "--data", data)
	for _, tc := range []struct {
		path string
		body []byte
		want int
	}{
		{"/api/v1/log/entries", entrytest.NewHashedRekord(t, []byte("after")), http.StatusMethodNotAllowed},
		{"/api/v2/log/entries", v2Entry(t, "after"), http.StatusMethodNotAllowed},
		{"/api/v2/signingCert", certRequest(t, r.url), http.StatusServiceUnavailable},
	} {
		if status, answer := postTo(t, r.url+tc.path, tc.body); status != tc.want {
			t.Errorf("POST %s to a frozen log: %d, want %d: %s", tc.path, status, tc.want, answer)
		}
	}
	for path, want := range served {
		if got := get(t, r.url+path); got != want {
			t.Errorf("%s has changed:\n%s\n%s", path, want, got)
		}
	}
	last := get(t, r.url+"/api/v2/checkpoint")
	if !strings.HasPrefix(last, head+"\nLog frozen — ") || !strings.Contains(get(t, r.url+"/readyz"), `"log rekor-v2":"frozen"`) {
		t.Errorf("the checkpoint of a frozen log is %s, readyz %s", last, get(t, r.url+"/readyz"))
	}
	if after := listLogs(t, "--data", data); !maps.Equal(before, after) {
		t.Errorf("frozen logs have changed: %v, %v", before, after)
	}
	logs(t, 0, "fsck", "--data", data)
}

// TestLogRefuses: one clear line, and nothing made or changed by a look.
func TestLogRefuses(t *testing.T) {
	data := newData(t)
	r := start(t, "--data", data, "--listen", freeAddr(t))
	r.stop(t, syscall.SIGTERM)
	foreign, empty := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "thesis.tex"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	headless := newData(t)
	if err := os.CopyFS(headless, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(headless, "sigbox.db")); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		dir  string
		want string
	}{
		"nothing there":                {[]string{"list"}, filepath.Join(empty, "data"), "no sigbox instance"},
		"an empty directory":           {[]string{"fsck"}, empty, "no sigbox instance"},
		"freeze, an empty directory":   {[]string{"freeze", "ct", "--yes"}, empty, "no sigbox instance"},
		"somebody else's directory":    {[]string{"freeze", "ct", "--yes"}, foreign, "no sigbox instance"},
		"no database":                  {[]string{"list"}, headless, "sigbox.db"},
		"a log that is none":           {[]string{"fsck", "rekor-v3"}, data, `no log "rekor-v3"`},
		"export without a directory":   {[]string{"export", "ct"}, data, `"out"`},
		"a database that it is not in": {[]string{"list", "--database", "postgres://127.0.0.1/x"}, data, "leave out --database"},
		"freeze of a log that is none": {[]string{"freeze", "rekor-v3", "--yes"}, data, `no log "rekor-v3"`},
		"export of a log that is none": {[]string{"export", "rekor-v3", "--out", filepath.Join(empty, "out")}, data, `no log "rekor-v3"`},
	} {
		t.Run(name, func(t *testing.T) {
			before := names(t, tc.dir)
			stdout, stderr := logs(t, 1, append(tc.args, "--data", tc.dir)...)
			if stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, tc.want) {
				t.Errorf("stdout %q, stderr %q, want %q", stdout, stderr, tc.want)
			}
			if after := names(t, tc.dir); !slices.Equal(before, after) {
				t.Errorf("it made something: %v, before %v", after, before)
			}
		})
	}
}

func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	_ = filepath.WalkDir(dir, func(path string, _ os.DirEntry, _ error) error { // also of what is not there
		list = append(list, path)
		return nil
	})
	return list
}
