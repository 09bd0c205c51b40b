package rekorv2_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	rekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	pb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/rekorv2"
)

// FuzzCreate: POST /api/v2/log/entries never fails for want of anything of ours, and takes only what
// upstream's gateway, which reads with protojson, can read; it answers with an entry of that request.
func FuzzCreate(f *testing.F) {
	key, err := keys.NewECDSA()
	if err != nil {
		f.Fatal(err)
	}
	signer, err := checkpoint.NewSigner(origin, origin, key)
	if err != nil {
		f.Fatal(err)
	}
	log := logtest.New(f, func(c *tlog.Config) { c.Signer = signer })
	face, err := rekorv2.New(rekorv2.Config{Log: log, Origin: origin, PublicKey: key.Public(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	mux := http.NewServeMux()
	face.Register(mux)
	good := requestJSON(f, artifact(f, "x"))
	f.Add(good)
	f.Add(bytes.Replace(good, []byte(`"hashedRekordRequestV002"`), []byte(`"hashed_rekord_request_v002"`), 1))
	f.Add(bytes.Replace(good, []byte(`"hashedRekordRequestV002"`), []byte(`"dsseRequestV002"`), 1))
	f.Add([]byte(`{"hashedRekordRequestV002":{"digest":"","signature":{"verifier":{"keyDetails":99}}}}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, entries, bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		req, tle := &pb.CreateEntryRequest{}, &rekor.TransparencyLogEntry{}
		switch {
		case w.Code >= 500:
			t.Fatalf("%d %s", w.Code, w.Body)
		case w.Code != http.StatusCreated:
		case protojson.Unmarshal(body, req) != nil || req.GetHashedRekordRequestV002() == nil:
			t.Fatalf("taken, upstream could not read it: %s", w.Body)
		case protojson.Unmarshal(w.Body.Bytes(), tle) != nil || !bytes.Contains(tle.GetCanonicalizedBody(), []byte(`"hashedRekordV002"`)):
			t.Fatalf("answered with %s", w.Body)
		}
	})
}
