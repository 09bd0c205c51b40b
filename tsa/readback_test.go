package tsa

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"math/big"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
)

// TestReadBack: of a response that is as it should be, no bit can be turned, no byte cut off or added, and
// it answers no other request.
func TestReadBack(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	chain, err := NewChain(clock.NewManual(now), "sigbox")
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Config{Key: chain.Leaf.Key, Chain: chain.Certificates(), Clock: clock.NewManual(now)})
	if err != nil {
		t.Fatal(err)
	}
	d256, d512 := sha256.Sum256([]byte("artifact")), sha512.Sum512([]byte("artifact"))
	for name, req := range map[string]Request{
		"certificate and nonce": {Hash: crypto.SHA256, Digest: d256[:], Certificates: true, Nonce: big.NewInt(77)},
		"neither":               {Hash: crypto.SHA512, Digest: d512[:]},
	} {
		resp, err := a.Stamp(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		serial := serialOf(t, resp)
		if err := a.verify(resp, req, serial, now); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for bit := range len(resp) * 8 {
			other := bytes.Clone(resp)
			other[bit/8] ^= 1 << (bit % 8)
			if err := a.verify(other, req, serial, now); err == nil {
				t.Errorf("%s: bit %d of byte %d turned: taken", name, bit%8, bit/8)
			}
		}
		for n := range resp {
			if err := a.verify(resp[:n], req, serial, now); err == nil {
				t.Errorf("%s: cut off after %d bytes: taken", name, n)
			}
		}
		if err := a.verify(append(bytes.Clone(resp), 0), req, serial, now); err == nil {
			t.Errorf("%s: a byte added: taken", name)
		}
		for what, other := range map[string]Request{
			"digest":      {Hash: req.Hash, Digest: bytes.Repeat([]byte{1}, len(req.Digest)), Certificates: req.Certificates, Nonce: req.Nonce},
			"hash":        {Hash: crypto.SHA384, Digest: req.Digest, Certificates: req.Certificates, Nonce: req.Nonce},
			"certificate": {Hash: req.Hash, Digest: req.Digest, Certificates: !req.Certificates, Nonce: req.Nonce},
			"nonce":       {Hash: req.Hash, Digest: req.Digest, Certificates: req.Certificates, Nonce: big.NewInt(78)},
		} {
			if err := a.verify(resp, other, serial, now); err == nil {
				t.Errorf("%s: taken for another %s", name, what)
			}
		}
		if err := a.verify(resp, req, serial, now.Add(time.Second)); err == nil {
			t.Errorf("%s: taken for another time", name)
		}
		if err := a.verify(resp, req, new(big.Int).Add(serial, big.NewInt(1)), now); err == nil {
			t.Errorf("%s: taken for another serial number", name)
		}
	}
}

// FuzzReadBack: of all bytes, one response answers a request.
func FuzzReadBack(f *testing.F) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	chain, err := NewChain(clock.NewManual(now), "sigbox")
	if err != nil {
		f.Fatal(err)
	}
	a, err := New(Config{Key: chain.Leaf.Key, Chain: chain.Certificates(), Clock: clock.NewManual(now)})
	if err != nil {
		f.Fatal(err)
	}
	digest := sha256.Sum256([]byte("artifact"))
	req := Request{Hash: crypto.SHA256, Digest: digest[:], Certificates: true, Nonce: big.NewInt(77)}
	resp, err := a.Stamp(f.Context(), req)
	if err != nil {
		f.Fatal(err)
	}
	serial := serialOf(f, resp)
	f.Add(uint16(0), []byte{})
	f.Add(uint16(700), []byte{0x30, 0x80})
	f.Fuzz(func(t *testing.T, at uint16, over []byte) {
		other := bytes.Clone(resp)
		copy(other[min(int(at), len(other)):], over)
		if err := a.verify(other, req, serial, now); (err == nil) != bytes.Equal(other, resp) {
			t.Errorf("%x at %d: %v", over, at, err)
		}
		if err := a.verify(over, req, serial, now); err == nil {
			t.Errorf("%x: taken", over)
		}
	})
}
