//go:build postgres

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
)

// trustedRoot writes what a trust root says of the site's Rekor v2 shards: the last of the names is at the
// base, those before it below /shards/. It returns the file.
func (s *site) trustedRoot(t *testing.T, names ...string) string {
	t.Helper()
	var logs []string
	for i, name := range names {
		key, err := keys.Load(filepath.Join(s.dir, "keys", name+".pem"))
		if err != nil {
			t.Fatal(err)
		}
		id, err := keys.ID(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		url := "https://sigstore.example.com"
		if i < len(names)-1 {
			url += fmt.Sprintf("/shards/%x", id)
		}
		logs = append(logs, fmt.Sprintf(`{"baseUrl":%q,"logId":{"keyId":%q}}`, url, base64.StdEncoding.EncodeToString(id[:])))
	}
	file := filepath.Join(t.TempDir(), "trusted_root.json")
	write(t, file, `{"tlogs":[`+strings.Join(logs, ",")+`]}`)
	return file
}

// verifierOf is that of a shard: all have the origin of the first.
func (s *site) verifierOf(t *testing.T, name string) *checkpoint.Verifier {
	t.Helper()
	key, err := keys.Load(filepath.Join(s.dir, "keys", name+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := checkpoint.NewVerifier("sigstore.example.com", "sigstore.example.com", key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// loadV2 posts to replicas in turn until it is stopped; each answer must be 201. It keeps them all.
type loadV2 struct {
	n    atomic.Int64
	mu   sync.Mutex
	said []string
}

func startV2(t *testing.T, urls ...string) (l *loadV2, end func()) {
	ctx, stop := context.WithCancel(t.Context())
	l = &loadV2{}
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				status, body, _, err := answer(context.WithoutCancel(ctx), http.MethodPost, urls[(w+i)%len(urls)]+"/api/v2/log/entries", bytes.NewReader(v2Entry(t, fmt.Sprint(w, " ", i))))
				if err != nil || status != http.StatusCreated {
					t.Errorf("post: %d %s, %v", status, body, err)
					return
				}
				l.mu.Lock()
				l.said = append(l.said, body)
				l.mu.Unlock()
				l.n.Add(1)
			}
		})
	}
	return l, func() { stop(); all.Wait() }
}

func (l *loadV2) more(t *testing.T, entries int64) {
	t.Helper()
	want := l.n.Load() + entries
	await(t, "entries are acknowledged", time.Minute, func() bool { return l.n.Load() >= want })
}

// TestRotateV2 rotates a Rekor v2 log twice while two replicas write to it, the second time by commands that
// are killed after each step. Every entry that was acknowledged verifies with the key of one shard.
func TestRotateV2(t *testing.T) {
	s := runningSite(t)
	file := s.config(t)
	a, b := s.serve(t, file), s.serve(t, s.config(t))
	l, end := startV2(t, a.url, b.url)
	l.more(t, 30)
	rotate := func(code int, args ...string) string {
		out, stderr := logs(t, code, append([]string{"rotate", "rekor-v2", "--yes", "--config", file}, args...)...)
		return out + stderr
	}
	for text, out := range map[string]string{
		"no witness can follow: both shards have the origin":   rotate(0),
		"Go on with --resume":                                  rotate(1),
		"has no section tuf":                                   rotate(1, "--resume"),
		"does not have the key of rekor-v2-2 yet":              rotate(1, "--resume", "--trusted-root", s.trustedRoot(t, "rekor-v2")),
		"has rekor-v2 at https://sigstore.example.com, and it": rotate(1, "--resume", "--trusted-root", s.together(t, "rekor-v2", "rekor-v2-2")),
	} {
		if !strings.Contains(out, text) {
			t.Errorf("%q, want it to say %q", out, text)
		}
	}
	root := s.trustedRoot(t, "rekor-v2", "rekor-v2-2")
	if out := rotate(1, "--resume", "--trusted-root", root); !strings.Contains(out, "clients have until") {
		t.Errorf("before the soak is over: %s", out)
	}
	l.more(t, 30)
	if out := rotate(0, "--resume", "--trusted-root", root, "--soak", "1ms"); !strings.Contains(out, "rekor-v2-2 takes entries now") {
		t.Errorf("switch: %s", out)
	}
	l.more(t, 30)
	// Again. A replica that has not got the key says so before it matters.
	for i, args := range [][]string{nil, {"--resume", "--trusted-root", "ROOT", "--soak", "0s"}} {
		for j := range args {
			if args[j] == "ROOT" {
				args[j] = s.trustedRoot(t, "rekor-v2", "rekor-v2-2", "rekor-v2-3")
			}
		}
		cmd := sigbox(t, append([]string{"log", "rotate", "rekor-v2", "--yes", "--config", file}, args...)...)
		cmd.Env = append(cmd.Env, "SIGBOX_TEST_DIE_AT=1")
		if out, stderr, code := finish(t, cmd); code != -1 {
			t.Errorf("killed in step %d: %d %s%s", i+1, code, out, stderr)
		}
		l.more(t, 30)
	}
	end()
	s.checkShards(t, l, []string{a.url, b.url}, "rekor-v2", "rekor-v2-2", "rekor-v2-3")
	if out, _ := logs(t, 0, "fsck", "--config", file); strings.Count(out, ": ok: ") != 5 {
		t.Errorf("fsck: %s", out)
	}
	if out, _ := logs(t, 0, "export", "rekor-v2-2", "--config", file, "--out", filepath.Join(t.TempDir(), "out")); !strings.Contains(out, "entries in") {
		t.Errorf("export: %s", out)
	}
}

// together is a trust root that has two shards at the base.
func (s *site) together(t *testing.T, first, second string) string {
	t.Helper()
	one, err := os.ReadFile(s.trustedRoot(t, first))
	if err != nil {
		t.Fatal(err)
	}
	two, err := os.ReadFile(s.trustedRoot(t, second))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "trusted_root.json")
	write(t, file, strings.TrimSuffix(string(one), "]}")+","+strings.TrimPrefix(string(two), `{"tlogs":[`))
	return file
}

// checkShards wants every answer to verify with the key of one shard, each shard to be read below /shards/
// on every replica, and the frozen ones to take nothing there.
func (s *site) checkShards(t *testing.T, l *loadV2, urls []string, names ...string) {
	t.Helper()
	count := make([]int64, len(names))
	for _, body := range l.said {
		good := 0
		for i, name := range names {
			if _, err := v2Answer(body, s.verifierOf(t, name)); err == nil {
				count[i]++
				good++
			}
		}
		if good != 1 {
			t.Errorf("verifies with the keys of %d shards: %s", good, body)
		}
	}
	for i, name := range names {
		v := s.verifierOf(t, name)
		frozen := i < len(names)-1
		for _, url := range urls {
			shard := fmt.Sprintf("%s/shards/%x", url, v.KeyID())
			note := get(t, shard+"/api/v2/checkpoint")
			signed, err := v.Open([]byte(note))
			if err != nil || signed.Size != count[i]+2 || strings.Contains(note, "Log frozen") != frozen {
				t.Errorf("%s at %s: %s, %v; %d entries were acknowledged", name, url, note, err, count[i])
			}
			if tile := get(t, shard+"/api/v2/tile/0/000.p/2"); len(tile) != 64 {
				t.Errorf("%s: a tile of %d bytes", name, len(tile))
			}
			if !frozen {
				continue
			}
			if status, body, _, err := answer(t.Context(), http.MethodPost, shard+"/api/v2/log/entries", bytes.NewReader(v2Entry(t, "late"))); err != nil ||
				status != http.StatusMethodNotAllowed || body != "This log has been frozen, please switch to the latest log.\n" {
				t.Errorf("write to %s: %d %q, %v", name, status, body, err)
			}
		}
	}
	for _, url := range urls {
		if status, _, _, err := answer(t.Context(), http.MethodGet, url+"/shards/"+strings.Repeat("0", 64)+"/api/v2/checkpoint", nil); err != nil || status != http.StatusNotFound {
			t.Errorf("a shard that is not there: %d, %v", status, err)
		}
	}
}

// TestRotateV2Keyless: a replica that has not got the key of the next shard says so before the switch, and
// after it refuses writes for now, until the key is there; it needs no restart, and one does it no harm.
func TestRotateV2Keyless(t *testing.T) {
	s := runningSite(t)
	file := s.config(t)
	elsewhere := filepath.Join(s.dir, "elsewhere")
	if err := os.CopyFS(elsewhere, os.DirFS(filepath.Join(s.dir, "keys"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"rekor-v1", "rekor-v2", "ct"} {
		if err := os.Chmod(filepath.Join(elsewhere, name+".pem"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	own := s.config(t, "keys/rekor-v2.pem", "elsewhere/rekor-v2.pem")
	r := s.serve(t, own)
	logs(t, 0, "rotate", "rekor-v2", "--yes", "--config", file)
	await(t, "the replica says that it has not got the key", 10*time.Second, func() bool {
		_, body := readyz(t, r.url)
		return body.Status == "degraded" && strings.Contains(body.Checks["shards"], "cannot be opened")
	})
	logs(t, 0, "rotate", "rekor-v2", "--yes", "--resume", "--soak", "0s", "--trusted-root", s.trustedRoot(t, "rekor-v2", "rekor-v2-2"), "--config", file)
	for range 2 {
		if status, body, header, err := answer(t.Context(), http.MethodPost, r.url+"/api/v2/log/entries", bytes.NewReader(v2Entry(t, "early"))); err != nil ||
			status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || strings.Contains(body, "elsewhere") {
			t.Errorf("without the key: %d %s, %v", status, body, err)
		}
		get(t, r.url+"/api/v1/log")
		if code := r.stop(t, syscall.SIGTERM); code != 0 {
			t.Errorf("exit code %d\n%s", code, r.stderr)
		}
		r = s.serve(t, own)
	}
	raw, err := os.ReadFile(filepath.Join(s.dir, "keys", "rekor-v2-2.pem"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(elsewhere, "rekor-v2-2.pem"), string(raw))
	status, body, _, err := answer(t.Context(), http.MethodPost, r.url+"/api/v2/log/entries", bytes.NewReader(v2Entry(t, "late")))
	var e struct{ LogIndex string }
	if err != nil || status != http.StatusCreated || json.Unmarshal([]byte(body), &e) != nil {
		t.Errorf("with the key: %d %s, %v", status, body, err)
	}
}

// TestRotateFrozen goes on with logs that were frozen for good: their new shards take entries at once.
func TestRotateFrozen(t *testing.T) {
	data, listen := newData(t), freeAddr(t)
	start(t, "--listen", listen, "--data", data).stop(t, syscall.SIGTERM)
	for _, name := range []string{"rekor-v1", "rekor-v2"} {
		logs(t, 0, "freeze", name, "--yes", "--data", data)
	}
	r := start(t, "--listen", listen, "--data", data)
	if _, stderr := logs(t, 1, "rotate", "rekor-v2", "--as", "tsa", "--yes", "--data", data); !strings.Contains(stderr, "is the key of the role tsa") {
		t.Errorf("with the key of the timestamps: %s", stderr)
	}
	for name, want := range map[string]string{"rekor-v1": "takes entries now\n", "rekor-v2": "refuse what it signs\n"} {
		out, _ := logs(t, 0, "rotate", name, "--yes", "--data", data)
		if !strings.Contains(out, want) || strings.Contains(out, "waits") || strings.Contains(out, "--resume") {
			t.Errorf("rotate %s: %s", name, out)
		}
	}
	added(t, r.url+"/api/v1/log/entries", entrytest.NewHashedRekord(t, []byte("after")))
	added(t, r.url+"/api/v2/log/entries", v2Entry(t, "after"))
}
