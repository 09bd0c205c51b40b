package entry_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
	"pgregory.net/rapid"

	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
)

func TestAppendStringIsCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		raw, err := json.Marshal([]string{s})
		if err != nil {
			t.Fatal(err)
		}
		want, err := jsoncanonicalizer.Transform(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := append(entry.AppendString([]byte("["), s), ']'); !bytes.Equal(got, want) {
			t.Fatalf("got %s, want %s", got, want)
		}
	})
}

func TestSearchKeys(t *testing.T) {
	var many []string
	for i := range 150 {
		many = append(many, fmt.Sprint(i))
	}
	for name, row := range map[string]struct {
		in   []string
		want int
		none string // a key that must not be there
	}{
		"lower-cased, then unique": {[]string{"A@B.c", "a@b.C", "x"}, 2, "A@B.c"},
		"empty":                    {[]string{"", "x"}, 1, ""},
		"longer than 512 bytes":    {[]string{strings.Repeat("a", 513), strings.Repeat("b", 512)}, 1, strings.Repeat("a", 513)},
		"more than 100":            {many, 100, "100"},
	} {
		t.Run(name, func(t *testing.T) {
			b := entry.NewBase([]byte("{}"), row.in)
			if got := b.Keys(); len(got) != row.want {
				t.Errorf("%d keys, want %d", len(got), row.want)
			}
			for _, k := range b.Keys() {
				if string(k) == row.none {
					t.Errorf("%.20q is a key", k)
				}
			}
		})
	}
}

func TestKindsRefuse(t *testing.T) {
	kinds := entry.Kinds{{Name: "a", Version: "1.0.0"}: func(any) (entry.Proposed, error) { return nil, nil }}
	if _, err := kinds.Parse(entry.Kind{Name: "a", Version: "1.0.0"}, nil); err != nil {
		t.Errorf("known kind: %v", err)
	}
	for _, k := range []entry.Kind{{Name: "a", Version: "1.0.1"}, {Name: "b", Version: "1.0.0"}} {
		if _, err := kinds.Parse(k, nil); !errors.Is(err, entry.ErrUnknownKind) || !errors.Is(err, entry.ErrInvalid) {
			t.Errorf("%v: error = %v", k, err)
		}
	}
}

func TestCauseIsNotInTheMessage(t *testing.T) {
	_, err := entry.ParseKey(entrytest.CertPEM([]byte("not DER")))
	if entry.Cause(err) == nil || strings.Contains(err.Error(), entry.Cause(err).Error()) {
		t.Errorf("error %q, cause %v", err, entry.Cause(err))
	}
}

// TestLargeRSA: a key that costs seconds to use is refused before it is used.
func TestLargeRSA(t *testing.T) {
	for bits, ok := range map[int]bool{8192: true, 8193: false, 16384: false} {
		n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
		pub := &rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 65537}
		if _, err := entry.ParseKey(entrytest.PEM(t, pub)); (err == nil) != ok {
			t.Errorf("PEM, %d bits: %v", bits, err)
		}
		if _, err := entry.ParseKeyDER(entrytest.SPKI(t, pub)); (err == nil) != ok {
			t.Errorf("DER, %d bits: %v", bits, err)
		}
	}
}

func TestPermitted(t *testing.T) {
	for _, row := range []struct {
		name string
		pub  crypto.PublicKey
		hash crypto.Hash // the only one that is permitted, 0 for none
	}{
		{"P-224", entrytest.ECDSA(t, elliptic.P224()).Public(), 0},
		{"P-256", entrytest.P256(t).Public(), crypto.SHA256},
		{"P-384", entrytest.ECDSA(t, elliptic.P384()).Public(), crypto.SHA384},
		{"P-521", entrytest.ECDSA(t, elliptic.P521()).Public(), crypto.SHA512},
		{"Ed25519", entrytest.Ed25519(t).Public(), crypto.SHA512},
		{"RSA 1024", &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}, 0},
		{"RSA 2048", &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2047), E: 65537}, crypto.SHA256},
		{"RSA 2049", &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2048), E: 65537}, 0},
		{"RSA 4096", &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 4095), E: 65537}, crypto.SHA256},
		{"no key", nil, 0},
	} {
		for _, h := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			if got := entry.Permitted(row.pub, h); got != (h == row.hash) {
				t.Errorf("%s with %v: %v", row.name, h, got)
			}
		}
	}
}

func TestVerifyDigestRefusesOddInput(t *testing.T) {
	key := entrytest.P256(t)
	digest := entrytest.Digest(crypto.SHA256, nil)
	sig := entrytest.SignDigest(t, key, crypto.SHA256, digest)
	if err := entry.VerifyDigest(key.Public(), crypto.SHA256, digest, sig); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"no hash":           entry.VerifyDigest(key.Public(), 0, digest, sig),
		"short digest":      entry.VerifyDigest(key.Public(), crypto.SHA256, digest[:31], sig),
		"empty signature":   entry.VerifyDigest(key.Public(), crypto.SHA256, digest, nil),
		"signature and one": entry.VerifyDigest(key.Public(), crypto.SHA256, digest, append(sig, 0)),
		"no key":            entry.VerifyDigest(nil, crypto.SHA256, digest, sig),
		"odd P1363":         entry.VerifyDigest(key.Public(), crypto.SHA256, digest, bytes.Repeat([]byte{1}, 65)),
		"long P1363":        entry.VerifyDigest(key.Public(), crypto.SHA256, digest, bytes.Repeat([]byte{1}, 134)),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestPEM: however a key comes, its canonical form is that of package pem, and so is what is refused.
func TestPEM(t *testing.T) {
	key := entrytest.P256(t)
	block := func(typ string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}) }
	spki := entrytest.SPKI(t, key.Public())
	cert := entrytest.Cert(t, key, entrytest.SAN{URI: "https://a/b"}, nil, nil)
	off := slices.Clone(spki) // a point that is not on the curve
	off[len(off)-1] ^= 1
	good := block("PUBLIC KEY", spki)
	for name, row := range map[string]struct{ in, want []byte }{
		"P-256":                   {good, good},
		"P-384":                   {entrytest.PEM(t, entrytest.ECDSA(t, elliptic.P384()).Public()), nil},
		"RSA":                     {entrytest.PEM(t, entrytest.RSA(t, 2048).Public()), nil},
		"certificate":             {block("CERTIFICATE", cert), block("CERTIFICATE", cert)},
		"no final newline":        {bytes.TrimSpace(good), good},
		"a blank at the end":      {slices.Concat(bytes.TrimSpace(good), []byte(" ")), good},
		"blanks around":           {slices.Concat([]byte(" \n"), good, []byte("\n ")), good},
		"a line too long":         {rewrapped(good, 68), good},
		"lines too short":         {rewrapped(good, 60), good},
		"break in the last line":  {bytes.Replace(good, []byte("\n-----END"), []byte("A\nA\n-----END"), 1), []byte{}},
		"another break there":     {rewrappedLast(good, 1), good},
		"four breaks there":       {rewrappedLast(good, 4), good},
		"space in a line":         {bytes.Replace(good, []byte("A"), []byte(" A"), 1), good},
		"CRLF":                    {bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")), good},
		"one line":                {[]byte("-----BEGIN PUBLIC KEY-----\n" + base64.StdEncoding.EncodeToString(spki) + "\n-----END PUBLIC KEY-----\n"), good},
		"a blank line more":       {bytes.Replace(good, []byte("-----\n"), []byte("-----\n\n"), 1), good},
		"headers":                 {pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Headers: map[string]string{"a": "b"}, Bytes: spki}), good},
		"point not on the curve":  {block("PUBLIC KEY", off), []byte{}},
		"a byte more":             {block("PUBLIC KEY", append(slices.Clone(spki), 0)), []byte{}},
		"point cut off":           {block("PUBLIC KEY", spki[:90]), []byte{}},
		"compressed point":        {block("PUBLIC KEY", append(slices.Clone(spki[:26]), spki[27:]...)), []byte{}},
		"key called certificate":  {block("CERTIFICATE", spki), []byte{}},
		"certificate called key":  {block("PUBLIC KEY", cert), []byte{}},
		"empty":                   {block("PUBLIC KEY", nil), []byte{}},
		"loose bits at the end":   {bytes.Replace(good, []byte("==\n"), []byte("=\n"), 1), []byte{}},
		"another type at the end": {bytes.Replace(good, []byte("END PUBLIC"), []byte("END PRIVATE"), 1), []byte{}},
	} {
		if row.want == nil {
			row.want = row.in
		}
		k, err := entry.ParseKey(row.in)
		switch {
		case len(row.want) == 0 && !errors.Is(err, entry.ErrInvalid):
			t.Errorf("%s: %v", name, err)
		case len(row.want) > 0 && (err != nil || !bytes.Equal(k.PEM(), row.want)):
			t.Errorf("%s: %v, %s", name, err, row.in)
		}
	}
}

// rewrapped is PEM with lines of another length.
func rewrapped(block []byte, n int) []byte {
	lines := bytes.Split(bytes.TrimSpace(block), []byte("\n"))
	text := bytes.Join(lines[1:len(lines)-1], nil)
	out := append(slices.Clone(lines[0]), '\n')
	for part := range slices.Chunk(text, n) {
		out = append(append(out, part...), '\n')
	}
	return append(append(out, lines[len(lines)-1]...), '\n')
}

// rewrappedLast is PEM whose last line has n line breaks in it; with four its length is a multiple of four again.
func rewrappedLast(block []byte, n int) []byte {
	at := bytes.Index(block, []byte("\n-----END"))
	from := bytes.LastIndexByte(block[:at], '\n') + 1
	last := slices.Clone(block[from:at])
	for i := range n {
		last = slices.Insert(last, 2*i+1, '\n')
	}
	return slices.Concat(block[:from], last, block[at:])
}

func FuzzParseKey(f *testing.F) {
	key := entrytest.P256(f)
	f.Add(entrytest.PEM(f, key.Public()))
	f.Add(entrytest.CertPEM(entrytest.Chain(f, key, entrytest.SAN{OtherName: "a!b"})...))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := entry.ParseKey(data)
		if err != nil {
			return
		}
		if block, rest := pem.Decode(data); len(rest) == 0 && !bytes.Equal(k.PEM(), pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})) && block.Type == "CERTIFICATE" {
			t.Fatalf("the canonical form is not that of package pem:\n%s\n%s", data, k.PEM())
		}
		again, err := entry.ParseKey(k.PEM())
		if err != nil || !bytes.Equal(again.PEM(), k.PEM()) {
			t.Fatalf("canonical PEM is not stable: %v\n%s\n%s", err, k.PEM(), again.PEM())
		}
	})
}
