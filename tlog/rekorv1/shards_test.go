package rekorv1_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/util"
	"pgregory.net/rapid"

	"github.com/sigstore/rekor/pkg/generated/client/pubkey"
	rekortlog "github.com/sigstore/rekor/pkg/generated/client/tlog"

	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/entry/hashedrekord"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/memstore"
	"github.com/sigbox/sigbox/tlog/rekorv1"
)

// tree is one shard under test.
type tree struct {
	rekorv1.Shard
	store tlog.Store
	cfg   tlog.Config
}

func newTree(t *testing.T, id int64) *tree {
	t.Helper()
	key, signer := newSigners(t, id)
	tr := &tree{store: memstore.New(), cfg: tlog.Config{Name: fmt.Sprint("shard ", id), Signer: signer, LeafInput: entry.LeafInput}}
	if err := tlog.Create(t.Context(), tr.store, tr.cfg, nil); err != nil {
		t.Fatal(err)
	}
	tr.Shard = rekorv1.Shard{Log: logtest.Open(t, tr.store, tr.cfg), TreeID: id, Signer: key}
	return tr
}

// freeze ends the shard, with so many entries after its last that were given up.
func (tr *tree) freeze(t *testing.T, lost int64) {
	t.Helper()
	err := tr.store.Freeze(t.Context(), func(tlog.Head) (tlog.Ending, error) {
		return tlog.Ending{Lost: lost, Reason: strings.Repeat("lost", int(min(lost, 1)))}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	tr.Log = logtest.Open(t, tr.store, tr.cfg)
}

// proposedOf are a few proposed entries, made once: entry i has the artifact "i".
func proposedOf(t *testing.T, n int) [][]byte {
	var list [][]byte
	for i := range n {
		list = append(list, entrytest.NewHashedRekord(t, fmt.Append(nil, i)))
	}
	return list
}

func face(t *testing.T, trees []*tree) *server {
	t.Helper()
	s := &server{t: t, logs: &lines{}}
	s.serve(shardedConfig(trees))
	return s
}

func shardedConfig(trees []*tree) rekorv1.Config {
	last := trees[len(trees)-1]
	c := rekorv1.Config{Log: last.Log, TreeID: last.TreeID, Signer: last.Signer, Kinds: entry.Kinds{hashedrekord.Kind: hashedrekord.Parse}}
	for _, tr := range trees[:len(trees)-1] {
		c.Inactive = append(c.Inactive, tr.Shard)
	}
	return c
}

// posted is an entry as it was answered when it was appended.
type posted struct {
	id       string
	virtual  int64
	index    int64 // in its shard
	tree     *tree
	proposed []byte
}

func (s *server) post201(t *testing.T, proposed []byte) posted {
	t.Helper()
	id, e := s.add(proposed)
	return posted{id: id, virtual: *e.LogIndex, index: *e.Verification.InclusionProof.LogIndex, proposed: proposed}
}

// TestShardArithmetic: over 1 to 5 shards of random sizes, with losses, virtual indexes are a plain
// count of all that was ever promised, one to one with shard and place, and every read agrees.
func TestShardArithmetic(t *testing.T) {
	pool := proposedOf(t, 4)
	rapid.Check(t, func(rt *rapid.T) {
		var trees []*tree
		var all []posted
		next := int64(0) // what a log that was never cut would give
		holes := map[int64]bool{}
		for i := range rapid.IntRange(1, 5).Draw(rt, "shards") {
			if i > 0 {
				lost := int64(rapid.SampledFrom([]int{0, 0, 1, 3}).Draw(rt, "lost"))
				trees[i-1].freeze(t, lost)
				for range lost {
					holes[next] = true
					next++
				}
			}
			tr := newTree(t, rand.Int64N(1<<62)+1)
			trees = append(trees, tr)
			s := face(t, trees)
			for _, p := range pool[:rapid.IntRange(0, len(pool)).Draw(rt, "size")] {
				a := s.post201(t, p)
				a.tree = tr
				if a.virtual != next {
					rt.Fatalf("entry %d of shard %d has virtual index %d, want %d", a.index, i, a.virtual, next)
				}
				next++
				all = append(all, a)
			}
		}
		s := face(t, trees)
		for range min(len(all), 3) {
			checkEverywhere(t, s, rapid.SampledFrom(all).Draw(rt, "entry"), all)
		}
		for i := range next + 2 {
			want := http.StatusOK
			if holes[i] || i >= next {
				want = http.StatusNotFound
			}
			if a := s.get(fmt.Sprintf("%s?logIndex=%d", entriesPath, i)); a.StatusCode != want {
				rt.Errorf("virtual index %d: %d, want %d", i, a.StatusCode, want)
			}
		}
		checkLogInfo(t, s, trees)
	})
}

// checkEverywhere reads an entry in every way.
func checkEverywhere(t *testing.T, s *server, p posted, all []posted) {
	t.Helper()
	a := s.get(fmt.Sprintf("%s?logIndex=%d", entriesPath, p.virtual))
	id, e := only(t, a.body)
	if id != p.id || *e.LogIndex != p.virtual || *e.Verification.InclusionProof.LogIndex != p.index {
		t.Errorf("by virtual index %d: id %s, indexes %d and %d; want %s and %d", p.virtual, id, *e.LogIndex, *e.Verification.InclusionProof.LogIndex, p.id, p.index)
	}
	s.key = p.tree.Signer
	s.verify(e) // SET over the virtual index, proof and checkpoint of the shard
	if !strings.HasPrefix(*e.Verification.InclusionProof.Checkpoint, fmt.Sprintf("%s - %d\n", host, p.tree.TreeID)) {
		t.Errorf("checkpoint of another shard: %s", *e.Verification.InclusionProof.Checkpoint)
	}
	if id, e := only(t, s.get(entriesPath+"/"+p.id).body); id != p.id || *e.LogIndex != p.virtual {
		t.Errorf("by entry id %s: %s at %d", p.id, id, *e.LogIndex)
	}
	// A UUID may be in several shards: one answer by path, the newest; all of them in a retrieve.
	var holders []string
	for _, other := range all {
		if other.id[16:] == p.id[16:] {
			holders = append(holders, other.id)
		}
	}
	active := fmt.Sprintf("%016x", treeOf(s))
	want := holders[0]
	if i := slices.IndexFunc(holders, func(id string) bool { return strings.HasPrefix(id, active) }); i >= 0 {
		want = holders[i]
	}
	if id, _ := only(t, s.get(entriesPath+"/"+p.id[16:]).body); id != want {
		t.Errorf("by UUID: %s, want %s of %v", id, want, holders)
	}
	for name, q := range map[string]string{"UUID": fmt.Sprintf(`{"entryUUIDs":[%q]}`, p.id[16:]), "entry": fmt.Sprintf(`{"entries":[%s]}`, p.proposed)} {
		if got := retrieved(t, s, q); !sameSet(got, holders) {
			t.Errorf("retrieve by %s: %v, want %v", name, got, holders)
		}
	}
	if got := retrieved(t, s, fmt.Sprintf(`{"entryUUIDs":[%q],"logIndexes":[%d]}`, p.id, p.virtual)); !slices.Equal(got, []string{p.id, p.id}) {
		t.Errorf("retrieve by entry id and index: %v, want %s twice", got, p.id)
	}
	var found []string
	if err := json.Unmarshal(s.post("/api/v1/index/retrieve", hashQuery(t, p.proposed)).body, &found); err != nil || !slices.Equal(found, holders) {
		t.Errorf("search: %v, want %v, %v", found, holders, err)
	}
}

func treeOf(s *server) (id int64) {
	var info struct{ TreeID string }
	if err := json.Unmarshal(s.get("/api/v1/log").body, &info); err != nil {
		s.t.Fatal(err)
	}
	if _, err := fmt.Sscan(info.TreeID, &id); err != nil {
		s.t.Fatal(err)
	}
	return id
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

func retrieved(t *testing.T, s *server, query string) (ids []string) {
	t.Helper()
	var list []models.LogEntry
	if a := s.post(entriesPath+"/retrieve", []byte(query)); json.Unmarshal(a.body, &list) != nil {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	for _, m := range list {
		for id := range m {
			ids = append(ids, id)
		}
	}
	return ids
}

// checkLogInfo reads the shards with Rekor's own client, as rekor-cli loginfo does, and verifies
// each head with the key of its tree.
func checkLogInfo(t *testing.T, s *server, trees []*tree) {
	t.Helper()
	c := s.client()
	got, err := c.Tlog.GetLogInfo(rekortlog.NewGetLogInfoParams())
	if err != nil {
		t.Fatal(err)
	}
	info := got.Payload
	if err := info.Validate(nil); err != nil && !strings.Contains(err.Error(), "treeSize") { // empty trees are not Rekor's
		t.Errorf("upstream's schema: %v", err)
	}
	type head struct{ tree, note, root string }
	var heads []head
	for _, i := range info.InactiveShards {
		heads = append(heads, head{*i.TreeID, *i.SignedTreeHead, *i.RootHash})
	}
	heads = append(heads, head{*info.TreeID, *info.SignedTreeHead, *info.RootHash})
	if len(heads) != len(trees) {
		t.Fatalf("%d shards, want %d", len(heads), len(trees))
	}
	for i, tr := range trees {
		id := fmt.Sprint(tr.TreeID)
		pem, err := c.Pubkey.GetPublicKey(pubkey.NewGetPublicKeyParams().WithTreeID(&id))
		want, err2 := keys.PublicPEM(tr.Signer.Public())
		if err != nil || err2 != nil || pem.Payload != string(want) {
			t.Errorf("key of tree %s: %v %v", id, err, err2)
		}
		var sth util.SignedCheckpoint
		if err := sth.UnmarshalText([]byte(heads[i].note)); err != nil || heads[i].tree != id || hex.EncodeToString(sth.Hash) != heads[i].root {
			t.Errorf("shard %d: %+v, %v", i, heads[i], err)
		}
		if size := int64(sth.Size); size > 1 {
			proof, err := c.Tlog.GetLogProof(rekortlog.NewGetLogProofParams().WithFirstSize(ptr(int64(1))).WithLastSize(size).WithTreeID(&id))
			if err != nil {
				t.Errorf("proof in tree %s: %v", id, err)
				continue
			}
			var path [][]byte
			for _, h := range proof.Payload.Hashes {
				b, err := hex.DecodeString(h)
				if err != nil {
					t.Fatal(err)
				}
				path = append(path, b)
			}
			first, err := tr.Log.Root(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := logtest.VerifyConsistency(1, size, path, first, [32]byte(sth.Hash)); err != nil {
				t.Errorf("proof in tree %s: %v", id, err)
			}
		}
	}
}

// TestShardsRefused: shards that would give an index to two entries, or be found by no client.
func TestShardsRefused(t *testing.T) {
	first, second := newTree(t, 1), newTree(t, 2)
	good := shardedConfig([]*tree{first, second})
	if _, err := rekorv1.New(good); err == nil || !strings.Contains(err.Error(), "tree id 1: it is not frozen") {
		t.Errorf("an older shard that takes entries: %v", err)
	}
	first.freeze(t, 0)
	good = shardedConfig([]*tree{first, second})
	for name, row := range map[string]struct {
		change func(*rekorv1.Shard)
		want   string
	}{
		"good":            {func(*rekorv1.Shard) {}, ""},
		"same tree":       {func(s *rekorv1.Shard) { s.TreeID = 2 }, "two shards have the tree id 2"},
		"no tree":         {func(s *rekorv1.Shard) { s.TreeID = 0 }, "tree id 0"},
		"no log":          {func(s *rekorv1.Shard) { s.Log = nil }, "no log"},
		"key of RSA":      {func(s *rekorv1.Shard) { s.Signer = entrytest.RSA(t, 2048) }, "ECDSA P-256"},
		"key of the last": {func(s *rekorv1.Shard) { s.Signer = nil }, ""},
	} {
		c := good
		c.Inactive = slices.Clone(good.Inactive)
		row.change(&c.Inactive[0])
		if _, err := rekorv1.New(c); (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", name, err, row.want)
		}
	}
}

// TestShardsBadInput: tree ids and indexes that are nobody's, duplicates, limits, and a log that has
// ended in all its shards.
func TestShardsBadInput(t *testing.T) {
	pool := proposedOf(t, 3)
	first, second := newTree(t, 7), newTree(t, 9)
	old := face(t, []*tree{first})
	var olds []posted
	for _, p := range pool {
		olds = append(olds, old.post201(t, p))
	}
	first.freeze(t, 0)
	c := shardedConfig([]*tree{first, second})
	c.MaxResults = 2
	s := &server{t: t, logs: &lines{}}
	s.serve(c)
	again := s.post201(t, pool[1]) // new to the active shard, as upstream has it
	if again.virtual != 3 || again.index != 0 || !strings.HasPrefix(again.id, "0000000000000009") {
		t.Errorf("%+v", again)
	}
	a := s.post(entriesPath, pool[1])
	if at := a.Header.Get("Location"); a.StatusCode != http.StatusConflict || at != entriesPath+"/"+again.id || s.get(at).StatusCode != http.StatusOK {
		t.Errorf("duplicate: %d, Location %s", a.StatusCode, at)
	}
	uuid := again.id[16:]
	for target, want := range map[string]int{
		entriesPath + "/0000000000000007" + uuid:                        200,
		entriesPath + "/0000000000000009" + uuid:                        200,
		entriesPath + "/0000000000000008" + uuid:                        404,
		entriesPath + "/8000000000000007" + uuid:                        400,
		entriesPath + "/ffffffffffffffff" + uuid:                        400,
		entriesPath + "/0000000000000009" + olds[0].id[16:]:             404, // it is in the other one
		"/api/v1/log/publicKey?treeID=8":                                400,
		"/api/v1/log/publicKey?treeID=7":                                200,
		"/api/v1/log/proof?firstSize=1&lastSize=3&treeID=7":             200,
		"/api/v1/log/proof?firstSize=1&lastSize=3&treeID=9":             400, // sizes are those of one shard
		"/api/v1/log/proof?firstSize=1&lastSize=3":                      400,
		"/api/v1/log/proof?firstSize=1&lastSize=4&treeID=7":             400,
		"/api/v1/log/proof?firstSize=1&lastSize=1&treeID=8":             400,
		entriesPath + "?logIndex=4":                                     404,
		entriesPath + fmt.Sprintf("?logIndex=%d", int64(^uint64(0)>>1)): 404,
	} {
		if a := s.get(target); a.StatusCode != want {
			t.Errorf("%s: %d %s, want %d", target, a.StatusCode, a.body, want)
		}
	}
	var found []string
	if err := json.Unmarshal(s.post("/api/v1/index/retrieve", hashQuery(t, pool[1])).body, &found); err != nil || len(found) != 2 || found[1] != again.id {
		t.Errorf("search: %v, %v", found, err)
	}
	c.MaxResults = 1
	s.serve(c)
	if err := json.Unmarshal(s.post("/api/v1/index/retrieve", hashQuery(t, pool[1])).body, &found); err != nil || !slices.Equal(found, []string{again.id}) {
		t.Errorf("search for one, which is to be the newest: %v, %v", found, err)
	}
	second.freeze(t, 0)
	s.serve(shardedConfig([]*tree{first, second}))
	a = s.post(entriesPath, pool[0])
	if code, message := errorBody(t, a); a.StatusCode != 405 || code != 405 || !strings.Contains(message, "frozen") {
		t.Errorf("all shards are frozen: %d %s", a.StatusCode, a.body)
	}
}

func hashQuery(t *testing.T, proposed []byte) []byte {
	t.Helper()
	var body struct {
		Spec struct {
			Data struct{ Hash struct{ Value string } }
		}
	}
	if err := json.Unmarshal(proposed, &body); err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, `{"hash":"sha256:%s"}`, body.Spec.Data.Hash.Value)
}
