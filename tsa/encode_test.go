package tsa

import (
	"bytes"
	"crypto"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"testing"
	"testing/synctest"
	"time"

	"github.com/digitorus/timestamp"

	"github.com/sigbox/sigbox/internal/clock"
)

// constant is a signer that signs everything with the same bytes, so that encodings can be compared.
type constant struct{ crypto.Signer }

func (constant) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return bytes.Repeat([]byte{0x5a}, 71), nil
}

// TestEncodeAsUpstream: byte for byte the response that the library of upstream's server makes, of every
// digest, key and option, before and after the year in which UTCTime ends.
func TestEncodeAsUpstream(t *testing.T) {
	for _, own := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} { // those of P-256, P-384 and P-521
		for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			for _, nonce := range []*big.Int{nil, big.NewInt(0), big.NewInt(200), new(big.Int).Lsh(big.NewInt(1), MaxNonceBits-1)} {
				for _, year := range []int{2026, 2049, 2050} {
					for _, certificate := range []bool{false, true} {
						t.Run(fmt.Sprint(own, " ", hash, " ", nonce, " ", year, " ", certificate), func(t *testing.T) {
							// The library takes signingTime from time.Now, which in this bubble is moved along.
							synctest.Test(t, func(t *testing.T) {
								at := time.Date(year, 12, 31, 23, 59, 59, 0, time.UTC)
								time.Sleep(time.Until(at))
								compareEncodings(t, own, Request{Hash: hash, Digest: bytes.Repeat([]byte{7}, hash.Size()), Nonce: nonce, Certificates: certificate}, at)
							})
						})
					}
				}
			}
		}
	}
}

func compareEncodings(t *testing.T, own crypto.Hash, req Request, at time.Time) {
	t.Helper()
	chain, err := NewChain(clock.NewManual(at), "sigbox")
	if err != nil {
		t.Fatal(err)
	}
	a := &Authority{key: constant{chain.Leaf.Key}, hash: own, chain: chain.Certificates(), policy: DefaultPolicy}
	tok := timestamp.Timestamp{
		HashAlgorithm: req.Hash, HashedMessage: req.Digest, Nonce: req.Nonce,
		Time: at, Accuracy: Accuracy, Policy: a.policy, AddTSACertificate: req.Certificates,
	}
	want, err := tok.CreateResponseWithOpts(a.chain[0], a.key, a.hash)
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.encode(req, serialOf(t, want), at)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v\n%x\nwant\n%x", err, got, want)
	}
}

// serialOf returns the serial number in a response.
func serialOf(t testing.TB, resp []byte) *big.Int {
	t.Helper()
	read, err := (&Authority{hash: crypto.SHA256}).read(resp)
	for _, hash := range []crypto.Hash{crypto.SHA384, crypto.SHA512} {
		if err != nil {
			read, err = (&Authority{hash: hash}).read(resp)
		}
	}
	var info struct {
		Version int
		Policy  asn1.ObjectIdentifier
		Imprint asn1.RawValue
		Serial  *big.Int
		Rest    asn1.RawValue
	}
	if err == nil {
		_, err = asn1.Unmarshal(read.info, &info)
	}
	if err != nil {
		t.Fatal(err)
	}
	return info.Serial
}
