package rekorv1_test

import (
	"crypto"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/rekorv1"
)

// memo is a kind that this package has never heard of, with an attestation beside its body.
type memo struct{ entry.Base }

func (*memo) Insertable() error                    { return nil }
func (*memo) Verifiers() ([]entry.Verifier, error) { return nil, entry.Invalidf("signed by nobody") }
func (*memo) Attestation() []byte                  { return []byte("kept beside the leaf") }

func parseMemo(any) (entry.Proposed, error) {
	return &memo{entry.NewBase([]byte(`{"apiVersion":"0.0.2","kind":"intoto","spec":{}}`), []string{"memo"})}, nil
}

// TestFurtherKinds: the face takes any kind that is given to it, and answers its attestation to those who read the entry.
func TestFurtherKinds(t *testing.T) {
	s := newServer(t, func(c *rekorv1.Config, _ *tlog.Config) {
		c.Kinds = entry.Kinds{{Name: "intoto", Version: "0.0.2"}: parseMemo}
	})
	id, e := s.add([]byte(`{"kind":"intoto","apiVersion":"0.0.2","spec":{}}`))
	s.verify(e)
	if e.Attestation != nil {
		t.Errorf("created: attestation %q, which the client has sent", e.Attestation.Data)
	}
	_, e = only(t, s.get(entriesPath+"/"+id).body)
	s.verify(e)
	if e.Attestation == nil || string(e.Attestation.Data) != "kept beside the leaf" {
		t.Errorf("read: attestation %v", e.Attestation)
	}
	if a := s.post(entriesPath, artifact(t, 0)); a.StatusCode != http.StatusBadRequest {
		t.Errorf("a kind that was not given: %d", a.StatusCode)
	}
}

// countingSigner counts signatures.
type countingSigner struct {
	crypto.Signer
	n *atomic.Int64
}

func (c countingSigner) Sign(rand io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	c.n.Add(1)
	return c.Signer.Sign(rand, digest, o)
}

// TestSETsAreCached: an entry that is read often costs one signature, and others their own.
func TestSETsAreCached(t *testing.T) {
	s := newServer(t)
	var n atomic.Int64
	id, _ := s.add(artifact(t, 0))
	second, _ := s.add(artifact(t, 1))
	s.serve(rekorv1.Config{Log: s.log, TreeID: treeID, Signer: countingSigner{s.key, &n}, Kinds: entry.Kinds{{Name: "x"}: parseMemo}})
	for range 5 {
		for _, id := range []string{id, second} {
			_, e := only(t, s.get(entriesPath+"/"+id).body)
			s.verify(e)
		}
	}
	if n.Load() != 2 {
		t.Errorf("%d signatures for two entries", n.Load())
	}
}
