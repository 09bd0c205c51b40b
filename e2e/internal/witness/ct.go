package witness

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/client"
	"github.com/google/certificate-transparency-go/ctutil"
	"github.com/google/certificate-transparency-go/jsonclient"
	"github.com/google/certificate-transparency-go/x509"
	"github.com/google/certificate-transparency-go/x509util"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// Certificates remembers the certificates that a CA issued, each with the promise (SCT) of its CT
// log, and the log's tree heads. It is safe for concurrent use.
type Certificates struct {
	key   crypto.PublicKey // of the CT log
	token string

	mu     sync.Mutex
	leaves [][32]byte // Merkle leaf hashes that were promised
	heads  []*ct.SignedTreeHead
}

// NewCertificates returns a witness of the CT log with this key; token is the identity token for
// which certificates are asked.
func NewCertificates(key crypto.PublicKey, token string) *Certificates {
	return &Certificates{key: key, token: token}
}

// Issue asks for a certificate for dev@example.com over HTTP and verifies its SCT.
func (w *Certificates) Issue(ctx context.Context, c *Client) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	challenge := sha256.Sum256([]byte("dev@example.com"))
	proof, err := ecdsa.SignASN1(rand.Reader, key, challenge[:])
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{
		"credentials": map[string]any{"oidcIdentityToken": w.token},
		"publicKeyRequest": map[string]any{
			"publicKey":         map[string]any{"content": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}))},
			"proofOfPossession": proof,
		},
	})
	if err != nil {
		return err
	}
	var got struct {
		Signed struct {
			Chain struct {
				Certificates []string `json:"certificates"`
			} `json:"chain"`
		} `json:"signedCertificateEmbeddedSct"`
	}
	if err := c.JSON(ctx, http.MethodPost, "/api/v2/signingCert", body, http.StatusOK, &got); err != nil {
		return err
	}
	if err := w.accept(got.Signed.Chain.Certificates); err != nil {
		return &Broken{err}
	}
	return nil
}

func (w *Certificates) accept(pems []string) error {
	var chain []*x509.Certificate
	for _, p := range pems {
		block, _ := pem.Decode([]byte(p))
		if block == nil {
			return errors.New("certificate is not PEM")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if x509.IsFatal(err) {
			return err
		}
		chain = append(chain, c)
	}
	if len(chain) < 2 || len(chain[0].SCTList.SCTList) != 1 {
		return fmt.Errorf("chain of %d certificates, not one SCT", len(chain))
	}
	sct, err := x509util.ExtractSCT(&chain[0].SCTList.SCTList[0])
	if err != nil {
		return err
	}
	if err := ctutil.VerifySCT(w.key, chain, sct, true); err != nil {
		return err
	}
	leaf, err := ctutil.LeafHash(chain, sct, true)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leaves = append(w.leaves, leaf)
	return nil
}

// Count returns how many certificates were promised, and how many tree heads were seen.
func (w *Certificates) Count() (promised, heads int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.leaves), len(w.heads)
}

// Check gets the log's tree head and wants an inclusion proof for every promise from the from-th
// on, and a consistency proof from every head seen before.
func (w *Certificates) Check(ctx context.Context, url string, from int) (size uint64, err error) {
	der, err := x509.MarshalPKIXPublicKey(w.key)
	if err != nil {
		return 0, err
	}
	log, err := client.New(url, &http.Client{Timeout: 30 * time.Second}, jsonclient.Options{PublicKeyDER: der})
	if err != nil {
		return 0, err
	}
	head, err := log.GetSTH(ctx) // verifies its signature
	if err != nil {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, leaf := range w.leaves[from:] {
		got, err := log.GetProofByHash(ctx, leaf[:], head.TreeSize)
		if err != nil {
			return 0, fmt.Errorf("LOST: promise %d of the CT log: %w", from+i, err)
		}
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(got.LeafIndex), head.TreeSize, leaf[:], got.AuditPath, head.SHA256RootHash[:]); err != nil {
			return 0, fmt.Errorf("promise %d of the CT log: %w", from+i, err)
		}
	}
	for _, old := range w.heads {
		var path [][]byte
		if old.TreeSize < head.TreeSize {
			if path, err = log.GetSTHConsistency(ctx, old.TreeSize, head.TreeSize); err != nil {
				return 0, err
			}
		}
		if err := proof.VerifyConsistency(rfc6962.DefaultHasher, old.TreeSize, head.TreeSize, path, old.SHA256RootHash[:], head.SHA256RootHash[:]); err != nil {
			return 0, fmt.Errorf("CT head of size %d is not a prefix of that of %d: %w", old.TreeSize, head.TreeSize, err)
		}
	}
	w.heads = append(w.heads, head)
	return head.TreeSize, nil
}
