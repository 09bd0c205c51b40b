//go:build postgres

package main

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/bench"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/oidc/devidp"
)

// retiresCT has the next log published, and the one in use retired before the switch.
func retiresCT(l *lived) {
	l.t.Helper()
	id := l.keyOf("ct")
	l.start()
	l.rotate("sigbox rotate ct --yes --config "+l.file, true)
	l.rotate("sigbox rotate ct --resume --yes --config "+l.file, true)
	l.stop()
	l.retires(id)
}

// namesLog is what somebody does who is told to serve another CT log, or to use it; false where that is not what is asked.
func (l *lived) namesLog(todo string) bool {
	l.t.Helper()
	text := read(l.t, l.file)
	if m := regexp.MustCompile(`to the list next of tlog\.ct: (\{.*\})`).FindStringSubmatch(todo); m != nil {
		writeText(l.t, l.file, strings.Replace(text, "    key: tlog/ct.key\n", "    key: tlog/ct.key\n    next: ["+m[1]+"]\n", 1))
		return true
	}
	m := regexp.MustCompile(`ca\.ct\.log: (\S+) and ca\.ct\.key: (\S+)`).FindStringSubmatch(todo)
	if m == nil {
		return false
	}
	if strings.Contains(todo, "certificates have to be in") { // it is there, and certificates are awaited
		l.certificates(8)
		return true
	}
	writeText(l.t, l.file, strings.NewReplacer("    log: ct\n", "    log: "+m[1]+"\n", "    key: public/ct.pub\n", "    key: "+m[2]+"\n").Replace(text))
	return true
}

// certificates asks for some, by the machine's clock.
func (l *lived) certificates(n int) {
	l.t.Helper()
	token, err := devidp.FetchToken(l.t.Context(), "http://"+l.address, map[string]any{"email": "dev@example.com"})
	if err != nil {
		l.t.Fatal(err)
	}
	for range n {
		key, err := keys.NewECDSA()
		if err != nil {
			l.t.Fatal(err)
		}
		pub, err := keys.PublicPEM(key.Public())
		if err != nil {
			l.t.Fatal(err)
		}
		digest := sha256.Sum256([]byte("dev@example.com"))
		possession, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			l.t.Fatal(err)
		}
		status, text := l.post("/api/v2/signingCert", map[string]any{
			"credentials":      map[string]any{"oidcIdentityToken": token},
			"publicKeyRequest": map[string]any{"publicKey": map[string]any{"algorithm": "ECDSA", "content": string(pub)}, "proofOfPossession": possession},
		})
		if status != http.StatusOK {
			l.t.Fatalf("certificate: %d %s", status, text)
		}
	}
}

func (l *lived) post(path string, body any) (status int, text string) {
	l.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		l.t.Fatal(err)
	}
	res, err := http.Post("http://"+l.address+path, "application/json", bytes.NewReader(raw))
	if err != nil {
		l.t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return res.StatusCode, string(got)
}

// retiresRekorV1 has a log with another key, at an address of its own, published beside ours, which is retired.
func retiresRekorV1(l *lived) {
	l.t.Helper()
	id := l.keyOf("rekor-v1")
	server, address, dir := pgtest.Shared(l.t), freeAddr(l.t), filepath.Join(l.work, "second")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		l.t.Fatal(err)
	}
	l.newKey(filepath.Join(dir, "log.key"))
	file := filepath.Join(dir, "tlog.yaml")
	instance := regexp.MustCompile(`(?m)^instance: .*$`).FindString(read(l.t, l.file))
	writeText(l.t, file, fmt.Sprintf("%s\npublic_url: http://%s\ntlog:\n  listen: %s\n  database: {url: %q}\n  guard: {file: guard}\n  statements: said\n  rekor_v1: {shards: [{name: rekor-v1, tree_id: 7, key: log.key}]}\n",
		instance, strings.Replace(address, "127.0.0.1", "localhost", 1), address, server.URL(server.Database(l.t))))
	l.ok("migrate", "--config", file)
	l.ok("log", "create", "rekor-v1", "--config", file)
	second := startCommand(l.t, l.cmd("serve", "--config", file))
	if code := second.stop(l.t, os.Interrupt); code != 0 {
		l.t.Fatalf("the second log: exit code %d\n%s", code, second.stderr)
	}
	l.run("sigbox tuf request --statements " + filepath.Join(dir, "said") + " --out log.json --config " + l.file)
	l.publishes("log.json")
	l.retires(id)
}

// refusesEntries: what is added to the log of before is refused, and the signing configuration names the other one alone.
func refusesEntries(l *lived) {
	l.t.Helper()
	entries := &bench.RekorV1{}
	if err := entries.Prepare(l.t.Context(), http.DefaultClient, "http://"+l.address, 1, 1); err != nil {
		l.t.Fatal(err)
	}
	entry, err := entries.Request(0)
	if err != nil {
		l.t.Fatal(err)
	}
	if status, text := l.post(entries.Path(), json.RawMessage(entry)); status != http.StatusMethodNotAllowed {
		l.t.Errorf("an entry for the log that was frozen: %d %s", status, text)
	}
	var config struct {
		Logs []struct{ URL string } `json:"rekorTlogUrls"`
	}
	if err := json.Unmarshal([]byte(get(l.t, "http://"+l.address+"/trust/signing_config.v0.2.json")), &config); err != nil || len(config.Logs) != 1 || !strings.HasPrefix(config.Logs[0].URL, "http://localhost:") {
		l.t.Errorf("the signing configuration names %v (%v)", config.Logs, err)
	}
}

// inSecondCT: a certificate goes into the log that followed.
func inSecondCT(l *lived) {
	l.t.Helper()
	size := func(path string) (n struct {
		Size int `json:"tree_size"`
	}) {
		if err := json.Unmarshal([]byte(get(l.t, "http://"+l.address+path+"/ct/v1/get-sth")), &n); err != nil {
			l.t.Fatal(err)
		}
		return n
	}
	first, second := size(""), size("/ct-2")
	l.certificates(1)
	if a, b := size(""), size("/ct-2"); a != first || b.Size != second.Size+1 {
		l.t.Errorf("a certificate after the end: the log of before has %d entries after %d, the next one %d after %d", a.Size, first.Size, b.Size, second.Size)
	}
}
