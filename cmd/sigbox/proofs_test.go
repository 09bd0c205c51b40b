package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/tile"
)

// acked is an entry that a replica has acknowledged.
type acked struct {
	index int64
	hash  [32]byte // leaf hash
	id    string   // of Rekor v1
}

// proved is an inclusion proof as Rekor v1 and v2 answer it.
type proved struct {
	body       []byte
	index      int64
	size       int64
	hashes     [][]byte
	checkpoint string
}

// verify checks a proof with the library of transparency-dev and the log's key.
func (p proved) verify(v *checkpoint.Verifier) (acked, error) {
	signed, err := v.Open([]byte(p.checkpoint))
	if err != nil {
		return acked{}, err
	}
	a := acked{index: p.index, hash: tile.LeafHash(p.body)}
	if signed.Size != p.size {
		return a, fmt.Errorf("proof for size %d, checkpoint of size %d", p.size, signed.Size)
	}
	return a, proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(p.index), uint64(p.size), a.hash[:], p.hashes, signed.Root[:])
}

// v1Answer reads the one entry in an answer of Rekor v1.
func v1Answer(text string, v *checkpoint.Verifier) (acked, error) {
	var entries map[string]struct {
		Body         []byte
		LogIndex     int64
		Verification struct {
			InclusionProof struct {
				Checkpoint string
				Hashes     []string
				LogIndex   int64
				TreeSize   int64
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &entries); err != nil || len(entries) != 1 {
		return acked{}, fmt.Errorf("%w in %s", err, text)
	}
	for id, e := range entries {
		in := e.Verification.InclusionProof
		p := proved{body: e.Body, index: in.LogIndex, size: in.TreeSize, checkpoint: in.Checkpoint}
		for _, h := range in.Hashes {
			b, err := hex.DecodeString(h)
			if err != nil {
				return acked{}, err
			}
			p.hashes = append(p.hashes, b)
		}
		a, err := p.verify(v)
		a.id = id
		return a, err
	}
	panic("not reached")
}

// v2Answer reads a TransparencyLogEntry.
func v2Answer(text string, v *checkpoint.Verifier) (acked, error) {
	var e struct {
		CanonicalizedBody []byte
		InclusionProof    struct {
			LogIndex, TreeSize string
			Hashes             [][]byte
			Checkpoint         struct{ Envelope string }
		}
	}
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return acked{}, fmt.Errorf("%w in %s", err, text)
	}
	p := proved{body: e.CanonicalizedBody, hashes: e.InclusionProof.Hashes, checkpoint: e.InclusionProof.Checkpoint.Envelope}
	if _, err := fmt.Sscan(e.InclusionProof.LogIndex+" "+e.InclusionProof.TreeSize, &p.index, &p.size); err != nil {
		return acked{}, fmt.Errorf("%w in %s", err, text)
	}
	return p.verify(v)
}

// answer is one HTTP exchange, for where a failure is an answer too.
func answer(ctx context.Context, method, url string, body io.Reader) (status int, text string, header http.Header, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, "", nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return exchange(req)
}

func exchange(req *http.Request) (status int, text string, header http.Header, err error) {
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), res.Header, err
}
