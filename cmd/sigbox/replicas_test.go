//go:build postgres

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/tile"
)

// verifiers are those of the site's Rekor logs.
func (s *site) verifiers(t *testing.T) (v1, v2 *checkpoint.Verifier) {
	t.Helper()
	verifier := func(key, origin string) *checkpoint.Verifier {
		k, err := keys.Load(filepath.Join(s.dir, "keys", key+".pem"))
		if err != nil {
			t.Fatal(err)
		}
		v, err := checkpoint.NewVerifier("sigstore.example.com", origin, k.Public())
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	return verifier("rekor-v1", "sigstore.example.com - 1193046"), verifier("rekor-v2", "sigstore.example.com")
}

// writer posts entries to one replica until told to stop, each again and again until it is
// acknowledged, as clients that take Retry-After to heart do.
type writer struct {
	url    string
	v1, v2 *checkpoint.Verifier
	prefix string

	mu       sync.Mutex
	acked    [2][]acked // Rekor v1, Rekor v2
	longest  time.Duration
	failures atomic.Int64
}

// post posts one entry and returns what was acknowledged.
func (w *writer) post(ctx context.Context, t testing.TB, face int, body []byte) (acked, error) {
	path, read, v := "/api/v1/log/entries", v1Answer, w.v1
	if face == 1 {
		path, read, v = "/api/v2/log/entries", v2Answer, w.v2
	}
	for {
		began := time.Now()
		status, text, header, err := answer(ctx, http.MethodPost, w.url+path, bytes.NewReader(body))
		switch {
		case ctx.Err() != nil:
			return acked{}, ctx.Err()
		case err == nil && status == http.StatusCreated:
			w.mu.Lock()
			w.longest = max(w.longest, time.Since(began))
			w.mu.Unlock()
			return read(text, v)
		case err == nil && status == http.StatusConflict: // a try whose answer was lost
			status, text, _, err = answer(ctx, http.MethodGet, w.url+header.Get("Location"), nil)
			if err != nil || status != http.StatusOK {
				return acked{}, fmt.Errorf("a 409 whose Location does not resolve at once: %d %w %s", status, err, text)
			}
			return read(text, v)
		case err == nil && status != http.StatusServiceUnavailable && status != http.StatusTooManyRequests:
			return acked{}, fmt.Errorf("%d %s", status, text)
		}
		w.failures.Add(1)
		time.Sleep(20 * time.Millisecond) // as Retry-After would have it, in small
	}
}

// run posts to both faces with some workers each until ctx ends.
func (w *writer) run(ctx context.Context, t testing.TB, workers int) {
	var wg sync.WaitGroup
	for i := range 2 * workers {
		wg.Go(func() {
			face := i % 2
			for n := 0; ctx.Err() == nil; n++ {
				data := fmt.Appendf(nil, "%s %d %d", w.prefix, i, n)
				body := entrytest.NewHashedRekord(t, data)
				if face == 1 {
					body = v2Request(t, data)
				}
				a, err := w.post(ctx, t, face, body)
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					t.Errorf("%s: %v", w.prefix, err)
					return
				}
				w.mu.Lock()
				w.acked[face] = append(w.acked[face], a)
				w.mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func v2Request(t testing.TB, data []byte) []byte { return v2Entry(t.(*testing.T), string(data)) }

func (w *writer) count() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acked[0]) + len(w.acked[1])
}

// newWriters returns one writer for each replica.
func (s *site) newWriters(t *testing.T, replicas []*instanceRun) (list []*writer) {
	v1, v2 := s.verifiers(t)
	for i, r := range replicas {
		list = append(list, &writer{url: r.url, v1: v1, v2: v2, prefix: fmt.Sprint("replica ", i)})
	}
	return list
}

// audit checks that every acknowledged entry is in the log, once, with a proof from a replica.
func audit(t *testing.T, url string, writers []*writer) {
	t.Helper()
	indexes := [2]map[int64]string{{}, {}}
	for _, w := range writers {
		for face, list := range w.acked {
			for _, a := range list {
				if other, twice := indexes[face][a.index]; twice {
					t.Errorf("face %d: index %d was acknowledged to %s and to %s", face, a.index, other, w.prefix)
				}
				indexes[face][a.index] = w.prefix
				if face == 0 {
					checkV1(t, url, a, w)
				}
			}
		}
	}
	checkTiles(t, url, writers)
}

// checkV1 reads an entry from a replica and checks its proof.
func checkV1(t *testing.T, url string, a acked, w *writer) {
	t.Helper()
	got, err := v1Answer(get(t, url+"/api/v1/log/entries/"+a.id), w.v1)
	if err != nil || got != a {
		t.Errorf("%s acknowledged %+v, %s has %+v: %v", w.prefix, a, url, got, err)
	}
}

// checkTiles reads all leaf hashes of Rekor v2 from a replica's tiles, recomputes the root of its
// checkpoint from them, and looks for every acknowledged entry at its index.
func checkTiles(t *testing.T, url string, writers []*writer) {
	t.Helper()
	signed, err := writers[0].v2.Open([]byte(get(t, url+"/api/v2/checkpoint")))
	if err != nil {
		t.Fatal(err)
	}
	var leaves [][32]byte
	for n := int64(0); n*256 < signed.Size; n++ {
		p := tile.Path{Level: 0, N: n, Width: int(min(256, signed.Size-n*256))}
		b := []byte(get(t, url+"/api/v2/"+p.String()))
		for ; len(b) >= 32; b = b[32:] {
			leaves = append(leaves, [32]byte(b))
		}
	}
	if int64(len(leaves)) != signed.Size || root(leaves) != signed.Root {
		t.Errorf("%s: %d leaf hashes in the tiles do not make the root of size %d", url, len(leaves), signed.Size)
	}
	for _, w := range writers {
		for _, a := range w.acked[1] {
			if a.index >= signed.Size || leaves[a.index] != a.hash {
				t.Errorf("%s acknowledged index %d of Rekor v2, %s (size %d) does not have it", w.prefix, a.index, url, signed.Size)
			}
		}
	}
}

// root is the Merkle tree hash of RFC 9162 2.1.1, the slow way.
func root(leaves [][32]byte) [32]byte {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := 1
	for 2*k < len(leaves) {
		k *= 2
	}
	left, right := root(leaves[:k]), root(leaves[k:])
	return [32]byte(rfc6962.DefaultHasher.HashChildren(left[:], right[:]))
}

// settled waits until a replica shows all that was acknowledged.
func settled(t *testing.T, url string, writers []*writer, limit time.Duration) {
	t.Helper()
	var sizes [2]int64
	for _, w := range writers {
		for face, list := range w.acked {
			for _, a := range list {
				sizes[face] = max(sizes[face], a.index+1)
			}
		}
	}
	await(t, url+" shows what others acknowledged", limit, func() bool {
		var v1 struct{ TreeSize int64 }
		if err := json.Unmarshal([]byte(get(t, url+"/api/v1/log")), &v1); err != nil {
			t.Fatal(err)
		}
		v2, err := writers[0].v2.Open([]byte(get(t, url+"/api/v2/checkpoint")))
		if err != nil {
			t.Fatal(err)
		}
		return v1.TreeSize >= sizes[0] && v2.Size >= sizes[1]
	})
}

// TestReplicasWriteAtOnce: two and three replicas take entries at once, with no leader. What one has
// acknowledged the others serve with a proof shortly after, and an entry that two are given is one.
func TestReplicasWriteAtOnce(t *testing.T) {
	for _, n := range []int{2, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := runningSite(t)
			var replicas []*instanceRun
			for range n {
				replicas = append(replicas, s.serve(t, s.config(t)))
			}
			writers := s.newWriters(t, replicas)
			ctx, stop := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			for _, w := range writers {
				wg.Go(func() { w.run(ctx, t, 4) })
			}
			for _, w := range writers {
				await(t, w.prefix+" has 60 entries acknowledged", time.Minute, func() bool { return w.count() >= 60 })
			}
			stop()
			wg.Wait()
			for i, r := range replicas {
				settled(t, r.url, writers, 5*time.Second)
				audit(t, r.url, writers)
				if code, body := readyz(t, r.url); code != 200 || body.Status != "ok" {
					t.Errorf("replica %d: /readyz: %d %+v", i, code, body)
				}
			}
			s.seenWithinPoll(t, writers)
			s.sameEntryTwice(t, writers)
			for i, r := range replicas {
				if code := r.stop(t, syscall.SIGTERM); code != 0 {
					t.Errorf("replica %d ended with exit code %d:\n%s", i, code, r.stderr)
				}
			}
		})
	}
}

// seenWithinPoll posts to one replica and asks another one until it has the entry.
func (s *site) seenWithinPoll(t *testing.T, writers []*writer) {
	t.Helper()
	from, to := writers[0], writers[1]
	a, err := from.post(t.Context(), t, 0, entrytest.NewHashedRekord(t, []byte("to be seen")))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	await(t, "the other replica serves the entry", 5*time.Second, func() bool {
		status, _, _, err := answer(t.Context(), http.MethodGet, to.url+"/api/v1/log/entries/"+a.id, nil)
		return err == nil && status == http.StatusOK
	})
	t.Logf("the other replica served the entry after %s; it looks every 100ms", time.Since(began).Round(time.Millisecond))
	checkV1(t, to.url, a, to)
}

// sameEntryTwice gives all replicas the same entry at once: it is one entry at one index.
func (s *site) sameEntryTwice(t *testing.T, writers []*writer) {
	t.Helper()
	for face, body := range [][]byte{entrytest.NewHashedRekord(t, []byte("same")), v2Entry(t, "same")} {
		got := make([]acked, len(writers))
		var wg sync.WaitGroup
		for i, w := range writers {
			wg.Go(func() {
				var err error
				if got[i], err = w.post(t.Context(), t, face, body); err != nil {
					t.Errorf("face %d, %s: %v", face, w.prefix, err)
				}
			})
		}
		wg.Wait()
		for _, g := range got {
			if g.index != got[0].index || g.hash != got[0].hash {
				t.Errorf("face %d: one entry at two places: %+v", face, got)
			}
		}
	}
}

// TestReplicaEnds: one replica of three is killed, or stopped in the middle of its work, and the
// others go on; what it had acknowledged is there.
func TestReplicaEnds(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		t.Run(sig.String(), func(t *testing.T) {
			s := runningSite(t)
			var replicas []*instanceRun
			for range 3 {
				replicas = append(replicas, s.serve(t, s.config(t)))
			}
			writers := s.newWriters(t, replicas)
			ctx, stop := context.WithCancel(t.Context())
			first, stopFirst := context.WithCancel(ctx)
			var wg sync.WaitGroup
			wg.Go(func() { writers[0].run(first, t, 4) })
			for _, w := range writers[1:] {
				wg.Go(func() { w.run(ctx, t, 4) })
			}
			for _, w := range writers {
				await(t, w.prefix+" has 30 entries acknowledged", time.Minute, func() bool { return w.count() >= 30 })
			}
			for round := range 3 { // a stop may or may not hit while the lock is held
				if err := replicas[0].cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				stopped := time.Now()
				for _, w := range writers[1:] {
					before := w.count()
					await(t, w.prefix+" goes on", 20*time.Second, func() bool { return w.count() >= before+20 })
				}
				t.Logf("round %d: the others have 20 entries each acknowledged %s after %s", round, time.Since(stopped).Round(time.Millisecond), sig)
				if sig == syscall.SIGKILL {
					break
				}
				if err := replicas[0].cmd.Process.Signal(syscall.SIGCONT); err != nil {
					t.Fatal(err)
				}
				before := writers[0].count()
				await(t, "the one that was stopped goes on", 30*time.Second, func() bool { return writers[0].count() >= before+10 })
			}
			stopFirst()
			stop()
			wg.Wait()
			// One request with its lock at the wrong moment waits for lock_timeout (500 ms), the end of
			// the stalled session and the next try.
			for _, w := range writers[1:] {
				if w.longest > 10*time.Second {
					t.Errorf("%s: a request took %s", w.prefix, w.longest)
				}
			}
			for _, r := range replicas[1:] {
				settled(t, r.url, writers, 5*time.Second)
				audit(t, r.url, writers)
			}
		})
	}
}
