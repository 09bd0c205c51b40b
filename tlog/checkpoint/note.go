package checkpoint

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Verifier opens the notes of one log: one key, one signature name, one origin.
// It is safe for concurrent use.
type Verifier struct {
	name   string
	origin string
	key    *ecdsa.PublicKey
	id     [32]byte
}

// NewVerifier returns a verifier of notes with the given origin that key has signed as name.
// The key must be ECDSA P-256. For a Rekor v1 log, origin is "<host> - <tree id>" and name is
// "<host>"; for other logs they are equal.
func NewVerifier(name, origin string, key crypto.PublicKey) (*Verifier, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := checkOrigin(origin); err != nil {
		return nil, err
	}
	k, ok := key.(*ecdsa.PublicKey)
	if !ok || k.Curve != elliptic.P256() {
		return nil, fmt.Errorf("checkpoint key of %q: want ECDSA P-256, have %T", origin, key)
	}
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		return nil, fmt.Errorf("checkpoint key of %q: %w", origin, err)
	}
	return &Verifier{name: name, origin: origin, key: k, id: sha256.Sum256(der)}, nil
}

// Name returns the name on the signature line.
func (v *Verifier) Name() string { return v.name }

// Origin returns the first line of the notes.
func (v *Verifier) Origin() string { return v.origin }

// Public returns the key.
func (v *Verifier) Public() crypto.PublicKey { return v.key }

// KeyID returns SHA-256 of the key's SubjectPublicKeyInfo: the log id of Rekor v1, v2 and CT.
func (v *Verifier) KeyID() [32]byte { return v.id }

// Open parses a signed note and checks the log's signature and its origin. Signatures by other
// keys are ignored. Anything amiss is [ErrInvalid].
func (v *Verifier) Open(signed []byte) (Signed, error) {
	n, err := note.Open(signed, note.VerifierList((*noteKey)(v)))
	if err != nil {
		return Signed{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	// One signature has one spelling: package note takes stray bits at the end of the base64.
	if _, err := base64.StdEncoding.Strict().DecodeString(n.Sigs[0].Base64); err != nil {
		return Signed{}, fmt.Errorf("%w: signature: %w", ErrInvalid, err)
	}
	c, err := Parse([]byte(n.Text))
	if err != nil {
		return Signed{}, err
	}
	if c.Origin != v.origin {
		return Signed{}, fmt.Errorf("%w: origin %q, want %q", ErrInvalid, c.Origin, v.origin)
	}
	return Signed{Checkpoint: c, Note: signed}, nil
}

// Signer signs the heads of one log. It is safe for concurrent use if its key is.
type Signer struct {
	key      crypto.Signer
	verifier *Verifier
}

// NewSigner returns a signer; name, origin and key as for [NewVerifier].
func NewSigner(name, origin string, key crypto.Signer) (*Signer, error) {
	v, err := NewVerifier(name, origin, key.Public())
	if err != nil {
		return nil, err
	}
	return &Signer{key: key, verifier: v}, nil
}

// Verifier returns the verifier of what the signer signs.
func (s *Signer) Verifier() *Verifier { return s.verifier }

// Sign returns the note for a head. The signature has been verified with the public key.
func (s *Signer) Sign(size int64, root [32]byte) (Signed, error) {
	return s.sign(Checkpoint{Size: size, Root: root})
}

// SignFrozen returns the note for the head of a log that was ended at a time, and says so in it.
func (s *Signer) SignFrozen(size int64, root [32]byte, at time.Time) (Signed, error) {
	return s.sign(Checkpoint{Size: size, Root: root, Frozen: at.UTC().Format(time.UnixDate)})
}

func (s *Signer) sign(c Checkpoint) (Signed, error) {
	c.Origin = s.verifier.origin
	size := c.Size
	signed, err := note.Sign(&note.Note{Text: string(c.Marshal())}, (*noteSigner)(s))
	if err != nil {
		return Signed{}, fmt.Errorf("sign checkpoint of %q at size %d: %w", c.Origin, size, err)
	}
	opened, err := s.verifier.Open(signed)
	if err != nil {
		return Signed{}, fmt.Errorf("sign checkpoint of %q at size %d: the new signature does not verify: %w", c.Origin, size, err)
	}
	if opened.Checkpoint != c {
		return Signed{}, fmt.Errorf("sign checkpoint of %q: asked for size %d, the note says %d", c.Origin, size, opened.Size)
	}
	return opened, nil
}

// noteKey is a Verifier as the note package wants it.
type noteKey Verifier

func (k *noteKey) Name() string    { return k.name }
func (k *noteKey) KeyHash() uint32 { return binary.BigEndian.Uint32(k.id[:4]) }
func (k *noteKey) Verify(msg, sig []byte) bool {
	digest := sha256.Sum256(msg)
	return ecdsa.VerifyASN1(k.key, digest[:], sig)
}

// noteSigner is a Signer as the note package wants it.
type noteSigner Signer

func (s *noteSigner) Name() string    { return s.verifier.name }
func (s *noteSigner) KeyHash() uint32 { return (*noteKey)(s.verifier).KeyHash() }
func (s *noteSigner) Sign(msg []byte) ([]byte, error) {
	digest := sha256.Sum256(msg)
	return s.key.Sign(rand.Reader, digest[:], crypto.SHA256)
}
