package rekorv1_test

import (
	"crypto"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/dsse"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/rekorv1"
)

// by is an entry that a search for its key finds.
func by(t *testing.T, key crypto.Signer, text string) []byte {
	t.Helper()
	return entrytest.DSSE(t, entrytest.Envelope(t, "text/plain", []byte(text), key), entrytest.PEM(t, key.Public()))
}

func (s *server) searchHash(text string) (ids []string, h http.Header) {
	s.t.Helper()
	query := fmt.Appendf(nil, `{"hash":"sha256:%x"}`, entrytest.Digest(crypto.SHA256, []byte(text)))
	a := s.post("/api/v1/index/retrieve", query)
	if err := json.Unmarshal(a.body, &ids); err != nil || a.StatusCode != http.StatusOK {
		s.t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	return ids, a.Header
}

// TestSearchSaysHowFar: an answer says up to which size of the active shard it is complete, and from
// which index on where there are more entries than are returned, in one shard and in several.
func TestSearchSaysHowFar(t *testing.T) {
	const text = "one payload"
	var trees []*tree
	var face *server
	for i, n := range []int{3, 2, 4} { // entries with one payload, by keys of their own
		if i > 0 {
			trees[i-1].freeze(t, int64(i)) // some were lost
		}
		trees = append(trees, newTree(t, int64(100+i)))
		face = dsseFace(t, trees, 0)
		for range n {
			face.post201(t, by(t, entrytest.P256(t), text))
		}
		face.post201(t, by(t, entrytest.P256(t), "another payload"))
	}
	// Shards begin at the virtual indexes 0, 4+1 and 5+3+2.
	for _, tc := range []struct {
		limit int
		n     int
		from  string // "" where nothing is left out
	}{
		{0, 9, ""}, {10, 9, ""}, {9, 9, ""}, {8, 8, "1"}, {7, 7, "2"}, {6, 6, "5"}, {5, 5, "6"}, {4, 4, "10"}, {1, 1, "13"},
	} {
		s := dsseFace(t, trees, tc.limit)
		ids, h := s.searchHash(text)
		if len(ids) != tc.n || h.Get("Sigbox-Tree-ID") != "102" || h.Get("Sigbox-Tree-Size") != "5" || h.Get("Sigbox-Results-From") != tc.from {
			t.Errorf("at most %d: %d ids, tree %q, size %q, from %q, want %d from %q", tc.limit, len(ids), h.Get("Sigbox-Tree-ID"), h.Get("Sigbox-Tree-Size"), h.Get("Sigbox-Results-From"), tc.n, tc.from)
		}
	}
	ids, h := dsseFace(t, trees, 0).searchHash("nothing")
	if len(ids) != 0 || h.Get("Sigbox-Tree-Size") != "5" {
		t.Errorf("nothing found: %v, size %q", ids, h.Get("Sigbox-Tree-Size"))
	}
}

// TestSearchSeesWhatOthersAcknowledged: an entry that one replica has acknowledged is found by the other
// at once, and its answer says so.
func TestSearchSeesWhatOthersAcknowledged(t *testing.T) {
	a := newTree(t, 7)
	b := &tree{store: a.store, cfg: a.cfg}
	b.cfg.Poll = time.Hour // it looks when it is asked to
	b.Shard = rekorv1.Shard{Log: logtest.Open(t, b.store, b.cfg), TreeID: 7, Signer: a.Signer}
	one, other := dsseFace(t, []*tree{a}, 0), dsseFace(t, []*tree{b}, 0)
	for i := range 20 {
		text := fmt.Sprint("payload ", i)
		posted := one.post201(t, by(t, entrytest.P256(t), text))
		ids, h := other.searchHash(text)
		if len(ids) != 1 || ids[0] != posted.id || h.Get("Sigbox-Tree-Size") != fmt.Sprint(i+1) {
			t.Fatalf("entry %d: found %v at size %s, want %s", i, ids, h.Get("Sigbox-Tree-Size"), posted.id)
		}
	}
}

func dsseFace(t *testing.T, trees []*tree, limit int) *server {
	t.Helper()
	s := &server{t: t, logs: &lines{}}
	c := shardedConfig(trees)
	c.Kinds, c.MaxResults = entry.Kinds{dsse.Kind: dsse.Parse}, limit
	s.serve(c)
	return s
}
