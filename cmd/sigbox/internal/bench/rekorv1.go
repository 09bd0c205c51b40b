package bench

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sigbox/sigbox/keys"
)

// RekorV1 is the Rekor API v1: hashedrekord 0.0.1 entries.
type RekorV1 struct {
	KeyFile string // PEM of the log's public key; "" asks the log for it

	*artifacts
	*heads
	promises signature.Verifier
	logID    string
}

// Name implements [Target].
func (*RekorV1) Name() string { return "rekor-v1" }

// Path implements [Target].
func (*RekorV1) Path() string { return "/api/v1/log/entries" }

// Checks implements [Target].
func (*RekorV1) Checks() []string {
	return []string{
		"the entry's body holds the digest, the signature and the key that were sent",
		"its UUID is the leaf hash of the body",
		"signed entry timestamp and log id, with the log's key",
		"inclusion proof against the checkpoint, whose signature verifies with the log's key",
		"no index twice, no two checkpoints that contradict each other",
	}
}

// Prepare implements [Target].
func (t *RekorV1) Prepare(ctx context.Context, c *http.Client, url string, seed uint64, n int) (err error) {
	key, err := publicKey(ctx, c, t.KeyFile, url+"/api/v1/log/publicKey", "--key")
	if err != nil {
		return err
	}
	if t.heads, err = newHeads(key); err != nil {
		return err
	}
	if t.promises, err = signature.LoadVerifier(key, crypto.SHA256); err != nil {
		return err
	}
	id, err := keys.ID(key)
	if err != nil {
		return err
	}
	t.logID = hex.EncodeToString(id[:])
	t.artifacts, err = newArtifacts(seed, n)
	return err
}

// bodyV1 is a proposed or canonical hashedrekord.
type bodyV1 struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       specV1 `json:"spec"`
}

type specV1 struct {
	Data struct {
		Hash struct {
			Algorithm string `json:"algorithm"`
			Value     string `json:"value"`
		} `json:"hash"`
	} `json:"data"`
	Signature struct {
		Content   []byte `json:"content"`
		PublicKey struct {
			Content []byte `json:"content"`
		} `json:"publicKey"`
	} `json:"signature"`
}

// Request implements [Target].
func (t *RekorV1) Request(i int) ([]byte, error) {
	s, err := t.sign(i)
	if err != nil {
		return nil, err
	}
	return json.Marshal(t.body(s))
}

func (t *RekorV1) body(s signed) bodyV1 {
	b := bodyV1{APIVersion: "0.0.1", Kind: "hashedrekord"}
	b.Spec.Data.Hash.Algorithm, b.Spec.Data.Hash.Value = "sha256", hex.EncodeToString(s.digest)
	b.Spec.Signature.Content, b.Spec.Signature.PublicKey.Content = s.sig, t.pem
	return b
}

// entryV1 is a LogEntry of Rekor's openapi.yaml.
type entryV1 struct {
	Body           string `json:"body"` // base64
	IntegratedTime int64  `json:"integratedTime"`
	LogID          string `json:"logID"`
	LogIndex       int64  `json:"logIndex"`
	Verification   struct {
		InclusionProof struct {
			Checkpoint string   `json:"checkpoint"`
			Hashes     []string `json:"hashes"`
			LogIndex   uint64   `json:"logIndex"`
			RootHash   string   `json:"rootHash"`
			TreeSize   uint64   `json:"treeSize"`
		} `json:"inclusionProof"`
		SignedEntryTimestamp []byte `json:"signedEntryTimestamp"`
	} `json:"verification"`
}

// Check implements [Target].
func (t *RekorV1) Check(i int, answer []byte) error {
	var got map[string]entryV1
	if err := json.Unmarshal(answer, &got); err != nil {
		return err
	}
	if len(got) != 1 {
		return errNoEntry
	}
	for uuid, e := range got {
		leaf, err := base64.StdEncoding.DecodeString(e.Body)
		if err != nil {
			return fmt.Errorf("body: %w", err)
		}
		if err := t.checkBody(i, leaf, uuid); err != nil {
			return err
		}
		if err := t.checkPromise(e); err != nil {
			return err
		}
		p := e.Verification.InclusionProof
		root, err := hex.DecodeString(p.RootHash)
		if err != nil {
			return fmt.Errorf("rootHash: %w", err)
		}
		path := make([][]byte, len(p.Hashes))
		for i, h := range p.Hashes {
			if path[i], err = hex.DecodeString(h); err != nil {
				return fmt.Errorf("inclusion proof: %w", err)
			}
		}
		return t.include(p.Checkpoint, p.LogIndex, p.TreeSize, leaf, path, root)
	}
	panic("unreachable")
}

// checkBody compares an entry with what was sent.
func (t *RekorV1) checkBody(i int, leaf []byte, uuid string) error {
	var b bodyV1
	if err := json.Unmarshal(leaf, &b); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	want := t.body(t.sent[i])
	same := b.Kind == want.Kind && b.APIVersion == want.APIVersion && b.Spec.Data == want.Spec.Data &&
		bytes.Equal(b.Spec.Signature.Content, want.Spec.Signature.Content) &&
		bytes.Equal(b.Spec.Signature.PublicKey.Content, want.Spec.Signature.PublicKey.Content)
	if !same {
		return fmt.Errorf("another entry than the one that was sent: %s", leaf)
	}
	if hash := hex.EncodeToString(rfc6962.DefaultHasher.HashLeaf(leaf)); !strings.HasSuffix(uuid, hash) {
		return fmt.Errorf("UUID %s, the body's leaf hash is %s", uuid, hash)
	}
	return nil
}

// checkPromise verifies the signed entry timestamp: a signature over the entry's canonical JSON
// (RFC 8785) without "verification".
func (t *RekorV1) checkPromise(e entryV1) error {
	if e.LogID != t.logID {
		return fmt.Errorf("log id %s, the log's key has %s", e.LogID, t.logID)
	}
	if len(e.Verification.SignedEntryTimestamp) == 0 {
		return errors.New("no signed entry timestamp")
	}
	payload := fmt.Appendf(nil, `{"body":"%s","integratedTime":%d,"logID":"%s","logIndex":%d}`, e.Body, e.IntegratedTime, e.LogID, e.LogIndex)
	if err := t.promises.VerifySignature(bytes.NewReader(e.Verification.SignedEntryTimestamp), bytes.NewReader(payload)); err != nil {
		return fmt.Errorf("signed entry timestamp: %w", err)
	}
	return nil
}
