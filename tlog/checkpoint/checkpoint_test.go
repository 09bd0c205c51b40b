package checkpoint_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/sigstore/rekor/pkg/util"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
	"golang.org/x/mod/sumdb/note"

	"github.com/sigbox/sigbox/tlog/checkpoint"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newSigner(t testing.TB, name, origin string) *checkpoint.Signer {
	t.Helper()
	s, err := checkpoint.NewSigner(name, origin, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const v1Origin = "log.test - 1193050959916656506"

// TestSignedForm takes a note of a Rekor v1 log apart by hand, as COMPAT.md 2.4 describes it.
func TestSignedForm(t *testing.T) {
	key := newKey(t)
	s, err := checkpoint.NewSigner("log.test", v1Origin, key)
	if err != nil {
		t.Fatal(err)
	}
	root := sha256.Sum256([]byte("root"))
	signed, err := s.Sign(42, root)
	if err != nil {
		t.Fatal(err)
	}
	text, sigs, ok := strings.Cut(string(signed.Note), "\n\n")
	if text += "\n"; !ok || text != v1Origin+"\n42\n"+base64.StdEncoding.EncodeToString(root[:])+"\n" {
		t.Errorf("text %q", text)
	}
	line, rest, _ := strings.Cut(sigs, "\n")
	encoded, ok := strings.CutPrefix(line, "\u2014 log.test ")
	sig, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || rest != "" {
		t.Fatalf("signature line %q, %v, then %q", line, err, rest)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	id := sha256.Sum256(spki)
	if !bytes.Equal(sig[:4], id[:4]) || s.Verifier().KeyID() != id {
		t.Errorf("hint %x, want the start of %x", sig[:4], id)
	}
	digest := sha256.Sum256([]byte(text))
	if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], sig[4:]) {
		t.Error("the signature does not verify")
	}
	if signed.Checkpoint != (checkpoint.Checkpoint{Origin: v1Origin, Size: 42, Root: root}) {
		t.Errorf("checkpoint %+v", signed.Checkpoint)
	}
}

const goldenKey = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEIU98ziliCoZ2o0KyP87Ka+MhTmuU
Sa9wZmvxj56Hl9KgWHwE/XceYq9vnptd4glRJy5zwWHq77Grl5Id/OCSpg==
-----END PUBLIC KEY-----
`
const goldenNote = `log.test - 1193050959916656506
42
SBNJTRN+FjG7owHVrKtue7eqdM4RhdRWVl71HXN2d7I=

— log.test FRWt2zBFAiAn06KRUzfrs5YtbxgMm1V+3er9ryO8DxHzJhFkxjGCdwIhAIXA2Iyv/UmElL9IxhPj54bTRUO1RU7IOKBtsJ13FIWJ
`

// TestRekorAgrees has Rekor's own code open and verify a note, and opens one that it signed.
func TestRekorAgrees(t *testing.T) {
	key := newKey(t)
	s, err := checkpoint.NewSigner("log.test", v1Origin, key)
	if err != nil {
		t.Fatal(err)
	}
	root := sha256.Sum256([]byte("root"))
	signed, err := s.Sign(42, root)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := signature.LoadECDSAVerifier(&key.PublicKey, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	var theirs util.SignedCheckpoint
	if err := theirs.UnmarshalText(signed.Note); err != nil {
		t.Fatal(err)
	}
	if theirs.Origin != v1Origin || theirs.Size != 42 || !bytes.Equal(theirs.Hash, root[:]) || !theirs.Verify(verifier) {
		t.Errorf("Rekor reads %+v, verified: %v", theirs.Checkpoint, theirs.Verify(verifier))
	}
	signer, err := signature.LoadECDSASigner(key, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	made, err := util.CreateSignedCheckpoint(util.Checkpoint{Origin: v1Origin, Size: 42, Hash: root[:]})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := made.Sign("log.test", signer, options.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	text, err := made.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	if c, err := s.Verifier().Open(text); err != nil || c.Checkpoint != signed.Checkpoint {
		t.Errorf("a note of Rekor: %+v, %v", c.Checkpoint, err)
	}
}

// TestGolden opens a note that was signed once, so that the form cannot drift.
func TestGolden(t *testing.T) {
	block, _ := pem.Decode([]byte(goldenKey))
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	v, err := checkpoint.NewVerifier("log.test", v1Origin, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := v.Open([]byte(goldenNote))
	if err != nil || c.Size != 42 || c.Root != sha256.Sum256([]byte("root")) {
		t.Errorf("%+v, %v", c.Checkpoint, err)
	}
}

func TestParse(t *testing.T) {
	root := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32))
	for _, c := range []checkpoint.Checkpoint{
		{Origin: "log.test"},
		{Origin: v1Origin, Size: math.MaxInt64, Root: [32]byte{255}},
		{Origin: "ü", Size: 1},
		{Origin: "log.test", Size: 1, Frozen: "Wed Nov  4 18:02:06 UTC 2026"},
	} {
		if got, err := checkpoint.Parse(c.Marshal()); err != nil || got != c {
			t.Errorf("%+v: %+v, %v", c, got, err)
		}
	}
	for name, bad := range map[string]string{
		"empty":                   "",
		"no origin":               "\n1\n" + root + "\n",
		"no final newline":        "o\n1\n" + root,
		"an extension line":       "o\n1\n" + root + "\nextension\n",
		"frozen, no date":         "o\n1\n" + root + "\nLog frozen — \n",
		"frozen, another zone":    "o\n1\n" + root + "\nLog frozen — Wed Nov  4 18:02:06 CET 2026\n",
		"frozen, another day":     "o\n1\n" + root + "\nLog frozen — Mon Nov  4 18:02:06 UTC 2026\n",
		"frozen, one digit":       "o\n1\n" + root + "\nLog frozen — Wed Nov 4 18:02:06 UTC 2026\n",
		"frozen, and a line more": "o\n1\n" + root + "\nLog frozen — Wed Nov  4 18:02:06 UTC 2026\nx\n",
		"an empty line":           "o\n1\n" + root + "\n\n",
		"size with leading zero":  "o\n01\n" + root + "\n",
		"size with a sign":        "o\n+1\n" + root + "\n",
		"negative size":           "o\n-1\n" + root + "\n",
		"size over 63 bits":       "o\n9223372036854775808\n" + root + "\n",
		"no size":                 "o\n\n" + root + "\n",
		"hexadecimal size":        "o\n0x1\n" + root + "\n",
		"root of 31 bytes":        "o\n1\n" + base64.StdEncoding.EncodeToString(make([]byte, 31)) + "\n",
		"root of 33 bytes":        "o\n1\n" + base64.StdEncoding.EncodeToString(make([]byte, 33)) + "\n",
		"root without padding":    "o\n1\n" + strings.TrimRight(root, "=") + "\n",
		"root with trailing bits": "o\n1\n" + root[:42] + "F=\n",
		"URL-safe root":           "o\n1\n" + strings.Repeat("_", 43) + "=\n",
		"carriage returns":        "o\r\n1\r\n" + root + "\r\n",
		"control character":       "o\x01\n1\n" + root + "\n",
		"origin not UTF-8":        "\xff\n1\n" + root + "\n",
		"origin with spaces":      " o\n1\n" + root + "\n",
		"origin of 256 bytes":     strings.Repeat("o", 256) + "\n1\n" + root + "\n",
	} {
		if c, err := checkpoint.Parse([]byte(bad)); !errors.Is(err, checkpoint.ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	key := newKey(t)
	s, err := checkpoint.NewSigner("log.test", "log.test", key)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign(7, [32]byte{7})
	if err != nil {
		t.Fatal(err)
	}
	text, sigs, _ := strings.Cut(string(signed.Note), "\n\n")
	other := newSigner(t, "log.test", "log.test")
	otherSigned, err := other.Sign(7, [32]byte{7})
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"empty":                 "",
		"no signature":          text + "\n\n",
		"another key's":         string(otherSigned.Note),
		"another name":          text + "\n\n" + strings.Replace(sigs, "log.test", "other.test", 1),
		"another size":          strings.Replace(string(signed.Note), "\n7\n", "\n8\n", 1),
		"half a signature":      text + "\n\n" + sigs[:len(sigs)-10] + "\n",
		"no final newline":      strings.TrimSuffix(string(signed.Note), "\n"),
		"something in front":    "x" + string(signed.Note),
		"something behind":      string(signed.Note) + "x\n",
		"signature of nothing":  text + "\n\n\u2014 log.test " + base64.StdEncoding.EncodeToString(make([]byte, 4)) + "\n",
		"another origin's note": mustSign(t, key, "other.test"),
	} {
		if c, err := s.Verifier().Open([]byte(bad)); !errors.Is(err, checkpoint.ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, c.Checkpoint, err)
		}
	}
	for i := range signed.Note {
		flipped := bytes.Clone(signed.Note)
		flipped[i] ^= 1
		if c, err := s.Verifier().Open(flipped); err == nil {
			t.Errorf("a flipped bit in byte %d gives %+v", i, c.Checkpoint)
		}
	}
}

func mustSign(t testing.TB, key crypto.Signer, origin string) string {
	t.Helper()
	s, err := checkpoint.NewSigner("log.test", origin, key)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign(7, [32]byte{7})
	if err != nil {
		t.Fatal(err)
	}
	return string(signed.Note)
}

// TestForeignSignatures opens notes that others have signed too, such as witnesses.
func TestForeignSignatures(t *testing.T) {
	s := newSigner(t, "log.test", "log.test")
	signed, err := s.Sign(7, [32]byte{7})
	if err != nil {
		t.Fatal(err)
	}
	skey, _, err := note.GenerateKey(rand.Reader, "witness.test")
	if err != nil {
		t.Fatal(err)
	}
	witness, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(signed.Note), "\n\n")
	alone, err := note.Sign(&note.Note{Text: text + "\n"}, witness)
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(alone), "\n\n")
	if c, err := s.Verifier().Open(append(bytes.Clone(signed.Note), line...)); err != nil || c.Checkpoint != signed.Checkpoint {
		t.Errorf("with a witness: %+v, %v", c.Checkpoint, err)
	}
	if _, err := s.Verifier().Open(alone); !errors.Is(err, checkpoint.ErrInvalid) {
		t.Errorf("the witness alone: %v", err)
	}
}

func TestNames(t *testing.T) {
	key := newKey(t)
	for _, bad := range []string{"", "a b", "a+b", "a\nb", "a\tb", "\xff", "a\x00", strings.Repeat("a", 256), " a", "a\u2028b"} {
		if _, err := checkpoint.NewSigner(bad, "log.test", key); err == nil {
			t.Errorf("name %q was taken", bad)
		}
		if bad == "a b" || bad == "a+b" {
			continue // an origin may hold them
		}
		if _, err := checkpoint.NewSigner("log.test", bad, key); err == nil {
			t.Errorf("origin %q was taken", bad)
		}
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []crypto.Signer{ed, p384} {
		if _, err := checkpoint.NewSigner("log.test", "log.test", k); err == nil {
			t.Errorf("a %T was taken", k)
		}
	}
}

// brokenKey signs something else than it is asked to.
type brokenKey struct{ *ecdsa.PrivateKey }

func (k brokenKey) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	wrong := bytes.Clone(digest)
	wrong[5] ^= 1
	return k.PrivateKey.Sign(r, wrong, o)
}

// A signature that does not verify never leaves the signer.
func TestSignatureIsVerified(t *testing.T) {
	s, err := checkpoint.NewSigner("log.test", "log.test", brokenKey{newKey(t)})
	if err != nil {
		t.Fatal(err)
	}
	if signed, err := s.Sign(7, [32]byte{7}); err == nil || signed.Note != nil {
		t.Errorf("a wrong signature was returned: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("log.test\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"))
	f.Add([]byte(v1Origin + "\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := checkpoint.Parse(b)
		if err == nil && !bytes.Equal(c.Marshal(), b) {
			t.Errorf("%q is written as %q", b, c.Marshal())
		}
	})
}

func FuzzOpen(f *testing.F) {
	s := newSigner(f, "log.test", "log.test")
	signed, err := s.Sign(7, [32]byte{7})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed.Note)
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := s.Verifier().Open(b); err == nil && c.Checkpoint != signed.Checkpoint {
			t.Errorf("%q opens as %+v", b, c.Checkpoint)
		}
	})
}
