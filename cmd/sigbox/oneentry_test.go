package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
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

// oneEntry is an instance that many clients send one entry to, while it is killed.
type oneEntry struct {
	url         string // the same after each start
	v1, v2      *checkpoint.Verifier
	run         *instanceRun
	again       func() *instanceRun
	statuses    sync.Map // of answers to posts
	interrupted atomic.Int64
}

const (
	sameEntryClients = 200
	sameEntryRounds  = 8
)

// TestOneEntryAndKills: 200 clients post one entry at the same time to `sigbox up`, which is killed with SIGKILL in
// the middle. Every answer is 201 or 409, what it names is served at once with a proof that verifies, and the
// log has the entry once.
func TestOneEntryAndKills(t *testing.T) {
	data, listen := newData(t), freeAddr(t)
	oneEntryUp(t, data, "--data", data, "--listen", listen)
}

func oneEntryUp(t *testing.T, data string, args ...string) {
	o := &oneEntry{run: start(t, args...)}
	o.url, o.again = o.run.url, func() *instanceRun { return start(t, args...) }
	origin, _, _ := strings.Cut(strings.SplitAfter(get(t, o.url+"/api/v1/log"), `"signedTreeHead":"`)[1], `\n`)
	verifier := func(key, origin string) *checkpoint.Verifier {
		k, err := keys.Load(filepath.Join(data, "keys", key+".pem"))
		if err != nil {
			t.Fatal(err)
		}
		v, err := checkpoint.NewVerifier("127.0.0.1", origin, k.Public())
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	o.v1, o.v2 = verifier("rekor-v1", origin), verifier("rekor-v2", "127.0.0.1")
	o.rounds(t)
}

// rounds sends a new entry in each round and kills at another moment of it.
func (o *oneEntry) rounds(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	before := o.sizes(t)
	for round := range sameEntryRounds {
		bodies := [2][]byte{entrytest.NewHashedRekord(t, fmt.Appendf(nil, "%d", round)), v2Entry(t, fmt.Sprint(round))}
		var clients sync.WaitGroup
		var answered atomic.Int64
		got := make([]acked, sameEntryClients)
		for i := range sameEntryClients {
			clients.Go(func() {
				var err error
				if got[i], err = o.post(t.Context(), i%2, bodies[i%2], func() { answered.Add(1) }); err != nil {
					t.Errorf("round %d, client %d: %v", round, i, err)
				}
			})
		}
		killAt := random.Int64N(sameEntryClients * 3 / 4) // answers, and a moment more
		for answered.Load() < killAt {
			time.Sleep(200 * time.Microsecond)
		}
		time.Sleep(time.Duration(random.IntN(3000)) * time.Microsecond)
		o.run.stop(t, syscall.SIGKILL)
		o.run = o.again()
		clients.Wait()
		o.check(t, round, before, got)
	}
	var statuses []string
	o.statuses.Range(func(k, _ any) bool { statuses = append(statuses, fmt.Sprint(k)); return true })
	slices.Sort(statuses)
	if !slices.Equal(statuses, []string{"v1 201", "v1 409", "v2 201"}) {
		t.Errorf("answers to posts: %q, want 201 and 409", statuses)
	}
	if o.interrupted.Load() < sameEntryRounds {
		t.Errorf("%d requests were interrupted by %d kills: they come too late", o.interrupted.Load(), sameEntryRounds)
	}
	t.Logf("%d rounds of %d clients, %d requests interrupted", sameEntryRounds, sameEntryClients, o.interrupted.Load())
}

// check holds what all clients were told to one another and to the logs.
func (o *oneEntry) check(t *testing.T, round int, before [2]int64, got []acked) {
	t.Helper()
	for i, a := range got {
		if a != got[i%2] {
			t.Errorf("round %d: clients were told of two entries: %+v and %+v", round, a, got[i%2])
		}
	}
	status, text, _, err := answer(t.Context(), http.MethodGet, o.url+"/api/v1/log/entries/"+got[0].id, nil)
	if a, readErr := v1Answer(text, o.v1); status != http.StatusOK || errors.Join(err, readErr) != nil || a != got[0] {
		t.Errorf("round %d: the entry is %d %+v, %v", round, status, a, errors.Join(err, readErr))
	}
	for face, size := range o.sizes(t) {
		if want := before[face] + int64(round) + 1; size != want {
			t.Errorf("round %d: the log of v%d has size %d, want %d: an entry is lost, or there twice", round, face+1, size, want)
		}
	}
}

// sizes are those of the logs, as their heads say that are served now.
func (o *oneEntry) sizes(t *testing.T) (sizes [2]int64) {
	t.Helper()
	var info struct{ SignedTreeHead string }
	if err := json.Unmarshal([]byte(get(t, o.url+"/api/v1/log")), &info); err != nil {
		t.Fatal(err)
	}
	for face, note := range []string{info.SignedTreeHead, get(t, o.url+"/api/v2/checkpoint")} {
		cp, err := []*checkpoint.Verifier{o.v1, o.v2}[face].Open([]byte(note))
		if err != nil {
			t.Fatal(err)
		}
		sizes[face] = cp.Size
	}
	return sizes
}

// post sends an entry until it is answered; only a connection that breaks or is refused is no answer. It returns
// what the answer names, which was read at once.
func (o *oneEntry) post(ctx context.Context, face int, body []byte, answered func()) (acked, error) {
	name, path, read, v := "v1", "/api/v1/log/entries", v1Answer, o.v1
	if face == 1 {
		name, path, read, v = "v2", "/api/v2/log/entries", v2Answer, o.v2
	}
	status, text, header, err := o.send(ctx, http.MethodPost, path, body)
	if err != nil {
		return acked{}, err
	}
	o.statuses.Store(fmt.Sprintf("%s %d", name, status), true)
	answered()
	if status != http.StatusCreated && status != http.StatusConflict {
		return acked{}, fmt.Errorf("POST %s: %d %s", path, status, text)
	}
	if face == 1 {
		return read(text, v)
	}
	if status == http.StatusCreated {
		if _, err := read(text, v); err != nil {
			return acked{}, err
		}
	}
	at := header.Get("Location")
	if status, text, _, err = o.send(ctx, http.MethodGet, at, nil); err != nil || status != http.StatusOK {
		return acked{}, fmt.Errorf("GET %s, which the answer names: %d %v %s", at, status, err, text)
	}
	return read(text, v)
}

// send tries again for as long as nobody answers.
func (o *oneEntry) send(ctx context.Context, method, path string, body []byte) (status int, text string, header http.Header, err error) {
	for ctx.Err() == nil {
		if status, text, header, err = answer(ctx, method, o.url+path, bytes.NewReader(body)); err == nil {
			return status, text, header, nil
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			o.interrupted.Add(1)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return 0, "", nil, ctx.Err()
}
