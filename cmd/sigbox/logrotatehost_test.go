//go:build postgres

package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog/checkpoint"
)

const firstHost = "sigstore.example.com"

// named is a proxy that clients of a host name meet, as in production: it passes the name on.
func named(t *testing.T, host, to string) (proxy string) {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	p := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = host }}
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	return srv.URL
}

// rootAt writes a trust root that has shards, whose keys are in the files of their names, at URLs.
func (s *site) rootAt(t *testing.T, at map[string]string) string {
	t.Helper()
	var roots []string
	for name, url := range at {
		root := s.trustedRoot(t, name)
		roots = append(roots, strings.Replace(read(t, root), "https://"+firstHost, url, 1))
	}
	file := filepath.Join(t.TempDir(), "trusted_root.json")
	write(t, file, `{"tlogs":[`+strings.TrimSuffix(strings.TrimPrefix(strings.Join(roots, ","), `{"tlogs":[`), "]}")+`]}`)
	if len(roots) > 1 {
		write(t, file, strings.ReplaceAll(read(t, file), `]},{"tlogs":[`, ","))
	}
	return file
}

// shardOfHost is what is read of a shard at its host, on every replica.
func (s *site) shardOfHost(t *testing.T, name, host string, replicas []string) (size int64, note string) {
	t.Helper()
	key, err := keys.Load(filepath.Join(s.dir, "keys", name+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := checkpoint.NewVerifier(host, host, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range replicas {
		at := named(t, host, r)
		n := get(t, at+"/api/v2/checkpoint")
		signed, err := v.Open([]byte(n))
		if err != nil || i > 0 && signed.Size != size {
			t.Errorf("%s at %s, replica %d: %s, %v; want size %d", name, host, i+1, n, err, size)
		}
		size, note = signed.Size, n
		if tile := get(t, at+"/api/v2/tile/0/000.p/2"); len(tile) != 64 {
			t.Errorf("%s at %s: a tile of %d bytes", name, host, len(tile))
		}
	}
	return size, note
}

// TestRotateV2Host rotates a Rekor v2 log to a shard with a host name of its own, by the command, and then to
// one that the configuration lists, while two replicas are written to at the first name. Nothing fails, and
// each name has its own tree from beginning to end.
func TestRotateV2Host(t *testing.T) {
	s := runningSite(t)
	listed := []string{"rekor_v2: {key: keys/rekor-v2.pem}", "rekor_v2: {key: keys/rekor-v2.pem, shards: [{name: third, host: log3.example.com}]}"}
	file, with := s.config(t), s.config(t, listed...)
	a, b := s.serve(t, s.config(t, listed...)), s.serve(t, s.config(t))
	replicas := []string{a.url, b.url}
	l, end := startV2(t, named(t, firstHost, a.url), named(t, firstHost, b.url))
	l.more(t, 20)
	rotate := func(code int, config string, args ...string) string {
		out, stderr := logs(t, code, append([]string{"rotate", "rekor-v2", "--config", config}, args...)...)
		return out + stderr
	}
	says := func(out string, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if !strings.Contains(out, text) {
				t.Errorf("%q is not in: %s", text, out)
			}
		}
	}
	says(rotate(1, file, "--yes", "--host", firstHost), "is the host of rekor-v2")
	says(rotate(1, file, "--yes", "--as", "ct"), "is the key of the role ct")
	says(rotate(0, file, "--dry-run", "--host", "log2.example.com"), `make rekor-v2-2 with a new key and the origin "log2.example.com"`, "witnesses can follow", "with the host log2.example.com")
	says(rotate(0, file, "--yes", "--host", "log2.example.com"), `made rekor-v2-2: origin "log2.example.com"`, "let log2.example.com lead to",
		"witnesses can follow: rekor-v2 is read at sigstore.example.com for ever, and rekor-v2-2 at log2.example.com")
	await(t, "the shard that waits is read at its host", 20*time.Second, func() bool {
		return strings.HasPrefix(get(t, named(t, "log2.example.com", a.url)+"/api/v2/checkpoint"), "log2.example.com\n2\n") &&
			strings.HasPrefix(get(t, named(t, "log2.example.com", b.url)+"/api/v2/checkpoint"), "log2.example.com\n2\n")
	})
	// A replica that knows of a name keeps it before there is a shard; nobody's name is that of the first.
	for host, want := range map[string]int{"log3.example.com": http.StatusNotFound, "nobody.example.com": http.StatusOK} {
		if status, _, _, err := answer(t.Context(), http.MethodGet, named(t, host, a.url)+"/api/v2/checkpoint", nil); err != nil || status != want {
			t.Errorf("%s: %d, %v", host, status, err)
		}
	}
	at := map[string]string{"rekor-v2": "https://sigstore.example.com", "rekor-v2-2": "https://sigstore.example.com"}
	says(rotate(1, file, "--yes", "--resume", "--trusted-root", s.rootAt(t, at)), "and it will be at https://log2.example.com")
	at["rekor-v2-2"] = "https://log2.example.com"
	root := s.rootAt(t, at)
	says(rotate(1, file, "--yes", "--resume", "--trusted-root", root), "clients have until")
	l.more(t, 20)
	says(rotate(0, file, "--yes", "--resume", "--trusted-root", root, "--soak", "0s"), "rekor-v2-2 takes entries now")
	l.more(t, 20)
	says(rotate(0, with, "--yes"), `made third: origin "log3.example.com"`)
	at["third"] = "https://log3.example.com"
	says(rotate(0, with, "--yes", "--resume", "--trusted-root", s.rootAt(t, at), "--soak", "0s"), "third takes entries now")
	l.more(t, 20)
	end()
	sizeAt := func(replica string) string {
		return strings.SplitN(get(t, named(t, "log3.example.com", replica)+"/api/v2/checkpoint"), "\n", 3)[1]
	}
	await(t, "a replica shows what the other wrote", 10*time.Second, func() bool { return sizeAt(a.url) == sizeAt(b.url) })
	s.checkHosts(t, l, replicas, map[string]string{"rekor-v2": firstHost, "rekor-v2-2": "log2.example.com", "third": "log3.example.com"})
	if out, _ := logs(t, 0, "fsck", "--config", file); strings.Count(out, ": ok: ") != 5 {
		t.Errorf("fsck: %s", out)
	}
}

// checkHosts wants each shard to be read at its own host, the frozen ones to take nothing at their paths, and
// all that was acknowledged to be in one of them.
func (s *site) checkHosts(t *testing.T, l *loadV2, replicas []string, hosts map[string]string) {
	t.Helper()
	var total int64
	for name, host := range hosts {
		size, note := s.shardOfHost(t, name, host, replicas)
		total += size - 2
		if frozen := name != "third"; strings.Contains(note, "Log frozen") != frozen || size < 3 {
			t.Errorf("%s: %s", name, note)
		} else if frozen {
			key, err := keys.Load(filepath.Join(s.dir, "keys", name+".pem"))
			if err != nil {
				t.Fatal(err)
			}
			id, err := keys.ID(key.Public())
			if err != nil {
				t.Fatal(err)
			}
			path := fmt.Sprintf("%s/shards/%x/api/v2/log/entries", named(t, host, replicas[0]), id)
			if status, _, _, err := answer(t.Context(), http.MethodPost, path, bytes.NewReader(v2Entry(t, "late"))); err != nil || status != http.StatusMethodNotAllowed {
				t.Errorf("write to %s at its path: %d, %v", name, status, err)
			}
		}
	}
	if total != l.n.Load() {
		t.Errorf("%d entries in the shards, %d were acknowledged", total, l.n.Load())
	}
}

// TestRotateUpHost: an instance publishes a shard with a host of its own by itself, over a restart too. The
// other host is an address that a proxy listens at, with the port of the instance.
func TestRotateUpHost(t *testing.T) {
	data, listen := newData(t), freeAddr(t)
	r := start(t, "--listen", listen, "--data", data)
	logs(t, 0, "rotate", "rekor-v2", "--host", "127.0.0.2", "--yes", "--data", data)
	await(t, "the key of the new shard is published", 20*time.Second, func() bool {
		_, _, code := finish(t, sigbox(t, "log", "rotate", "rekor-v2", "--resume", "--yes", "--soak", "0s", "--data", data))
		return code == 0
	})
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for host, note := range map[string]string{"127.0.0.1": "127.0.0.1\n2\n", "127.0.0.2": "127.0.0.2\n2\n"} {
			if got := get(t, named(t, host+":"+port, r.url)+"/api/v2/checkpoint"); !strings.HasPrefix(got, note) {
				t.Errorf("at %s: %s", host, got)
			}
		}
		out := t.TempDir()
		if text, stderr, code := run(t, "trust", "export", "--url", r.url, "--out", filepath.Join(out, "trust")); code != 0 {
			t.Fatalf("export: %s%s", text, stderr)
		}
		for file, want := range map[string][]string{
			"trusted_root.json":                 {`"baseUrl": "http://127.0.0.1:` + port + `"`, `"baseUrl": "http://127.0.0.2:` + port + `"`},
			"signing_config_rekor_v2.v0.2.json": {`"url": "http://127.0.0.2:` + port + `"`},
		} {
			text := read(t, filepath.Join(out, "trust", file))
			for _, w := range want {
				if !strings.Contains(text, w) || strings.Contains(text, "/shards/") {
					t.Errorf("%s: want %s: %s", file, w, text)
				}
			}
		}
		r.stop(t, syscall.SIGTERM)
		r = start(t, "--listen", listen, "--data", data)
	}
}
