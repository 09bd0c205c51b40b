package rekorv1

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"testing"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"

	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
)

func newTestSigner(t *testing.T) *setSigner {
	t.Helper()
	key, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	return newSETSigner(key, key.Public().(*ecdsa.PublicKey), "0a")
}

// TestPayloadIsCanonical: what is signed is what RFC 8785 makes of the same object.
func TestPayloadIsCanonical(t *testing.T) {
	s := newTestSigner(t)
	got := s.payload(tlog.Leaf{Index: 2, TimeMS: 1_700_000_000_999, Data: []byte("{}?>")}, 7)
	want, err := jsoncanonicalizer.Transform([]byte(`{"logIndex":7, "logID":"0a", "integratedTime":1700000000, "body":"e30/Pg=="}`))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %s, want %s (%v)", got, want, err)
	}
}

// TestCacheIsBounded: the signature that was used longest ago makes room.
func TestCacheIsBounded(t *testing.T) {
	s := newTestSigner(t)
	id := func(i int) [32]byte { return sha256.Sum256([]byte{byte(i), byte(i >> 8)}) }
	for i := range cachedSETs {
		s.keep(id(i), []byte{1})
	}
	s.cached(id(0)) // used again, so that the next oldest goes
	s.keep(id(cachedSETs), []byte{1})
	s.keep(id(cachedSETs), []byte{1})
	if s.order.Len() != cachedSETs || len(s.byKey) != cachedSETs {
		t.Errorf("%d in order, %d by key, want %d", s.order.Len(), len(s.byKey), cachedSETs)
	}
	if s.cached(id(0)) == nil || s.cached(id(1)) != nil || s.cached(id(cachedSETs)) == nil {
		t.Error("not the oldest made room")
	}
}
