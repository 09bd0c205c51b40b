package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sigbox/sigbox/internal/private"
	"github.com/sigbox/sigbox/keys/pkcs11"
)

// NewECDSA makes a P-256 key, the one kind that every Sigstore client takes for every role.
func NewECDSA() (crypto.Signer, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a P-256 key: %w", err)
	}
	return k, nil
}

// NewRSA makes a 2048-bit RSA key. Only the development issuer uses it: cosign takes an
// identity token for a file name unless it is signed with RS256.
func NewRSA() (crypto.Signer, error) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make an RSA key: %w", err)
	}
	return k, nil
}

// SPKI returns the DER SubjectPublicKeyInfo of a public key (RFC 5280 4.1.2.7).
func SPKI(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	return der, nil
}

// ID returns SHA-256 of the key's SPKI: the log id of RFC 6962, Rekor v1 and, for ECDSA, Rekor v2.
func ID(pub crypto.PublicKey) ([32]byte, error) {
	der, err := SPKI(pub)
	if err != nil {
		return [32]byte{}, err
	}
	return sha256.Sum256(der), nil
}

// PublicPEM returns the key as a "PUBLIC KEY" PEM block with a final newline.
func PublicPEM(pub crypto.PublicKey) ([]byte, error) {
	der, err := SPKI(pub)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// LoadPublic reads a file of one "PUBLIC KEY" PEM block with an ECDSA P-256 key, the one kind that every
// client verifies.
func LoadPublic(path string) (*ecdsa.PublicKey, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	if !st.Mode().IsRegular() || st.Size() > maxFile {
		return nil, fmt.Errorf("public key %s: want a file of at most %d bytes", path, maxFile)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	block := onlyBlock(raw)
	switch {
	case block != nil && block.Type == "PRIVATE KEY":
		return nil, fmt.Errorf("%s is a private key, which must not leave its owner: name the file of the public key, such as the one beside it that ends in .pub", path)
	case block == nil || block.Type != "PUBLIC KEY":
		return nil, fmt.Errorf("%s: want exactly one PEM block of type PUBLIC KEY", path)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	pub, ok := key.(*ecdsa.PublicKey)
	if !ok || pub.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%s is not an ECDSA P-256 key, the one kind that every client verifies", path)
	}
	return pub, nil
}

// maxFile bounds what Load and LoadPublic read: an RSA key of 16384 bits is some 13 KiB.
const maxFile = 64 << 10

// Load reads a PKCS #8 PEM key, or a line that names a key on a token, which stays there (package pkcs11). It refuses a
// file that is not private (package internal/private), and one that holds anything else beside the key.
func Load(path string) (crypto.Signer, error) {
	raw, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	if uri, ok := reference(raw); ok {
		s, err := pkcs11.Load(uri)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", path, err)
		}
		return s, nil
	}
	block := onlyBlock(raw)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("key %s: want exactly one PEM block of type PRIVATE KEY (PKCS #8, not encrypted), or one line with a PKCS #11 URI", path)
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	s, ok := k.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("key %s: a %T cannot sign", path, k)
	}
	return s, nil
}

// Reference reads a file that names a key on a token, and returns the URI. It refuses any other file.
func Reference(path string) (string, error) {
	raw, err := readPrivate(path)
	if err != nil {
		return "", err
	}
	uri, ok := reference(raw)
	if !ok {
		return "", fmt.Errorf("key %s: want one line with a PKCS #11 URI", path)
	}
	return uri, nil
}

// reference tells the URI of a key on a token from a key. It may still be a wrong one.
func reference(raw []byte) (string, bool) {
	line := strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")
	n := len(pkcs11.Scheme)
	return line, len(line) >= n && strings.EqualFold(line[:n], pkcs11.Scheme)
}

// readPrivate reads a private file.
func readPrivate(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if !st.Mode().IsRegular() || st.Size() > maxFile {
		return nil, fmt.Errorf("key %s: want a file of at most %d bytes", path, maxFile)
	}
	if err := private.Check(path, st); err != nil {
		return nil, fmt.Errorf("key %w", err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	return raw, nil
}

// onlyBlock returns the PEM block that raw is, nil if it is anything else or more. pem.Decode by
// itself skips text and broken blocks.
func onlyBlock(raw []byte) *pem.Block {
	begin := []byte("-----BEGIN ")
	block, rest := pem.Decode(raw)
	if !bytes.HasPrefix(raw, begin) || bytes.Count(raw, begin) != 1 || len(bytes.TrimSpace(rest)) != 0 {
		return nil
	}
	return block
}

// PrivatePEM returns the key as a "PRIVATE KEY" PEM block, PKCS #8 and not encrypted, as Load reads it.
func PrivatePEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Save writes a key as PKCS #8 PEM, mode 0600, to a path that must not exist yet. After an error
// there is no file of its making.
func Save(path string, key crypto.Signer) error {
	text, err := PrivatePEM(key)
	if err != nil {
		return fmt.Errorf("save key %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if _, err = f.Write(text); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write key %s: %w", path, errors.Join(err, os.Remove(path)))
	}
	return nil
}
