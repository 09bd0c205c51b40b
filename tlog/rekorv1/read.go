package rekorv1

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
)

// idPattern is what the schema says of an entry id or UUID.
const idPattern = `^([0-9a-fA-F]{64}|[0-9a-fA-F]{80})$`

const (
	uuidLen = 64
	treeLen = 16
)

// getByIndex answers one entry, or 404 without a body.
func (s *Server) getByIndex(w http.ResponseWriter, r *http.Request) {
	index, err := intParam(r.URL.Query(), "logIndex", 0, nil)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	found, err := s.look(r.Context(), func(list shards) (map[string]logEntry, error) {
		sh, index := list.resolve(index)
		return sh.load(r.Context(), index)
	})
	s.answerEntry(w, r, found, err)
}

// getByID answers the entry of a UUID (64 hex) or an entry id (80 hex).
func (s *Server) getByID(w http.ResponseWriter, r *http.Request) {
	p, err := parseID(r.PathValue("id"))
	if errors.Is(err, errTree) {
		s.fail(w, r, refuse(http.StatusBadRequest, "%s", err))
		return
	}
	if err != nil {
		s.fail(w, r, schema(codePattern, "entryUUID in path should match '%s'", idPattern))
		return
	}
	found, err := s.look(r.Context(), func(list shards) (found map[string]logEntry, err error) {
		err = tlog.ErrNotFound
		in := p.in(list)
		for i := 0; i < len(in) && errors.Is(err, tlog.ErrNotFound); i++ {
			found, err = in[i].find(r.Context(), p.uuid)
		}
		return found, err
	})
	s.answerEntry(w, r, found, err)
}

// look calls find with the shards, and again where it finds nothing and there are more by now: what
// another replica has answered from a shard that is new to this one is found here too.
func (s *Server) look(ctx context.Context, find func(shards) (map[string]logEntry, error)) (map[string]logEntry, error) {
	for {
		list := s.shards()
		found, err := find(list)
		if !errors.Is(err, tlog.ErrNotFound) {
			return found, err
		}
		longer, grown := s.chain.Grow(ctx, list)
		if grown != nil {
			return nil, grown // it cannot be told whether it is there
		}
		if !longer {
			return nil, err
		}
	}
}

func (s *Server) answerEntry(w http.ResponseWriter, r *http.Request, found map[string]logEntry, err error) {
	switch {
	case errors.Is(err, tlog.ErrNotFound):
		notFound(w)
	case err != nil:
		s.fail(w, r, err)
	default:
		httpx.Write(w, http.StatusOK, "application/json", answer(found))
	}
}

// Why an id is none. errTree comes with the tree's, which is fit for the client.
var (
	errID   = errors.New("not a UUID or an entry id")
	errTree = errors.New("validation error")
)

// place is a UUID, and the tree that may hold it: nil for any.
type place struct {
	uuid [32]byte
	tree *int64
}

// in returns those of the shards that may hold it, in the order in which they are asked. An entry id of
// a tree that is none of ours is nowhere.
func (p place) in(list shards) shards {
	if p.tree == nil {
		return list.newest()
	}
	if sh := list.tree(*p.tree); sh != nil {
		return shards{sh}
	}
	return nil
}

// parseID reads a UUID, which may be in any shard, or an entry id, which names one.
func parseID(id string) (p place, err error) {
	if len(id) == treeLen+uuidLen {
		tree, err := strconv.ParseUint(id[:treeLen], 16, 64)
		if err != nil {
			return p, errID
		}
		if tree == 0 || tree > math.MaxInt64 {
			return p, fmt.Errorf("%w: %.16s is not a valid TreeID", errTree, id)
		}
		signed := int64(tree)
		p.tree, id = &signed, id[treeLen:]
	}
	if len(id) != uuidLen {
		return p, errID
	}
	if _, err := hex.Decode(p.uuid[:], []byte(id)); err != nil {
		return p, errID
	}
	return p, nil
}

// intParam reads an integer query parameter of at least minimum. fallback is its default, nil
// where it is required.
func intParam(q url.Values, name string, minimum int64, fallback *int64) (int64, error) {
	values := q[name]
	if len(values) > 1 {
		return 0, schema(codeType, "%s in query must be given once", name)
	}
	if len(values) == 0 || values[0] == "" {
		if fallback != nil {
			return *fallback, nil
		}
		return 0, schema(codeRequired, "%s in query is required", name)
	}
	v, err := strconv.ParseInt(values[0], 10, 64)
	if err != nil {
		return 0, schema(codeType, "%s in query must be of type int64: %.32q", name, values[0])
	}
	if v < minimum {
		return 0, schema(codeMinimum, "%s in query should be greater than or equal to %d", name, minimum)
	}
	return v, nil
}

// What treeParam returns for numbers that are no tree's.
const (
	noTree      = -1 // 0, which means that none is named
	beyondTrees = -2 // more than 63 bits
)

// treeParam reads the optional parameter treeID: 0 where it is missing.
func treeParam(q url.Values) (int64, error) {
	if len(q["treeID"]) > 1 {
		return 0, schema(codePattern, "treeID in query must be given once")
	}
	v := q.Get("treeID")
	if v == "" {
		return 0, nil
	}
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, schema(codePattern, "treeID in query should match '^[0-9]+$'")
		}
	}
	id, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return beyondTrees, nil
	}
	if id == 0 {
		return noTree, nil
	}
	return id, nil
}

// publicKey answers the key of a shard as PEM, of the active one where none is named.
func (s *Server) publicKey(w http.ResponseWriter, r *http.Request) {
	sh := s.chain.Last()
	tree, err := treeParam(r.URL.Query())
	if err == nil && tree != 0 {
		if sh, err = s.tree(r.Context(), tree); err == nil && sh == nil {
			err = refuse(http.StatusBadRequest, "Bad Request")
		}
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if chosen(r, []string{pemType, "application/json"}) != pemType {
		httpx.WriteJSON(w, http.StatusOK, string(sh.pem))
		return
	}
	httpx.Write(w, http.StatusOK, pemType, sh.pem)
}

// shardInfo is what loginfo says of an inactive shard (openapi.yaml, InactiveShardLogInfo).
type shardInfo struct {
	RootHash       string `json:"rootHash"`
	SignedTreeHead string `json:"signedTreeHead"`
	TreeID         string `json:"treeID"`
	TreeSize       int64  `json:"treeSize"`
}

func (sh *shard) info(ctx context.Context) (shardInfo, error) {
	cp, _, err := sh.log.Latest(ctx)
	return shardInfo{
		RootHash: hex.EncodeToString(cp.Root[:]), SignedTreeHead: string(cp.Note),
		TreeID: strconv.FormatInt(sh.treeID, 10), TreeSize: cp.Size,
	}, err
}

// heads returns the published heads of all shards, in their order.
func (s *Server) heads(ctx context.Context) ([]shardInfo, error) {
	for {
		list := s.shards()
		infos := make([]shardInfo, len(list))
		for i, sh := range list {
			var err error
			if infos[i], err = sh.info(ctx); err != nil {
				return nil, err
			}
		}
		if frozen, err := list.active().frozen(ctx); err != nil || !frozen {
			return infos, err
		}
		if longer, err := s.chain.Grow(ctx, list); err != nil || !longer {
			return infos, err
		}
	}
}

// logInfo answers the heads of all shards, which never go back, whichever replica is asked: rekor-cli keeps the
// last one that it saw, and refuses a log with a smaller one.
func (s *Server) logInfo(w http.ResponseWriter, r *http.Request) {
	infos, err := s.heads(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	last := len(infos) - 1
	inactive := infos[:last]
	if last == 0 {
		inactive = nil // null, as upstream has it
	}
	httpx.WriteJSON(w, http.StatusOK, struct {
		InactiveShards []shardInfo `json:"inactiveShards"`
		shardInfo
	}{inactive, infos[last]})
}

// consistency answers the proof that the tree of firstSize is a prefix of that of lastSize. The
// rootHash beside it is that of the published head, as upstream has it.
func (s *Server) consistency(w http.ResponseWriter, r *http.Request) {
	sh, first, last, err := s.proofParams(r.Context(), r.URL.Query())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	hashes, cp, err := sh.prove(r.Context(), first, last)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	httpx.WriteJSON(w, http.StatusOK, struct {
		Hashes   []string `json:"hashes"`
		RootHash string   `json:"rootHash"`
	}{hexAll(hashes), hex.EncodeToString(cp.Root[:])})
}

func (s *Server) proofParams(ctx context.Context, q url.Values) (sh *shard, first, last int64, err error) {
	one := int64(1)
	if first, err = intParam(q, "firstSize", 1, &one); err != nil {
		return nil, 0, 0, err
	}
	if last, err = intParam(q, "lastSize", 1, nil); err != nil {
		return nil, 0, 0, err
	}
	tree, err := treeParam(q)
	if err != nil {
		return nil, 0, 0, err
	}
	if first > last {
		return nil, 0, 0, refuse(http.StatusBadRequest, "firstSize(%d) must be less than lastSize(%d)", first, last)
	}
	sh = s.chain.Last()
	if tree != 0 {
		if sh, err = s.tree(ctx, tree); err != nil {
			return nil, 0, 0, err
		}
	}
	switch {
	case tree == beyondTrees:
		return nil, 0, 0, refuse(http.StatusBadRequest, "invalid tree ID specified: %.32s", q.Get("treeID"))
	case sh == nil:
		return nil, 0, 0, refuse(http.StatusBadRequest, "no log range found for tree ID %d", max(tree, 0))
	}
	return sh, first, last, nil
}

func (sh *shard) prove(ctx context.Context, first, last int64) ([][]byte, checkpoint.Signed, error) {
	sh.log.Reach(ctx, last)
	cp, err := sh.log.Checkpoint(ctx)
	if err != nil {
		return nil, cp, err
	}
	if last > cp.Size {
		return nil, cp, refuse(http.StatusBadRequest, "the tree size requested(%d) was greater than what is currently observable(%d)", last, cp.Size)
	}
	hashes, err := sh.log.Consistency(ctx, first, last)
	return hashes, cp, err
}
