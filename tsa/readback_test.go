package tsa

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/sigbox/sigbox/internal/clock"
)

// authority returns one and the time of its clock.
func authority(t testing.TB) (*Authority, time.Time) {
	t.Helper()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	chain, err := NewChain(clock.NewManual(now), "sigbox")
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Config{Key: chain.Leaf.Key, Chain: chain.Certificates(), Clock: clock.NewManual(now)})
	if err != nil {
		t.Fatal(err)
	}
	return a, now
}

// TestReadBack: of a response that is as it should be, no bit can be turned, no byte cut off or added, and
// it answers no other request.
func TestReadBack(t *testing.T) {
	a, now := authority(t)
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

// TestReadBackEncoder: what an encoder gets wrong is found although its signature is right.
func TestReadBackEncoder(t *testing.T) {
	a, now := authority(t)
	digest := sha256.Sum256([]byte("artifact"))
	req, serial := Request{Hash: crypto.SHA256, Digest: digest[:], Certificates: true, Nonce: big.NewInt(77)}, big.NewInt(1<<40)
	replace := func(old, new string) func([]byte) []byte {
		return func(b []byte) []byte {
			if bytes.Count(b, []byte(old)) != 1 {
				t.Fatalf("%x is there %d times", old, bytes.Count(b, []byte(old)))
			}
			return bytes.Replace(b, []byte(old), []byte(new), 1)
		}
	}
	same := func(b []byte) []byte { return b }
	subject := string(a.chain[0].RawSubject[2:])
	for _, tc := range []struct {
		name             string
		info, attributes func([]byte) []byte
		all              func([]byte) []byte
	}{
		{"nothing", same, same, same},
		{"version", replace("\x02\x01\x01\x06\x09", "\x02\x01\x02\x06\x09"), same, same},
		{"policy", replace("\x83\xbf\x30\x02", "\x83\xbf\x30\x03"), same, same},
		{"digest's algorithm", replace("\x65\x03\x04\x02\x01", "\x65\x03\x04\x02\x02"), same, same},
		{"digest", replace(string(digest[:]), string(make([]byte, 32))), same, same},
		{"serial number", replace("\x02\x06\x01\x00\x00\x00\x00\x00", "\x02\x06\x01\x00\x00\x00\x00\x01"), same, same},
		{"time", replace("20260301120000Z", "20260301120001Z"), same, same},
		{"accuracy", replace("\x30\x03\x02\x01\x01", "\x30\x03\x02\x01\x02"), same, same},
		{"nonce", replace("\x02\x01\x4d", "\x02\x01\x4e"), same, same},
		{"name", replace(subject, subject[:len(subject)-1]+"!"), same, same},
		{"content of the attributes", same, replace(string(a.sum(nil)), string(make([]byte, 32))), same},
		{"type of the attributes", same, replace("\x09\x10\x01\x04", "\x09\x10\x01\x05"), same},
		{"status", same, same, replace("\x30\x03\x02\x01\x00\x30", "\x30\x03\x02\x01\x01\x30")},
		{"version of the content", same, same, replace("\x02\x01\x03\x31", "\x02\x01\x01\x31")},
		{"version of the signer", same, same, replace("\x02\x01\x01\x30\x49", "\x02\x01\x03\x30\x49")},
		{"algorithm of the signature", same, same, replace("\x3d\x04\x03\x02\x04", "\x3d\x04\x03\x03\x04")},
	} {
		info, err := encoded(0, func(b *cryptobyte.Builder) { a.addInfo(b, req, serial, now) })
		if err != nil {
			t.Fatal(err)
		}
		info = tc.info(info)
		sum := a.sum(info)
		if tc.name == "content of the attributes" {
			sum = a.sum(nil)
		}
		attributes, err := a.attributes(req, sum, now)
		if err != nil {
			t.Fatal(err)
		}
		attributes = tc.attributes(attributes)
		sig, err := a.key.Sign(rand.Reader, a.sum(attributes), a.hash)
		if err != nil {
			t.Fatal(err)
		}
		attributes[0] = byte(tag0)
		resp, err := a.wrap(req, info, attributes, sig)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.verify(tc.all(resp), req, serial, now); (err == nil) != (tc.name == "nothing") {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// FuzzReadBack: of all bytes, one response answers a request.
func FuzzReadBack(f *testing.F) {
	a, now := authority(f)
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
