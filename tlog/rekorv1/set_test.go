package rekorv1

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"
	"io"
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

// faulty is a key of this process that signs something else at chosen times.
type faulty struct {
	*ecdsa.PrivateKey
	wrong func(n int) bool
	n     int
}

func (f *faulty) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	f.n++
	if f.wrong(f.n) {
		digest = bytes.Repeat([]byte{1}, len(digest))
	}
	return f.PrivateKey.Sign(random, digest, opts)
}

// TestWrongSignatures: none that was made wrong once leaves; where all are wrong in the same way, none
// does after the first that was verified.
func TestWrongSignatures(t *testing.T) {
	key, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	private := key.(*ecdsa.PrivateKey)
	once := func(at int) func(int) bool { return func(n int) bool { return n == at } }
	for name, c := range map[string]struct {
		wrong func(int) bool
		twice bool
		bad   int // wrong signatures that leave
		fail  int // of 200
	}{
		"none":                                   {func(int) bool { return false }, true, 0, 0},
		"the one that is verified":               {once(1), true, 0, 1},
		"one of two":                             {once(4), true, 0, 1},
		"the other of two":                       {once(5), true, 0, 1},
		"all":                                    {func(int) bool { return true }, true, 0, 200},
		"all from some time on":                  {func(n int) bool { return n > 21 }, true, 53, 136},
		"all from some time on, between the two": {func(n int) bool { return n > 20 }, true, 0, 190},
		"one, of a signer that is not deterministic": {once(7), false, 0, 1},
	} {
		s := newSETSigner(&faulty{PrivateKey: private, wrong: c.wrong}, &private.PublicKey, "0a")
		s.twice = c.twice // the type hides what it is
		bad, fail := 0, 0
		for i := range 200 {
			leaf := tlog.Leaf{TimeMS: int64(i) * 1000, Data: []byte("{}")}
			sig, err := s.sign(leaf, 7)
			digest := sha256.Sum256(s.payload(leaf, 7))
			switch {
			case err != nil:
				fail++
			case !ecdsa.VerifyASN1(s.pub, digest[:], sig):
				bad++
			}
		}
		if bad != c.bad || fail != c.fail {
			t.Errorf("%s: %d wrong signatures left, %d failed; want %d and %d", name, bad, fail, c.bad, c.fail)
		}
	}
}

// TestSignerIsDeterministic: a key of this process signs twice, which costs two signatures.
func TestSignerIsDeterministic(t *testing.T) {
	s := newTestSigner(t)
	if !s.twice {
		t.Error("a key of this process is verified each time")
	}
	leaf := tlog.Leaf{Data: []byte("{}")}
	a, err := s.sign(leaf, 7)
	clear(s.byKey)
	b, err2 := s.sign(leaf, 7)
	if err != nil || err2 != nil || !bytes.Equal(a, b) {
		t.Errorf("%x and %x; %v, %v", a, b, err, err2)
	}
}

func BenchmarkSET(b *testing.B) {
	for _, twice := range []bool{false, true} {
		b.Run(fmt.Sprintf("twice=%v", twice), func(b *testing.B) {
			key, err := keys.NewECDSA()
			if err != nil {
				b.Fatal(err)
			}
			s := newSETSigner(key, key.Public().(*ecdsa.PublicKey), "0a")
			s.twice = twice
			leaf := tlog.Leaf{Data: make([]byte, 900)}
			for b.Loop() {
				leaf.TimeMS += 1000
				if _, err := s.sign(leaf, 7); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
