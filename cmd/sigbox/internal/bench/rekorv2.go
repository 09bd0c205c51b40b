package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	rekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	pb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"google.golang.org/protobuf/encoding/protojson"
)

// RekorV2 is the Rekor API v2: hashedrekord 0.0.2 entries.
type RekorV2 struct {
	KeyFile string // PEM of the log's public key; "" takes the one that a sigbox publishes

	*artifacts
	*heads
}

// Name implements [Target].
func (*RekorV2) Name() string { return "rekor-v2" }

// Path implements [Target].
func (*RekorV2) Path() string { return "/api/v2/log/entries" }

// Checks implements [Target].
func (*RekorV2) Checks() []string {
	return []string{
		"the entry's body holds the digest, the signature and the key that were sent",
		"inclusion proof against the checkpoint, whose signature verifies with the log's key",
		"no index twice, no two checkpoints that contradict each other",
	}
}

// Prepare implements [Target].
func (t *RekorV2) Prepare(ctx context.Context, c *http.Client, url string, seed uint64, n int) error {
	key, err := publicKey(ctx, c, t.KeyFile, url+"/trust/rekor_v2.pub", "--key")
	if err != nil {
		return err
	}
	if t.heads, err = newHeads(key); err != nil {
		return err
	}
	t.artifacts, err = newArtifacts(seed, n)
	return err
}

// Request implements [Target].
func (t *RekorV2) Request(i int) ([]byte, error) {
	s, err := t.sign(i)
	if err != nil {
		return nil, err
	}
	return protojson.Marshal(&pb.CreateEntryRequest{Spec: &pb.CreateEntryRequest_HashedRekordRequestV002{
		HashedRekordRequestV002: &pb.HashedRekordRequestV002{
			Digest: s.digest,
			Signature: &pb.Signature{Content: s.sig, Verifier: &pb.Verifier{
				Verifier:   &pb.Verifier_PublicKey{PublicKey: &pb.PublicKey{RawBytes: t.der}},
				KeyDetails: common.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
			}},
		},
	}})
}

// bodyV2 is the part of a canonical body that comes from the request.
type bodyV2 struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       struct {
		HashedRekordV002 struct {
			Data struct {
				Algorithm string `json:"algorithm"`
				Digest    []byte `json:"digest"`
			} `json:"data"`
			Signature struct {
				Content  []byte `json:"content"`
				Verifier struct {
					PublicKey struct {
						RawBytes []byte `json:"rawBytes"`
					} `json:"publicKey"`
				} `json:"verifier"`
			} `json:"signature"`
		} `json:"hashedRekordV002"`
	} `json:"spec"`
}

// Check implements [Target].
func (t *RekorV2) Check(i int, answer []byte) error {
	var e rekor.TransparencyLogEntry
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(answer, &e); err != nil {
		return err
	}
	p := e.GetInclusionProof()
	if p == nil {
		return errNoEntry
	}
	var b bodyV2
	if err := json.Unmarshal(e.GetCanonicalizedBody(), &b); err != nil {
		return fmt.Errorf("canonicalizedBody: %w", err)
	}
	got, want := b.Spec.HashedRekordV002, t.sent[i]
	same := b.Kind == "hashedrekord" && b.APIVersion == "0.0.2" && bytes.Equal(got.Data.Digest, want.digest) &&
		bytes.Equal(got.Signature.Content, want.sig) && bytes.Equal(got.Signature.Verifier.PublicKey.RawBytes, t.der)
	if !same {
		return fmt.Errorf("another entry than the one that was sent: %s", e.GetCanonicalizedBody())
	}
	if e.GetLogIndex() != p.GetLogIndex() {
		return fmt.Errorf("logIndex %d, its inclusion proof is for %d", e.GetLogIndex(), p.GetLogIndex())
	}
	return t.include(p.GetCheckpoint().GetEnvelope(), uint64(p.GetLogIndex()), uint64(p.GetTreeSize()), e.GetCanonicalizedBody(), p.GetHashes(), p.GetRootHash())
}
