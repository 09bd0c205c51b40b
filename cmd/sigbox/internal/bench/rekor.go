package bench

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"

	tilesnote "github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

// derive returns 32 bytes that depend on a seed, a purpose and a number.
func derive(seed uint64, purpose string, i int) [32]byte {
	b := binary.BigEndian.AppendUint64([]byte("sigbox bench "+purpose+" "), seed)
	return sha256.Sum256(binary.BigEndian.AppendUint64(b, uint64(i)))
}

// newKey makes a P-256 key from a seed. Nothing that is signed with it is a secret.
func newKey(seed uint64, purpose string, i int) (*ecdsa.PrivateKey, error) {
	d := derive(seed, purpose, i)
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d[:])
	if err != nil {
		return nil, fmt.Errorf("seed %d makes no key: choose another: %w", seed, err)
	}
	return key, nil
}

// signed is an artifact's digest with its signature.
type signed struct{ digest, sig []byte }

// artifacts are what a Rekor target logs: distinct digests, signed by one key.
type artifacts struct {
	seed uint64
	key  *ecdsa.PrivateKey
	der  []byte // SubjectPublicKeyInfo
	pem  []byte
	sent []signed
}

func newArtifacts(seed uint64, n int) (*artifacts, error) {
	key, err := newKey(seed, "signer", 0)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return &artifacts{seed: seed, key: key, der: der, pem: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), sent: make([]signed, n)}, nil
}

// sign makes the i-th artifact. The signature is the same each time (RFC 6979), so that a seed makes
// the same entries.
func (a *artifacts) sign(i int) (signed, error) {
	digest := derive(a.seed, "artifact", i)
	sig, err := a.key.Sign(nil, digest[:], crypto.SHA256)
	a.sent[i] = signed{digest[:], sig}
	return a.sent[i], err
}

// heads verifies checkpoints and inclusion proofs of one log, and remembers what it saw.
type heads struct {
	verifier signature.Verifier

	mu     sync.Mutex
	names  map[string]note.Verifier // by the name of the signature line
	origin string
	roots  map[uint64][]byte // by size
	taken  map[uint64]bool   // indexes
}

func newHeads(key crypto.PublicKey) (*heads, error) {
	v, err := signature.LoadVerifier(key, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("key of the log: %w", err)
	}
	return &heads{verifier: v, names: map[string]note.Verifier{}, roots: map[uint64][]byte{}, taken: map[uint64]bool{}}, nil
}

// include verifies that leaf is at index in the tree of a checkpoint, and that nobody was given that
// index before.
func (h *heads) include(checkpoint string, index, size uint64, leaf []byte, path [][]byte, root []byte) error {
	origin, cpSize, cpRoot, err := h.open(checkpoint)
	if err != nil {
		return fmt.Errorf("checkpoint %.200q: %w", checkpoint, err)
	}
	if size != cpSize || !bytes.Equal(root, cpRoot) {
		return fmt.Errorf("inclusion proof for size %d, root %x; the checkpoint says %d, %x", size, root, cpSize, cpRoot)
	}
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, rfc6962.DefaultHasher.HashLeaf(leaf), path, root); err != nil {
		return fmt.Errorf("inclusion of %d in %d: %w", index, size, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.origin == "" {
		h.origin = origin
	}
	old, seen := h.roots[size]
	switch {
	case origin != h.origin:
		return fmt.Errorf("checkpoints of two logs, %q and %q", h.origin, origin)
	case seen && !bytes.Equal(old, root):
		return fmt.Errorf("FORK: two roots for size %d, %x and %x", size, old, root)
	case h.taken[index]:
		return fmt.Errorf("index %d was given to two entries", index)
	}
	h.roots[size], h.taken[index] = root, true
	return nil
}

// open verifies a checkpoint's signature and reads it (C2SP tlog-checkpoint).
func (h *heads) open(checkpoint string) (origin string, size uint64, root []byte, err error) {
	_, lines, _ := strings.Cut(checkpoint, "\n\n")
	var name string
	if _, err := fmt.Sscanf(lines, "\u2014 %s ", &name); err != nil {
		return "", 0, nil, errors.New("it has no signature line")
	}
	v, err := h.named(name)
	if err != nil {
		return "", 0, nil, err
	}
	n, err := note.Open([]byte(checkpoint), note.VerifierList(v))
	if err != nil {
		return "", 0, nil, err
	}
	text := strings.SplitN(n.Text, "\n", 4)
	if len(text) < 4 {
		return "", 0, nil, errors.New("it is too short")
	}
	if size, err = strconv.ParseUint(text[1], 10, 63); err == nil {
		root, err = base64.StdEncoding.DecodeString(text[2])
	}
	return text[0], size, root, err
}

func (h *heads) named(name string) (note.Verifier, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if v, ok := h.names[name]; ok {
		return v, nil
	}
	v, err := tilesnote.NewNoteVerifier(name, h.verifier)
	if err == nil {
		h.names[name] = v
	}
	return v, err
}

// publicKey reads a PEM public key from a file, or from url if file is "".
func publicKey(ctx context.Context, c *http.Client, file, url, flag string) (crypto.PublicKey, error) {
	raw, from, err := read(ctx, c, file, url, flag)
	if err != nil {
		return nil, err
	}
	key, err := cryptoutils.UnmarshalPEMToPublicKey(raw)
	if err != nil {
		return nil, fmt.Errorf("%s is not a public key in PEM: name one with %s: %w", from, flag, err)
	}
	return key, nil
}

// read reads a file, or url if file is "".
func read(ctx context.Context, c *http.Client, file, url, flag string) (raw []byte, from string, err error) {
	if file != "" {
		raw, err = os.ReadFile(file)
		return raw, file, err
	}
	raw, err = get(ctx, c, url)
	if err != nil {
		err = fmt.Errorf("%w: name a file with %s if this service does not publish it there", err, flag)
	}
	return raw, url, err
}

func get(ctx context.Context, c *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d", url, resp.StatusCode)
	}
	return raw, err
}
