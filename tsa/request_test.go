package tsa_test

import (
	"bytes"
	"crypto"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/digitorus/timestamp"

	"github.com/sigbox/sigbox/tsa"
)

// req builds a TimeStampReq from hex pieces: version, imprint, and what follows.
func query(version, imprint, rest string) []byte {
	body := unhex(version + imprint + rest)
	der, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: body})
	if err != nil {
		panic(err)
	}
	return der
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

const (
	version1 = "020101"
	sha256ID = "0609608648016503040201"
	zeros32  = "0000000000000000000000000000000000000000000000000000000000000000"
	imprint  = "3031 300d " + sha256ID + " 0500 0420 " + zeros32
)

// TestParseRequest: B-190 to B-195 in DER. The reference parser, encoding/asn1 in
// digitorus/timestamp, lets several of these through; rows say which.
func TestParseRequest(t *testing.T) {
	long, err := asn1.Marshal(new(big.Int).Lsh(big.NewInt(1), 64*1024*8))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		der  []byte
		want error
	}{
		{"plain", query(version1, imprint, ""), nil},
		{"algorithm without parameters", query(version1, "302f 300b "+sha256ID+" 0420 "+zeros32, ""), nil},
		{"certReq FALSE written out", query(version1, imprint, "010100"), nil},
		{"everything", query(version1, imprint, "06092b0601040183bf3002 020101 0101ff"), nil},
		{"nonce of 160 bits", query(version1, imprint, "0215 00 ff"+strings.Repeat("ff", 19)), nil},

		{"empty", nil, tsa.ErrMalformed},
		{"not DER", []byte("<html>"), tsa.ErrMalformed},
		{"trailing data", append(query(version1, imprint, ""), 0), tsa.ErrMalformed},
		{"a field after the last (accepted by encoding/asn1)", query(version1, imprint, "0101ff 020101"), tsa.ErrMalformed},
		{"version 2 (accepted by digitorus)", query("020102", imprint, ""), tsa.ErrMalformed},
		{"version of 2^64", query("0209010000000000000000", imprint, ""), tsa.ErrMalformed},
		{"indefinite length", unhex("3080" + version1 + imprint + "0000"), tsa.ErrMalformed},
		{"length not minimal", append([]byte{0x30, 0x81, 0x36}, query(version1, imprint, "")[2:]...), tsa.ErrMalformed},
		{"integer not minimal", query("02020001", imprint, ""), tsa.ErrMalformed},
		{"boolean 0x01", query(version1, imprint, "010101"), tsa.ErrMalformed},
		{"digest is a BIT STRING", query(version1, "3031 300d "+sha256ID+" 0500 0320 "+zeros32, ""), tsa.ErrMalformed},
		{"parameters not NULL", query(version1, "3032 300e "+sha256ID+" 020100 0420 "+zeros32, ""), tsa.ErrMalformed},
		{"something after the digest (accepted by encoding/asn1)", query(version1, "3033 300d "+sha256ID+" 0500 0420 "+zeros32+" 0500", ""), tsa.ErrMalformed},
		{"100,000 nested sequences", bytes.Repeat([]byte{0x30, 0x80}, 100_000), tsa.ErrMalformed},
		{"arc of 2^64 in the policy", query(version1, imprint, "060b 2b 82 80 80 80 80 80 80 80 80 00"), tsa.ErrMalformed},

		{"SHA-1", query(version1, "3021 3009 06052b0e03021a 0500 0414 "+zeros32[:40], ""), tsa.ErrWeakHash},
		{"MD5", query(version1, "3020 300c 06082a864886f70d0205 0500 0410 "+zeros32[:32], ""), tsa.ErrWeakHash},
		{"SHA-224", query(version1, "302d 300d 0609608648016503040204 0500 041c "+zeros32[:56], ""), tsa.ErrUnsupportedHash},
		{"unknown OID", query(version1, "300d 3005 06032a0304 0404 00000000", ""), tsa.ErrUnsupportedHash},
		{"digest empty", query(version1, "3011 300d "+sha256ID+" 0500 0400", ""), tsa.ErrDigestLength},
		{"digest of 31 bytes", query(version1, "3030 300d "+sha256ID+" 0500 041f "+zeros32[:62], ""), tsa.ErrDigestLength},
		{"digest of 33 bytes", query(version1, "3032 300d "+sha256ID+" 0500 0421 "+zeros32+"00", ""), tsa.ErrDigestLength},
		{"extensions", query(version1, imprint, "a00d 300b 0603551d0e 0404 02020000"), tsa.ErrExtension},
		{"10,000 extensions", extensions(10_000), tsa.ErrExtension},
		{"nonce of 161 bits", query(version1, imprint, "0215 01 "+strings.Repeat("00", 20)), tsa.ErrNonce},
		{"nonce of 64 KiB", query(version1, imprint, hex.EncodeToString(long)), tsa.ErrNonce},
	} {
		t.Run(row.name, func(t *testing.T) {
			req, err := tsa.ParseRequest(row.der)
			if !errors.Is(err, row.want) || (err == nil) != (row.want == nil) {
				t.Fatalf("got %v, want %v", err, row.want)
			}
			if err == nil {
				sameAsReference(t, row.der, req)
			}
		})
	}
}

func extensions(n int) []byte {
	one := unhex("300b 0603551d0e 0404 02020000")
	list, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: bytes.Repeat(one, n)})
	if err != nil {
		panic(err)
	}
	return query(version1, imprint, hex.EncodeToString(list))
}

// sameAsReference: what we accept, digitorus/timestamp accepts, with the same fields.
func sameAsReference(t *testing.T, der []byte, got tsa.Request) {
	t.Helper()
	want, err := timestamp.ParseRequest(der)
	if err != nil {
		t.Fatalf("the reference refuses it: %v", err)
	}
	nonce := (got.Nonce == nil) == (want.Nonce == nil) && (got.Nonce == nil || got.Nonce.Cmp(want.Nonce) == 0)
	if got.Hash != want.HashAlgorithm || !bytes.Equal(got.Digest, want.HashedMessage) || !nonce ||
		got.Certificates != want.Certificates || !got.Policy.Equal(want.TSAPolicyOID) {
		t.Errorf("got %+v, the reference %+v", got, want)
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add(query(version1, imprint, ""))
	f.Add(query(version1, imprint, "06092b0601040183bf3002 020101 0101ff"))
	f.Add(query("020102", imprint, "a000"))
	f.Add(extensions(3))
	f.Fuzz(func(t *testing.T, der []byte) {
		req, err := tsa.ParseRequest(der)
		if err != nil {
			return
		}
		if len(req.Digest) != req.Hash.Size() || req.Hash == crypto.SHA1 {
			t.Fatalf("accepted %+v", req)
		}
		sameAsReference(t, der, req)
	})
}
