package ctlog

import (
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry/certificate"
)

// pageSize bounds a get-entries answer. Long ranges are cut at its multiples, so that all
// readers ask for the same pages.
const pageSize = 256

func (s *Server) getSTH(_ http.ResponseWriter, r *http.Request) (any, error) {
	sth, err := s.treeHead(r.Context())
	if err != nil {
		return nil, err
	}
	sig, err := tls.Marshal(sth.TreeHeadSignature)
	if err != nil {
		return nil, fmt.Errorf("encode tree head signature: %w", err)
	}
	return ct.GetSTHResponse{TreeSize: sth.TreeSize, Timestamp: sth.Timestamp, SHA256RootHash: sth.SHA256RootHash[:], TreeHeadSignature: sig}, nil
}

func (s *Server) getSTHConsistency(_ http.ResponseWriter, r *http.Request) (any, error) {
	q, err := params(r, "first", "second")
	if err != nil {
		return nil, err
	}
	first, second := q[0], q[1]
	if first > second {
		return nil, refusef("invalid first, second params: %d %d", first, second)
	}
	if err := s.within(r.Context(), second); err != nil {
		return nil, err
	}
	if first == 0 {
		return ct.GetSTHConsistencyResponse{Consistency: [][]byte{}}, nil
	}
	path, err := s.log.Consistency(r.Context(), first, second)
	if err != nil {
		return nil, fmt.Errorf("consistency of %d and %d: %w", first, second, err)
	}
	return ct.GetSTHConsistencyResponse{Consistency: notNil(path)}, nil
}

// size is the size of the published head, which is wanted to be at least want.
func (s *Server) size(ctx context.Context, want int64) (int64, error) {
	s.log.Reach(ctx, want)
	cp, _, err := s.log.Head(ctx)
	if err != nil {
		return 0, fmt.Errorf("head of the log: %w", err)
	}
	return cp.Size, nil
}

// within refuses a tree size that is not published yet.
func (s *Server) within(ctx context.Context, size int64) error {
	head, err := s.size(ctx, size)
	if err != nil {
		return err
	}
	if size > head {
		return refusef("need tree size: %d for proof but only got: %d", size, head)
	}
	return nil
}

func (s *Server) getProofByHash(_ http.ResponseWriter, r *http.Request) (any, error) {
	hash, err := hashParam(r)
	if err != nil {
		return nil, err
	}
	q, err := params(r, "tree_size")
	if err != nil {
		return nil, err
	}
	size := q[0]
	if size < 1 {
		return nil, refusef("missing or invalid tree_size: want at least 1")
	}
	head, err := s.size(r.Context(), size)
	if err != nil {
		return nil, err
	}
	if size > head {
		return nil, httpx.Errorf(http.StatusNotFound, "log returned tree size: %d but we expected: %d", head, size)
	}
	hits, err := s.log.Search(r.Context(), [][]byte{hash}, false, 1) // no two entries have one leaf hash
	if err != nil {
		return nil, fmt.Errorf("search for a leaf hash: %w", err)
	}
	if len(hits.Indexes) == 0 || hits.Indexes[0] >= size {
		return nil, httpx.Errorf(http.StatusNotFound, "no entry with this leaf hash in a tree of size %d", size)
	}
	index := hits.Indexes[0]
	path, err := s.log.Inclusion(r.Context(), index, size)
	if err != nil {
		return nil, fmt.Errorf("inclusion of %d in %d: %w", index, size, err)
	}
	return ct.GetProofByHashResponse{LeafIndex: index, AuditPath: notNil(path)}, nil
}

func hashParam(r *http.Request) ([]byte, error) {
	text, err := param(r, "hash")
	if err != nil {
		return nil, err
	}
	hash, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(hash) != 32 {
		return nil, refusef("parameter 'hash' is malformed: want 32 bytes in standard base64, percent-encoded")
	}
	return hash, nil
}

func (s *Server) getEntries(_ http.ResponseWriter, r *http.Request) (any, error) {
	q, err := params(r, "start", "end")
	if err != nil {
		return nil, err
	}
	start, end := q[0], q[1]
	if start > end {
		return nil, refusef("start (%d) and end (%d) is not a valid range", start, end)
	}
	head, err := s.size(r.Context(), min(start, math.MaxInt64-1)+1)
	if err != nil {
		return nil, err
	}
	if start >= head {
		return nil, refusef("need tree size: %d to get leaves but only got: %d", uint64(start)+1, head)
	}
	if end-start >= pageSize {
		end = (start/pageSize+1)*pageSize - 1
	}
	leaves, err := s.log.Leaves(r.Context(), start, min(end, head-1)+1)
	if err != nil {
		return nil, fmt.Errorf("leaves from %d to %d: %w", start, end, err)
	}
	resp := ct.GetEntriesResponse{Entries: make([]ct.LeafEntry, len(leaves))}
	for i, l := range leaves {
		e := &resp.Entries[i]
		if e.LeafInput, e.ExtraData, err = certificate.Parse(l.Data); err != nil {
			return nil, fmt.Errorf("leaf %d: %w: %w", l.Index, tlog.ErrCorrupt, err)
		}
	}
	return resp, nil
}

func (s *Server) getRoots(http.ResponseWriter, *http.Request) (any, error) {
	roots := s.roots.Load().certs
	resp := ct.GetRootsResponse{Certificates: make([]string, len(roots))}
	for i, c := range roots {
		resp.Certificates[i] = base64.StdEncoding.EncodeToString(c.Raw)
	}
	return resp, nil
}

func (s *Server) getEntryAndProof(_ http.ResponseWriter, r *http.Request) (any, error) {
	q, err := params(r, "leaf_index", "tree_size")
	if err != nil {
		return nil, err
	}
	index, size := q[0], q[1]
	if index >= size {
		return nil, refusef("leaf_index %d out of range for tree of size %d", index, size)
	}
	if err := s.within(r.Context(), size); err != nil {
		return nil, err
	}
	leaf, err := s.log.Leaf(r.Context(), index)
	if err != nil {
		return nil, fmt.Errorf("leaf %d: %w", index, err)
	}
	path, err := s.log.Inclusion(r.Context(), index, size)
	if err != nil {
		return nil, fmt.Errorf("inclusion of %d in %d: %w", index, size, err)
	}
	resp := ct.GetEntryAndProofResponse{AuditPath: notNil(path)}
	if resp.LeafInput, resp.ExtraData, err = certificate.Parse(leaf.Data); err != nil {
		return nil, fmt.Errorf("leaf %d: %w: %w", index, tlog.ErrCorrupt, err)
	}
	return resp, nil
}

// notNil makes an empty proof [] in JSON, not null.
func notNil(path [][]byte) [][]byte {
	if path == nil {
		return [][]byte{}
	}
	return path
}

// params reads non-negative decimal numbers, each given exactly once.
func params(r *http.Request, names ...string) ([]int64, error) {
	out := make([]int64, len(names))
	for i, name := range names {
		text, err := param(r, name)
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || strconv.FormatInt(n, 10) != text || n < 0 {
			return nil, refusef("parameter '%s' is malformed: want a decimal number of at least 0", name)
		}
		out[i] = n
	}
	return out, nil
}

// param reads a query parameter that must be there once: of two values one proxy keeps the first
// and the next the last.
func param(r *http.Request, name string) (string, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", refusef("query is malformed")
	}
	switch v := q[name]; {
	case len(v) == 0 || (len(v) == 1 && v[0] == ""):
		return "", refusef("parameter '%s' is required", name)
	case len(v) > 1:
		return "", refusef("parameter '%s' is given more than once", name)
	default:
		return v[0], nil
	}
}
