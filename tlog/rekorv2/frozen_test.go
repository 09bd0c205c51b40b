package rekorv2_test

import (
	"bytes"
	"crypto"
	"strings"
	"testing"

	bundlepb "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	rekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/transparency-dev/formats/log"
	xnote "golang.org/x/mod/sumdb/note"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/logtest"
)

// TestFrozen freezes a log: it refuses with upstream's words, its last checkpoint is the one that
// upstream's freeze-checkpoint writes, and clients verify entries against it.
func TestFrozen(t *testing.T) {
	s := newServer(t)
	signer, err := checkpoint.NewSigner(origin, origin, s.key)
	if err != nil {
		t.Fatal(err)
	}
	engine := logtest.New(t, func(c *tlog.Config) { c.Signer, c.SayFrozen = signer, true })
	s.serve(engine)
	s.post(requestJSON(t, artifact(t, "seed")))
	req := artifact(t, "x")
	s.post(requestJSON(t, req))
	before, err := s.log.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := s.post(requestJSON(t, artifact(t, "late"))); a.StatusCode != 405 || string(a.body) != "This log has been frozen, please switch to the latest log.\n" {
		t.Errorf("%d %q", a.StatusCode, a.body)
	}
	client := s.grpc()
	if _, err := client.CreateEntry(t.Context(), request(artifact(t, "late"))); status.Code(err) != codes.Unimplemented || status.Convert(err).Message() != "log frozen" {
		t.Errorf("gRPC: %v", err)
	}

	served, err := client.GetCheckpoint(t.Context(), &emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	v, err := signature.LoadVerifier(s.key.Public(), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	nv, err := note.NewNoteVerifier(origin, v)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := xnote.Open(served.GetData(), xnote.VerifierList(nv)) // as upstream's freeze-checkpoint reads it
	if err != nil {
		t.Fatal(err)
	}
	var cp log.Checkpoint
	rest, err := cp.Unmarshal([]byte(opened.Text))
	if err != nil || cp.Size != uint64(before.Size) || !bytes.Equal(cp.Hash, before.Root[:]) || !strings.HasPrefix(string(rest), "Log frozen — ") {
		t.Errorf("checkpoint %+v, rest %q, %v", cp, rest, err)
	}

	a := s.post(requestJSON(t, req)) // what the log holds is answered, with the last checkpoint
	tle := &rekor.TransparencyLogEntry{}
	if err := protojson.Unmarshal(a.body, tle); err != nil || a.StatusCode != 201 || tle.GetInclusionProof().GetCheckpoint().GetEnvelope() != string(served.GetData()) {
		t.Fatalf("%d %s (%v)", a.StatusCode, a.body, err)
	}
	s.verify(tle)
	err = s.verifyBundle(tle, req.GetSignature(), func(b *bundlepb.Bundle) {
		b.Content = &bundlepb.Bundle_MessageSignature{MessageSignature: &common.MessageSignature{
			MessageDigest: &common.HashOutput{Algorithm: common.HashAlgorithm_SHA2_256, Digest: entrytest.Digest(crypto.SHA256, []byte("x"))},
			Signature:     req.GetSignature().GetContent(),
		}}
	})
	if err != nil {
		t.Errorf("sigstore-go refuses the bundle: %v", err)
	}
}
