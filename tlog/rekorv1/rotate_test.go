package rekorv1_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/rekorv1"
)

// chain is a log that is rotated: trees, of which each but the last is frozen.
type chain struct {
	t     *testing.T
	mu    sync.Mutex
	trees []*tree
}

// successor is the tree after one.
func (c *chain) successor(id int64) *tree {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, tr := range c.trees[:len(c.trees)-1] {
		if tr.TreeID == id {
			return c.trees[i+1]
		}
	}
	return nil
}

// rotate makes the next tree and then freezes the last one, as an operator does beside the replicas.
func (c *chain) rotate(lost int64) {
	c.t.Helper()
	next := newTree(c.t, rand.Int64N(1<<62)+1)
	c.mu.Lock()
	last := c.trees[len(c.trees)-1]
	c.trees = append(c.trees, next)
	c.mu.Unlock()
	err := last.store.Freeze(c.t.Context(), func(tlog.Head) (tlog.Ending, error) {
		return tlog.Ending{Lost: lost, Reason: strings.Repeat("lost", int(min(lost, 1)))}, nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// replica is a process with engines of its own over the stores. It knows the first tree only.
func (c *chain) replica() *server {
	c.t.Helper()
	open := func(tr *tree) rekorv1.Shard {
		cfg := tr.cfg
		cfg.Poll = time.Hour // it looks where a request makes it
		return rekorv1.Shard{Log: logtest.Open(c.t, tr.store, cfg), TreeID: tr.TreeID, Signer: tr.Signer}
	}
	first := open(c.trees[0])
	config := shardedConfig(c.trees[:1])
	config.Log = first.Log
	config.Next = func(_ context.Context, last rekorv1.Shard) (*rekorv1.Shard, error) {
		next := c.successor(last.TreeID)
		if next == nil {
			return nil, nil
		}
		sh := open(next)
		return &sh, nil
	}
	config.Logger = slog.New(slog.DiscardHandler)
	s := &server{t: c.t, logs: &lines{}}
	s.serve(config)
	return s
}

// TestRotationArithmetic: two replicas of a log that is rotated 0 to 4 times while they run, told of it
// by nobody. Each request goes to either of them. Virtual indexes are a plain count, every entry is
// found at once wherever it is asked for, and nothing is ever refused.
func TestRotationArithmetic(t *testing.T) {
	pool := proposedOf(t, 24)
	rapid.Check(t, func(rt *rapid.T) {
		c := &chain{t: t, trees: []*tree{newTree(t, rand.Int64N(1<<62)+1)}}
		replicas := []*server{c.replica(), c.replica()}
		any := func() *server { return replicas[rapid.IntRange(0, 1).Draw(rt, "replica")] }
		var model []string // the ids of all entries, "" for what was lost: the index is the virtual one
		for _, p := range pool[:rapid.IntRange(1, len(pool)).Draw(rt, "entries")] {
			if len(c.trees) < 5 && rapid.IntRange(0, 4).Draw(rt, "rotate") == 0 {
				lost := rapid.SampledFrom([]int{0, 0, 0, 2}).Draw(rt, "lost")
				c.rotate(int64(lost))
				model = append(model, make([]string, lost)...)
			}
			a := any().post201(t, p)
			if a.virtual != int64(len(model)) {
				rt.Fatalf("virtual index %d, want %d, in tree %d of %d", a.virtual, len(model), len(c.trees), len(c.trees))
			}
			if last := c.trees[len(c.trees)-1]; !strings.HasPrefix(a.id, fmt.Sprintf("%016x", last.TreeID)) {
				rt.Fatalf("entry %s is not in the last tree", a.id)
			}
			model = append(model, a.id)
			checkAt(rt, any(), model, rapid.IntRange(0, len(model)).Draw(rt, "look"))
			checkAt(rt, any(), model, len(model)-1)
		}
		for i := range len(model) + 2 {
			checkAt(rt, any(), model, i)
		}
	})
}

// checkAt reads a virtual index in every way and compares with the model.
func checkAt(rt *rapid.T, s *server, model []string, i int) {
	rt.Helper()
	a := s.get(fmt.Sprintf("%s?logIndex=%d", entriesPath, i))
	if i >= len(model) || model[i] == "" {
		if a.StatusCode != http.StatusNotFound {
			rt.Fatalf("index %d, which nothing has: %d %s", i, a.StatusCode, a.body)
		}
		return
	}
	if a.StatusCode != http.StatusOK {
		rt.Fatalf("index %d: %d %s", i, a.StatusCode, a.body)
	}
	if id, e := only(s.t, a.body); id != model[i] || *e.LogIndex != int64(i) {
		rt.Fatalf("index %d: %s at %d, want %s", i, id, *e.LogIndex, model[i])
	}
	for _, path := range []string{model[i], model[i][16:]} {
		a := s.get(entriesPath + "/" + path)
		if a.StatusCode != http.StatusOK {
			rt.Fatalf("%s, of index %d: %d %s", path, i, a.StatusCode, a.body)
		}
		if id, e := only(s.t, a.body); id != model[i] || *e.LogIndex != int64(i) {
			rt.Fatalf("%s: %s at %d, want %s at %d", path, id, *e.LogIndex, model[i], i)
		}
	}
	for _, q := range []string{fmt.Sprintf(`{"logIndexes":[%d]}`, i), fmt.Sprintf(`{"entryUUIDs":[%q]}`, model[i])} {
		if got := retrieved(s.t, s, q); len(got) != 1 || got[0] != model[i] {
			rt.Fatalf("retrieve %s: %v, want %s", q, got, model[i])
		}
	}
}

// TestRotationReads: each way to a shard that a replica has not seen yet leads there by itself.
func TestRotationReads(t *testing.T) {
	pool := proposedOf(t, 2)
	for name, ask := range map[string]func(s *server, p posted, tree int64) answer{
		"by index": func(s *server, p posted, _ int64) answer {
			return s.get(fmt.Sprintf("%s?logIndex=%d", entriesPath, p.virtual))
		},
		"by entry id": func(s *server, p posted, _ int64) answer { return s.get(entriesPath + "/" + p.id) },
		"by UUID":     func(s *server, p posted, _ int64) answer { return s.get(entriesPath + "/" + p.id[16:]) },
		"key of the tree": func(s *server, _ posted, id int64) answer {
			return s.get(fmt.Sprintf("/api/v1/log/publicKey?treeID=%d", id))
		},
		"proof in the tree": func(s *server, _ posted, id int64) answer {
			return s.get(fmt.Sprintf("/api/v1/log/proof?lastSize=1&treeID=%d", id))
		},
		"heads of all trees": func(s *server, _ posted, id int64) answer {
			a := s.get("/api/v1/log")
			var got struct {
				InactiveShards []struct{ TreeID string }
				TreeID         string
				TreeSize       int
			}
			if err := json.Unmarshal(a.body, &got); err != nil || got.TreeID != fmt.Sprint(id) || got.TreeSize != 1 || len(got.InactiveShards) != 2 {
				s.t.Errorf("%s, want tree %d with one entry and two before it (%v)", a.body, id, err)
			}
			return a
		},
		"append of the same": func(s *server, p posted, _ int64) answer {
			return s.get(s.post(entriesPath, p.proposed).Header.Get("Location"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := &chain{t: t, trees: []*tree{newTree(t, 5)}}
			one, other := c.replica(), c.replica()
			one.post201(t, pool[0])
			other.get(entriesPath + "?logIndex=0")
			c.rotate(0)
			c.rotate(0) // twice in a row
			p := one.post201(t, pool[1])
			if a := ask(other, p, c.trees[2].TreeID); a.StatusCode != http.StatusOK {
				t.Errorf("%d %s", a.StatusCode, a.body)
			}
		})
	}
}

// TestRotationUnavailable: a successor that cannot be opened now is no end of the log.
func TestRotationUnavailable(t *testing.T) {
	pool := proposedOf(t, 1)
	c := &chain{t: t, trees: []*tree{newTree(t, 5)}}
	config := shardedConfig(c.trees)
	config.Next = func(context.Context, rekorv1.Shard) (*rekorv1.Shard, error) { return nil, errors.New("no database") }
	s := &server{t: t, logs: &lines{}}
	s.serve(config)
	c.rotate(0)
	if a := s.post(entriesPath, pool[0]); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || bytes.Contains(a.body, []byte("database")) {
		t.Errorf("append: %d %s", a.StatusCode, a.body)
	}
	if a := s.get(entriesPath + "?logIndex=0"); a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("read: %d %s", a.StatusCode, a.body)
	}
}
