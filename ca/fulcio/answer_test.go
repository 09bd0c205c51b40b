package fulcio_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	pb "github.com/sigstore/fulcio/pkg/generated/protobuf"
	"google.golang.org/protobuf/encoding/protojson"
)

// TestAnswerIsProtobufs: what v2 answers is, to the byte, what protobuf's encoder writes for it, field names
// and fields without a value included.
func TestAnswerIsProtobufs(t *testing.T) {
	s := newStack(t)
	k := newKeyPair(t)
	a := s.do(t, http.MethodPost, "/api/v2/signingCert", nil, text(t, bodyV2(s.token(t, nil), k, k.prove(t, "dev@example.com"))))
	var m pb.SigningCertificate
	if err := protojson.Unmarshal([]byte(a.body), &m); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	if n := len(m.GetSignedCertificateEmbeddedSct().GetChain().GetCertificates()); n < 2 {
		t.Fatalf("%d certificates in %s", n, a.body)
	}
	raw, err := protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(&m)
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := json.Compact(&want, raw); err != nil {
		t.Fatal(err)
	}
	if a.body != want.String() {
		t.Errorf("answer\n%s\nprotobuf\n%s", a.body, &want)
	}
}
