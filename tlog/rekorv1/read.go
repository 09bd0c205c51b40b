package rekorv1

import (
	"context"
	"encoding/hex"
	"errors"
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
	answer, err := s.load(r.Context(), index)
	s.answerEntry(w, r, answer, err)
}

// getByID answers the entry of a UUID (64 hex) or an entry id (80 hex).
func (s *Server) getByID(w http.ResponseWriter, r *http.Request) {
	uuid, ours, err := s.parseID(r.PathValue("id"))
	if err != nil {
		s.fail(w, r, schema(codePattern, "entryUUID in path should match '%s'", idPattern))
		return
	}
	if !ours {
		notFound(w)
		return
	}
	answer, err := s.find(r.Context(), uuid)
	s.answerEntry(w, r, answer, err)
}

func (s *Server) answerEntry(w http.ResponseWriter, r *http.Request, answer map[string]logEntry, err error) {
	switch {
	case errors.Is(err, tlog.ErrNotFound):
		notFound(w)
	case err != nil:
		s.fail(w, r, err)
	default:
		httpx.WriteJSON(w, http.StatusOK, answer)
	}
}

var errID = errors.New("not a UUID or an entry id")

// parseID reads a UUID or an entry id. ours is false for an entry id of another tree.
func (s *Server) parseID(id string) (uuid [32]byte, ours bool, err error) {
	ours = true
	if len(id) == treeLen+uuidLen {
		tree, err := strconv.ParseUint(id[:treeLen], 16, 64)
		if err != nil {
			return uuid, false, errID
		}
		ours = tree == uint64(s.treeID) // the tree id is positive
		id = id[treeLen:]
	}
	if len(id) != uuidLen {
		return uuid, false, errID
	}
	if _, err := hex.Decode(uuid[:], []byte(id)); err != nil {
		return uuid, false, errID
	}
	return uuid, ours, nil
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

// treeParam reads the optional parameter treeID: 0 where it is missing, and -1 for a number that
// no tree has.
func treeParam(q url.Values) (int64, error) {
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
	if err != nil || id == 0 {
		return -1, nil
	}
	return id, nil
}

// publicKey answers the log's key as PEM.
func (s *Server) publicKey(w http.ResponseWriter, r *http.Request) {
	tree, err := treeParam(r.URL.Query())
	if err == nil && tree != 0 && tree != s.treeID {
		err = refuse(http.StatusBadRequest, "Bad Request")
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	httpx.Write(w, http.StatusOK, "application/x-pem-file", s.pem)
}

// logInfo answers the published head.
func (s *Server) logInfo(w http.ResponseWriter, r *http.Request) {
	cp, err := s.log.Checkpoint(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	httpx.WriteJSON(w, http.StatusOK, struct {
		InactiveShards []struct{} `json:"inactiveShards"`
		RootHash       string     `json:"rootHash"`
		SignedTreeHead string     `json:"signedTreeHead"`
		TreeID         string     `json:"treeID"`
		TreeSize       int64      `json:"treeSize"`
	}{[]struct{}{}, hex.EncodeToString(cp.Root[:]), string(cp.Note), strconv.FormatInt(s.treeID, 10), cp.Size})
}

// consistency answers the proof that the tree of firstSize is a prefix of that of lastSize. The
// rootHash beside it is that of the published head, as upstream has it.
func (s *Server) consistency(w http.ResponseWriter, r *http.Request) {
	first, last, err := s.proofParams(r.URL.Query())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	hashes, cp, err := s.prove(r.Context(), first, last)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	httpx.WriteJSON(w, http.StatusOK, struct {
		Hashes   []string `json:"hashes"`
		RootHash string   `json:"rootHash"`
	}{hexAll(hashes), hex.EncodeToString(cp.Root[:])})
}

func (s *Server) proofParams(q url.Values) (first, last int64, err error) {
	one := int64(1)
	if first, err = intParam(q, "firstSize", 1, &one); err != nil {
		return 0, 0, err
	}
	if last, err = intParam(q, "lastSize", 1, nil); err != nil {
		return 0, 0, err
	}
	tree, err := treeParam(q)
	if err != nil {
		return 0, 0, err
	}
	if first > last {
		return 0, 0, refuse(http.StatusBadRequest, "firstSize(%d) must be less than lastSize(%d)", first, last)
	}
	if tree != 0 && tree != s.treeID {
		return 0, 0, refuse(http.StatusBadRequest, "invalid tree ID specified: %.32s", q.Get("treeID"))
	}
	return first, last, nil
}

func (s *Server) prove(ctx context.Context, first, last int64) ([][]byte, checkpoint.Signed, error) {
	cp, err := s.log.Checkpoint(ctx)
	if err != nil {
		return nil, cp, err
	}
	if last > cp.Size {
		return nil, cp, refuse(http.StatusBadRequest, "the tree size requested(%d) was greater than what is currently observable(%d)", last, cp.Size)
	}
	hashes, err := s.log.Consistency(ctx, first, last)
	return hashes, cp, err
}
