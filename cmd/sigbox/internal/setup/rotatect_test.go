package setup

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"testing"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"

	"github.com/sigbox/sigbox/keys"
)

// TestCheckHead: an answer is believed where it is a tree head with a signature of the key.
func TestCheckHead(t *testing.T) {
	key, other := newTestKey(t), newTestKey(t)
	head := ct.SignedTreeHead{Version: ct.V1, TreeSize: 7, Timestamp: 1700000000000}
	input, err := ct.SerializeSTHSignatureInput(head)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(input)
	sig, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := tls.Marshal(tls.DigitallySigned{Algorithm: tls.SignatureAndHashAlgorithm{Hash: tls.SHA256, Signature: tls.ECDSA}, Signature: sig})
	if err != nil {
		t.Fatal(err)
	}
	answer := func(size uint64) []byte {
		raw, err := json.Marshal(ct.GetSTHResponse{TreeSize: size, Timestamp: head.Timestamp, SHA256RootHash: head.SHA256RootHash[:], TreeHeadSignature: signature})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	for _, tc := range []struct {
		name   string
		answer []byte
		key    crypto.PublicKey
		good   bool
	}{
		{"a tree head of the log", answer(7), key.Public(), true},
		{"a tree head of another log, by a proxy that takes the path away", answer(7), other.Public(), false},
		{"another size", answer(8), key.Public(), false},
		{"a page", []byte("<html>"), key.Public(), false},
		{"no tree head", []byte("{}"), key.Public(), false},
	} {
		if err := checkHead(tc.answer, tc.key); (err == nil) != tc.good {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func newTestKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	return key
}
