package rekorv2_test

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	bundlepb "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	rekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/rekor-tiles/v2/pkg/client/write"
	pb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"github.com/sigstore/rekor-tiles/v2/pkg/note"
	tilesverify "github.com/sigstore/rekor-tiles/v2/pkg/verify"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
)

// verify checks an answer as rekor-tiles' client does.
func (s *server) verify(tle *rekor.TransparencyLogEntry) {
	s.t.Helper()
	v, err := signature.LoadVerifier(s.key.Public(), crypto.SHA256)
	if err != nil {
		s.t.Fatal(err)
	}
	nv, err := note.NewNoteVerifier(origin, v)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := tilesverify.VerifyLogEntry(tle, nv); err != nil {
		s.t.Errorf("rekor-tiles refuses the entry: %v", err)
	}
	id, err := keys.ID(s.key.Public())
	if err != nil || !bytes.Equal(tle.GetLogId().GetKeyId(), id[:]) {
		s.t.Errorf("log id %x, want %x", tle.GetLogId().GetKeyId(), id)
	}
	if kv := tle.GetKindVersion(); kv.GetKind() != "hashedrekord" || kv.GetVersion() != "0.0.2" || tle.GetIntegratedTime() != 0 || tle.GetInclusionPromise() != nil {
		s.t.Errorf("entry %v", tle)
	}
}

// verifyBundle puts an entry into a bundle and checks it as sigstore-go does, which builds the
// body anew from the rest of the bundle.
func (s *server) verifyBundle(tle *rekor.TransparencyLogEntry, sig *pb.Signature, content func(*bundlepb.Bundle)) error {
	s.t.Helper()
	tle = proto.CloneOf(tle)
	b := &bundlepb.Bundle{
		MediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
		VerificationMaterial: &bundlepb.VerificationMaterial{
			Content:     &bundlepb.VerificationMaterial_Certificate{Certificate: sig.GetVerifier().GetX509Certificate()},
			TlogEntries: []*rekor.TransparencyLogEntry{tle},
		},
	}
	content(b)
	entity, err := bundle.NewBundle(b)
	if err != nil {
		s.t.Fatal(err)
	}
	id, err := keys.ID(s.key.Public())
	if err != nil {
		s.t.Fatal(err)
	}
	trusted, err := root.NewTrustedRoot(root.TrustedRootMediaType01, nil, nil, nil, map[string]*root.TransparencyLog{
		hex.EncodeToString(id[:]): {
			BaseURL: s.url, ID: id[:], PublicKey: s.key.Public(), HashFunc: crypto.SHA256, SignatureHashFunc: crypto.SHA256,
			ValidityPeriodStart: time.Now().Add(-time.Hour),
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = verify.VerifyTlogEntry(entity, trusted, 1, false)
	return err
}

// TestClientsAcceptEntries: rekor-tiles' own client creates entries, and they verify in it and in
// sigstore-go, for an artifact and for a DSSE envelope.
func TestClientsAcceptEntries(t *testing.T) {
	s := newServer(t)
	w, err := write.NewWriter(s.url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Add(t.Context(), artifact(t, "seed")); err != nil {
		t.Fatal(err)
	}

	digest := entrytest.Digest(crypto.SHA256, []byte("artifact"))
	req := hashedRekord(t, digest)
	tle, err := w.Add(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	s.verify(tle)
	message := func(digest []byte) func(*bundlepb.Bundle) {
		return func(b *bundlepb.Bundle) {
			b.Content = &bundlepb.Bundle_MessageSignature{MessageSignature: &common.MessageSignature{
				MessageDigest: &common.HashOutput{Algorithm: common.HashAlgorithm_SHA2_256, Digest: digest},
				Signature:     req.GetSignature().GetContent(),
			}}
		}
	}
	if err := s.verifyBundle(tle, req.GetSignature(), message(digest)); err != nil {
		t.Errorf("sigstore-go refuses the bundle: %v", err)
	}
	if err := s.verifyBundle(tle, req.GetSignature(), message(entrytest.Digest(crypto.SHA256, []byte("other")))); err == nil {
		t.Error("sigstore-go accepts a bundle with another artifact: the check above shows nothing")
	}

	payload := []byte(`{"a":1}`)
	req = hashedRekord(t, entrytest.Digest(crypto.SHA256, entrytest.PAE("application/vnd.in-toto+json", payload)))
	if tle, err = w.Add(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	s.verify(tle)
	err = s.verifyBundle(tle, req.GetSignature(), func(b *bundlepb.Bundle) {
		b.Content = &bundlepb.Bundle_DsseEnvelope{DsseEnvelope: &dsse.Envelope{
			Payload: payload, PayloadType: "application/vnd.in-toto+json", Signatures: []*dsse.Signature{{Sig: req.GetSignature().GetContent()}},
		}}
	})
	if err != nil {
		t.Errorf("sigstore-go refuses the attestation: %v", err)
	}
}

// TestAnswerIsGatewayJSON: the answer has every field that upstream's gateway emits, unpopulated
// ones included, and integers of 64 bits as strings.
func TestAnswerIsGatewayJSON(t *testing.T) {
	s := newServer(t)
	a := s.post(requestJSON(t, artifact(t, "x")))
	if a.StatusCode != http.StatusCreated || a.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v %s", a.StatusCode, a.Header, a.body)
	}
	var got map[string]any
	if err := json.Unmarshal(a.body, &got); err != nil {
		t.Fatal(err)
	}
	tle := &rekor.TransparencyLogEntry{}
	if err := protojson.Unmarshal(a.body, tle); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`{"logIndex":"0","logId":{"keyId":%q},"kindVersion":{"kind":"hashedrekord","version":"0.0.2"},"integratedTime":"0",`+
		`"inclusionPromise":null,"inclusionProof":{"logIndex":"0","rootHash":%q,"treeSize":"1","hashes":[],"checkpoint":{"envelope":%s}},"canonicalizedBody":%q}`,
		b64(tle.GetLogId().GetKeyId()), b64(tle.GetInclusionProof().GetRootHash()),
		entrytest.JSON(t, tle.GetInclusionProof().GetCheckpoint().GetEnvelope()), b64(tle.GetCanonicalizedBody()))
	if string(a.body) != want {
		t.Errorf("got  %s\nwant %s", a.body, want)
	}
	s.verify(tle)
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// TestDuplicate: the second answer is the stored entry with a proof against the head of now.
func TestDuplicate(t *testing.T) {
	s := newServer(t)
	body := requestJSON(t, artifact(t, "x"))
	first := &rekor.TransparencyLogEntry{}
	if err := protojson.Unmarshal(s.post(body).body, first); err != nil {
		t.Fatal(err)
	}
	s.post(requestJSON(t, artifact(t, "y")))
	a := s.post(append([]byte(" \n"), body...))
	second := &rekor.TransparencyLogEntry{}
	if err := protojson.Unmarshal(a.body, second); err != nil || a.StatusCode != http.StatusCreated {
		t.Fatalf("%d %s (%v)", a.StatusCode, a.body, err)
	}
	s.verify(second)
	if second.GetLogIndex() != 0 || !bytes.Equal(first.GetCanonicalizedBody(), second.GetCanonicalizedBody()) || second.GetInclusionProof().GetTreeSize() != 2 {
		t.Errorf("duplicate: %v", second)
	}
	if s.size() != 2 {
		t.Errorf("%d entries", s.size())
	}
}

// TestConcurrent: 100 writers over HTTP and gRPC, half of them with one and the same entry.
func TestConcurrent(t *testing.T) {
	s := newServer(t)
	client := s.grpc()
	same := artifact(t, "same")
	reqs := make([]*pb.HashedRekordRequestV002, 100)
	for i := range reqs {
		if reqs[i] = same; i%2 == 1 {
			reqs[i] = artifact(t, fmt.Sprint(i))
		}
	}
	tles := make([]*rekor.TransparencyLogEntry, len(reqs))
	errs := make([]error, len(reqs))
	var wg sync.WaitGroup
	for i, r := range reqs {
		wg.Go(func() {
			if i%4 < 2 {
				tles[i], errs[i] = client.CreateEntry(t.Context(), request(r))
				return
			}
			tles[i] = &rekor.TransparencyLogEntry{}
			errs[i] = protojson.Unmarshal(s.post(requestJSON(t, r)).body, tles[i])
		})
	}
	wg.Wait()
	var indexes []int64
	for i, tle := range tles {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		s.verify(tle)
		indexes = append(indexes, tle.GetLogIndex())
	}
	slices.Sort(indexes)
	if n := len(slices.Compact(indexes)); n != 51 || s.size() != 51 {
		t.Errorf("%d indexes, %d entries, want 51", n, s.size())
	}
}
