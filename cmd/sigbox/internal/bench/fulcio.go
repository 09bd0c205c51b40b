package bench

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	"github.com/google/certificate-transparency-go/x509"

	"github.com/sigbox/sigbox/keys"
)

// Fulcio is the Fulcio API v2: certificates for one identity, each for a key of its own.
type Fulcio struct {
	Token     string // identity token; the run must end before it expires
	ChainFile string // PEM certificates of the CA, root last; "" asks the CA
	CTKeyFile string // PEM of the CT log's public key; "" takes the one that a sigbox publishes
	NoSCT     bool   // the CA has no CT log

	seed      uint64
	challenge string // whose signature proves possession: e-mail address or subject
	email     string // that the certificate must name; "" if the token has none
	keys      [][]byte
	roots     *x509.CertPool
	sct       *ct.SignatureVerifier
	logID     [32]byte

	mu      sync.Mutex
	serials map[string]bool
}

// Name implements [Target].
func (*Fulcio) Name() string { return "fulcio" }

// Path implements [Target].
func (*Fulcio) Path() string { return "/api/v2/signingCert" }

// Checks implements [Target].
func (t *Fulcio) Checks() []string {
	list := []string{
		"the certificate is for the key that was sent, and for the token's e-mail address if it has one",
		"it leads to the CA's root",
		"no serial number twice",
	}
	if t.NoSCT {
		return append(list, "NOT its signed certificate timestamp: told not to")
	}
	return append(list, "its signed certificate timestamp, with the CT log's key")
}

// Prepare implements [Target].
func (t *Fulcio) Prepare(ctx context.Context, c *http.Client, url string, seed uint64, n int) error {
	t.seed, t.keys, t.serials = seed, make([][]byte, n), map[string]bool{}
	if err := t.readToken(); err != nil {
		return err
	}
	raw, from, err := read(ctx, c, t.ChainFile, url+"/api/v1/rootCert", "--chain")
	if err != nil {
		return err
	}
	chain, err := parseChain(string(raw))
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	t.roots = x509.NewCertPool()
	t.roots.AddCert(chain[len(chain)-1])
	if t.NoSCT {
		return nil
	}
	key, err := publicKey(ctx, c, t.CTKeyFile, url+"/trust/ctfe.pub", "--ct-key")
	if err != nil {
		return err
	}
	if t.logID, err = keys.ID(key); err != nil {
		return err
	}
	t.sct, err = ct.NewSignatureVerifier(key)
	return err
}

// readToken reads, without verifying, what of the token the requests need (RFC 7519).
func (t *Fulcio) readToken() error {
	t.Token = strings.TrimSpace(t.Token)
	parts := strings.Split(t.Token, ".")
	if len(parts) != 3 {
		return errors.New("the identity token is no JWT: want three parts with dots between them")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return fmt.Errorf("identity token: %w", err)
	}
	var claims struct {
		Sub, Email string
		Exp        float64
	}
	if err := json.Unmarshal(raw, &claims); err != nil {
		return fmt.Errorf("identity token: %w", err)
	}
	if left := time.Until(time.Unix(int64(claims.Exp), 0)); left <= 0 {
		return fmt.Errorf("the identity token expired %s ago: get a new one", -left.Round(time.Second))
	}
	t.challenge, t.email = claims.Sub, claims.Email
	if claims.Email != "" {
		t.challenge = claims.Email
	}
	return nil
}

// Request implements [Target].
func (t *Fulcio) Request(i int) ([]byte, error) {
	key, err := newKey(t.seed, "certificate", i)
	if err != nil {
		return nil, err
	}
	if t.keys[i], err = x509.MarshalPKIXPublicKey(key.Public()); err != nil {
		return nil, err
	}
	digest := sha256.Sum256([]byte(t.challenge))
	possession, err := key.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{
		"credentials": map[string]any{"oidcIdentityToken": t.Token},
		"publicKeyRequest": map[string]any{
			"publicKey":         map[string]any{"algorithm": "ECDSA", "content": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: t.keys[i]}))},
			"proofOfPossession": possession,
		},
	})
}

type chainJSON struct {
	Chain struct {
		Certificates []string `json:"certificates"`
	} `json:"chain"`
}

// Check implements [Target].
func (t *Fulcio) Check(i int, answer []byte) error {
	var got struct {
		Embedded *chainJSON `json:"signedCertificateEmbeddedSct"`
		Detached *struct {
			chainJSON
			SCT []byte `json:"signedCertificateTimestamp"`
		} `json:"signedCertificateDetachedSct"`
	}
	if err := json.Unmarshal(answer, &got); err != nil {
		return err
	}
	var pems []string
	var detached []byte
	switch {
	case got.Embedded != nil:
		pems = got.Embedded.Chain.Certificates
	case got.Detached != nil:
		pems, detached = got.Detached.Chain.Certificates, got.Detached.SCT
	}
	chain, err := parseChain(strings.Join(pems, "\n"))
	if err != nil {
		return err
	}
	if err := t.checkCertificate(i, chain); err != nil || t.NoSCT {
		return err
	}
	if got.Embedded != nil {
		return t.checkEmbedded(chain)
	}
	return t.checkDetached(chain, detached)
}

// parseChain reads certificates, leaf first.
func parseChain(pems string) (chain []*x509.Certificate, err error) {
	for rest := []byte(pems); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if x509.IsFatal(err) {
			return nil, fmt.Errorf("certificate: %w", err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, errors.New("no certificates in PEM")
	}
	return chain, nil
}

func (t *Fulcio) checkCertificate(i int, chain []*x509.Certificate) error {
	leaf := chain[0]
	if !bytes.Equal(leaf.RawSubjectPublicKeyInfo, t.keys[i]) {
		return errors.New("the certificate is for another key than the one that was sent")
	}
	if t.email != "" && !slices.Contains(leaf.EmailAddresses, t.email) {
		return fmt.Errorf("the certificate names %q, the token %q", leaf.EmailAddresses, t.email)
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: t.roots, Intermediates: between, CurrentTime: leaf.NotBefore, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	})
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	serial := leaf.SerialNumber.String()
	if t.serials[serial] {
		return fmt.Errorf("serial number %s was given to two certificates", serial)
	}
	t.serials[serial] = true
	return nil
}

// checkEmbedded verifies the SCTs in a certificate (RFC 6962 3.3); one must be of the log.
func (t *Fulcio) checkEmbedded(chain []*x509.Certificate) error {
	for _, raw := range chain[0].SCTList.SCTList {
		var sct ct.SignedCertificateTimestamp
		if rest, err := tls.Unmarshal(raw.Val, &sct); err != nil || len(rest) > 0 {
			return fmt.Errorf("SCT cannot be decoded: %w", err)
		}
		if sct.LogID.KeyID != t.logID {
			continue
		}
		leaf, err := ct.MerkleTreeLeafForEmbeddedSCT(chain, sct.Timestamp)
		if err != nil {
			return fmt.Errorf("SCT: %w", err)
		}
		return t.verifySCT(sct, leaf)
	}
	return errors.New("the certificate has no SCT of the CT log")
}

// checkDetached verifies an SCT beside a certificate: the log's answer to add-chain.
func (t *Fulcio) checkDetached(chain []*x509.Certificate, raw []byte) error {
	var r ct.AddChainResponse
	if err := json.Unmarshal(raw, &r); err != nil {
		return fmt.Errorf("SCT: %w", err)
	}
	sct, err := r.ToSignedCertificateTimestamp()
	if err != nil {
		return fmt.Errorf("SCT: %w", err)
	}
	leaf, err := ct.MerkleTreeLeafFromChain(chain, ct.X509LogEntryType, sct.Timestamp)
	if err != nil {
		return fmt.Errorf("SCT: %w", err)
	}
	return t.verifySCT(*sct, leaf)
}

func (t *Fulcio) verifySCT(sct ct.SignedCertificateTimestamp, leaf *ct.MerkleTreeLeaf) error {
	if err := t.sct.VerifySCTSignature(sct, ct.LogEntry{Leaf: *leaf}); err != nil {
		return fmt.Errorf("SCT: %w", err)
	}
	return nil
}
