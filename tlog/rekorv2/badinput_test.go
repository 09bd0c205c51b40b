package rekorv2_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	pb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/rekorv2"
	"github.com/sigbox/sigbox/tlog/tile"
)

// errorBody checks the shape of grpc-gateway and returns code and message.
func errorBody(t *testing.T, a answer) (codes.Code, string) {
	t.Helper()
	var e struct {
		Code    *codes.Code `json:"code"`
		Message *string     `json:"message"`
		Details *[]any      `json:"details"`
	}
	dec := json.NewDecoder(bytes.NewReader(a.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil || e.Code == nil || e.Message == nil || e.Details == nil {
		t.Fatalf("error body %q (%v)", a.body, err)
	}
	return *e.Code, *e.Message
}

// TestBadInput: every refusal has the shape of grpc-gateway and leaves no trace. Rows name what
// they alone catch; what the kind refuses is in its own package.
func TestBadInput(t *testing.T) {
	s := newServer(t)
	req := artifact(t, "x")
	good := requestJSON(t, req)
	put := func(old, with string) []byte {
		if !bytes.Contains(good, []byte(old)) {
			t.Fatalf("%s holds no %s", good, old)
		}
		return bytes.Replace(good, []byte(old), []byte(with), 1)
	}
	change := func(f func(*pb.HashedRekordRequestV002)) []byte {
		r := proto.CloneOf(req)
		f(r)
		return requestJSON(t, r)
	}
	inner := good[len(`{"hashedRekordRequestV002":`) : len(good)-1]
	const invalid, exhausted = codes.InvalidArgument, codes.ResourceExhausted
	for _, row := range []struct {
		name, contentType string
		body              []byte
		status            int
		code              codes.Code
		message           string
	}{
		{"empty body", "", []byte(" "), 400, invalid, "invalid type, must be hashedrekord"},
		{"no body, no type", "-", nil, 400, invalid, "invalid type, must be hashedrekord"},
		{"empty object", "", []byte(`{}`), 400, invalid, "invalid type, must be hashedrekord"},
		{"request null", "", []byte(`{"hashedRekordRequestV002":null}`), 400, invalid, "invalid type, must be hashedrekord"},
		{"dsse", "", []byte(`{"dsseRequestV002":{"envelope":{"payload":"eA=="},"verifiers":[]}}`), 400, invalid, "invalid type, must be hashedrekord"},
		{"both types", "", []byte(`{"dsseRequestV002":{},` + string(good[1:])), 400, invalid, "oneof"},
		{"unknown field", "", put(`{"hashedRekord`, `{"foo":1,"hashedRekord`), 400, invalid, `unknown field "foo"`},
		{"unknown field inside", "", put(`"digest"`, `"foo":1,"digest"`), 400, invalid, `unknown field "foo"`},
		{"snake and camel", "", []byte(`{"hashed_rekord_request_v002":` + string(inner) + `,` + string(good[1:])), 400, invalid, "duplicate field"},
		{"key and certificate", "", put(`"x509Certificate":`, `"publicKey":{"rawBytes":"eA=="},"x509Certificate":`), 400, invalid, "oneof"},
		{"protobuf", "application/x-protobuf", []byte("\x0a\xff\xff\xff\xff\x7f"), 415, invalid, "application/json"},
		{"field twice", "", put(`"digest"`, `"digest":"eA==","digest"`), 400, invalid, "duplicate field"},
		{"wrong type", "", put(`"digest":`, `"digest":7,"x":`), 400, invalid, "invalid value"},
		{"not base64", "", put(`"digest":"`, `"digest":"!`), 400, invalid, "invalid value"},
		{"label unknown", "", put(`PKIX_ECDSA_P256_SHA_256`, `PKIX_NOSUCH`), 400, invalid, "invalid value"},
		{"broken JSON", "", []byte(`{"hashedRekordRequestV002":`), 400, invalid, "not valid JSON"},
		{"a list", "", []byte(`[]`), 400, invalid, "unexpected token"},
		{"data after the value", "", append(bytes.Clone(good), '1'), 400, invalid, "trailing data"},
		{"deep nesting", "", bytes.Repeat([]byte(`[`), 10_000), 400, invalid, "nesting is deeper"},
		{"no UTF-8", "", put(`"digest"`, "\"\xff\":1,\"digest\""), 400, invalid, "UTF-8"},
		{"too large", "", append([]byte(`{"x":"`), bytes.Repeat([]byte("x"), 128<<10)...), 413, exhausted, "Limit set to 131072"},
		{"form", "application/x-www-form-urlencoded", good, 415, invalid, "application/json"},
		{"no type", "-", good, 415, invalid, "application/json"},
		{"short digest", "", change(func(r *pb.HashedRekordRequestV002) { r.Digest = r.Digest[1:] }), 400, invalid, "invalid hashedrekord request: digest has 31 bytes"},
		{"other digest", "", change(func(r *pb.HashedRekordRequestV002) { r.Digest[0] ^= 1 }), 400, invalid, "invalid hashedrekord request: verifying signature"},
		{"no verifier", "", change(func(r *pb.HashedRekordRequestV002) { r.Signature.Verifier = nil }), 400, invalid, "invalid hashedrekord request: missing verifier"},
		{"label of another key", "", change(func(r *pb.HashedRekordRequestV002) {
			r.Signature.Verifier.KeyDetails = common.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256
		}), 400, invalid, "does not fit the key"},
		{"Ed25519 pure", "", change(func(r *pb.HashedRekordRequestV002) {
			r.Signature.Verifier.KeyDetails = common.PublicKeyDetails_PKIX_ED25519
		}), 400, invalid, "unsupported signing algorithm PKIX_ED25519"},
		{"entry too large", "", requestJSON(t, large(t)), 400, invalid, "entry too large for tile bundle"},
	} {
		t.Run(row.name, func(t *testing.T) {
			contentType := "application/json"
			if row.contentType != "" {
				contentType = strings.TrimPrefix(row.contentType, "-")
			}
			a := s.do("POST", entries, contentType, row.body)
			code, message := errorBody(t, a)
			if a.StatusCode != row.status || code != row.code || !strings.Contains(message, row.message) {
				t.Errorf("%d, code %d, %q; want %d, code %d, %q", a.StatusCode, code, message, row.status, row.code, row.message)
			}
		})
	}
	for _, method := range []string{"GET", "PUT", "DELETE", "OPTIONS"} {
		a := s.do(method, entries, "", nil)
		if code, _ := errorBody(t, a); a.StatusCode != http.StatusMethodNotAllowed || code != codes.Unimplemented || a.Header.Get("Allow") != "POST" {
			t.Errorf("%s: %d %s", method, a.StatusCode, a.body)
		}
	}
	if s.size() != 0 {
		t.Errorf("%d entries: a refused request left a trace", s.size())
	}
	// The other alphabet of base64 is read, as upstream's gateway does, and is the same entry.
	std := base64.StdEncoding.EncodeToString(req.GetSignature().GetContent())
	if a := s.post(put(std, strings.NewReplacer("+", "-", "/", "_").Replace(std))); a.StatusCode != http.StatusCreated {
		t.Errorf("URL-safe base64: %d %s", a.StatusCode, a.body)
	}
	if a := s.post(good); a.StatusCode != http.StatusCreated || s.size() != 1 {
		t.Errorf("%d %s, %d entries", a.StatusCode, a.body, s.size())
	}
}

// large is a request whose body fits over HTTP and not into a tile bundle.
func large(t *testing.T) *pb.HashedRekordRequestV002 {
	key := entrytest.P256(t)
	san := entrytest.SAN{}
	for i := range 800 {
		san.DNS = append(san.DNS, fmt.Sprintf("%060d.example.com", i))
	}
	digest := entrytest.Digest(crypto.SHA256, []byte("x"))
	return &pb.HashedRekordRequestV002{Digest: digest, Signature: &pb.Signature{
		Content: entrytest.SignDigest(t, key, crypto.SHA256, digest),
		Verifier: &pb.Verifier{KeyDetails: p256, Verifier: &pb.Verifier_X509Certificate{
			X509Certificate: &common.X509Certificate{RawBytes: entrytest.Cert(t, key, san, nil, nil)},
		}},
	}}
}

// badLog is a log with one fault.
type badLog struct {
	tlog.Log
	appendErr error
	receipt   func(*tlog.Receipt)
}

func (l badLog) Append(ctx context.Context, e tlog.Entry) (tlog.Receipt, error) {
	if l.appendErr != nil {
		return tlog.Receipt{}, l.appendErr
	}
	r, err := l.Log.Append(ctx, e)
	if l.receipt != nil {
		l.receipt(&r)
	}
	return r, err
}

// TestFaults: what a client is told over HTTP and gRPC when the log fails, and that it never
// reads the cause.
func TestFaults(t *testing.T) {
	secret := errors.New("pq: password of db01.internal")
	wrap := func(err error) error { return fmt.Errorf("%w: %w", err, secret) }
	for name, row := range map[string]struct {
		log     badLog
		status  int
		code    codes.Code
		message string
		retry   bool
	}{
		"busy":            {badLog{appendErr: wrap(tlog.ErrBusy)}, 503, codes.Unavailable, "reached max pushback; retry", true},
		"unavailable":     {badLog{appendErr: wrap(tlog.ErrUnavailable)}, 503, codes.Unavailable, "the log cannot be reached now; retry", true},
		"frozen":          {badLog{appendErr: wrap(tlog.ErrFrozen)}, 405, codes.Unimplemented, "log frozen", false},
		"too large":       {badLog{appendErr: wrap(tlog.ErrTooLarge)}, 400, codes.InvalidArgument, "entry too large for tile bundle", false},
		"corrupt":         {badLog{appendErr: wrap(tlog.ErrCorrupt)}, 500, codes.DataLoss, "integrity check failed", false},
		"any other":       {badLog{appendErr: secret}, 500, codes.Unknown, "failed to integrate entry", false},
		"deadline":        {badLog{appendErr: wrap(context.DeadlineExceeded)}, 504, codes.DeadlineExceeded, "deadline exceeded", false},
		"data of a lie":   {badLog{receipt: func(r *tlog.Receipt) { r.Leaf.Data = []byte("{}") }}, 500, codes.DataLoss, "integrity check failed", false},
		"hash of a lie":   {badLog{receipt: func(r *tlog.Receipt) { r.Leaf.Data = []byte("{}"); r.Leaf.Hash = tile.LeafHash(r.Leaf.Data) }}, 500, codes.DataLoss, "integrity check failed", false},
		"head of a lie":   {badLog{receipt: func(r *tlog.Receipt) { r.Checkpoint.Root[0] ^= 1 }}, 500, codes.DataLoss, "integrity check failed", false},
		"head of another": {badLog{receipt: func(r *tlog.Receipt) { r.Checkpoint.Checkpoint = other(r.Checkpoint) }}, 500, codes.DataLoss, "integrity check failed", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.post(requestJSON(t, artifact(t, "seed")))
			row.log.Log = s.log
			s.serve(row.log)
			a := s.post(requestJSON(t, artifact(t, "x")))
			if a.StatusCode != row.status {
				t.Errorf("%d %s, want %d", a.StatusCode, a.body, row.status)
			}
			if name == "frozen" {
				if string(a.body) != "This log has been frozen, please switch to the latest log.\n" {
					t.Errorf("body %q", a.body)
				}
			} else if code, message := errorBody(t, a); code != row.code || message != row.message {
				t.Errorf("code %d, %q", code, message)
			}
			after, err := strconv.Atoi(a.Header.Get("Retry-After"))
			if (err == nil && after >= 1) != row.retry {
				t.Errorf("Retry-After %q", a.Header.Get("Retry-After"))
			}
			_, err = s.grpc().CreateEntry(t.Context(), request(artifact(t, "y")))
			if st := status.Convert(err); st.Code() != row.code || st.Message() != row.message {
				t.Errorf("gRPC: %v", err)
			}
		})
	}
}

func other(c checkpoint.Signed) checkpoint.Checkpoint {
	c.Origin = "other.example"
	return c.Checkpoint
}

// TestGRPCReads: tiles, bundles and the checkpoint, as they are served over HTTP.
func TestGRPCReads(t *testing.T) {
	s := newServer(t)
	client := s.grpc()
	for i := range 3 {
		if _, err := client.CreateEntry(t.Context(), request(artifact(t, fmt.Sprint(i)))); err != nil {
			t.Fatal(err)
		}
	}
	cp, err := client.GetCheckpoint(t.Context(), &emptypb.Empty{})
	want, wantErr := s.log.Checkpoint(t.Context())
	if err != nil || wantErr != nil || cp.GetContentType() != "text/plain; charset=utf-8" || !bytes.Equal(cp.GetData(), want.Note) {
		t.Errorf("checkpoint %v, %v", cp, err)
	}
	bundle, err := client.GetEntryBundle(t.Context(), &pb.EntryBundleRequest{N: "000.p/3"})
	if err != nil {
		t.Fatal(err)
	}
	leaves, err := tile.ParseBundle(bundle.GetData())
	if err != nil || len(leaves) != 3 {
		t.Fatalf("%d leaves, %v", len(leaves), err)
	}
	var hashes []byte
	for _, l := range leaves {
		h := tile.LeafHash(l)
		hashes = append(hashes, h[:]...)
	}
	got, err := client.GetTile(t.Context(), &pb.TileRequest{L: 0, N: "000.p/3"})
	if err != nil || got.GetContentType() != "application/octet-stream" || !bytes.Equal(got.GetData(), hashes) {
		t.Errorf("tile %v, %v", got, err)
	}
	for _, n := range []string{"", "000", "000.p/4", "000.p/0", "001.p/1", "0", "../000.p/3", "x000/000.p/3"} {
		if _, err := client.GetTile(t.Context(), &pb.TileRequest{N: n}); status.Code(err) != codes.NotFound {
			t.Errorf("tile %q: %v", n, err)
		}
		if _, err := client.GetEntryBundle(t.Context(), &pb.EntryBundleRequest{N: n}); status.Code(err) != codes.NotFound {
			t.Errorf("bundle %q: %v", n, err)
		}
	}
	if _, err := client.GetTile(t.Context(), &pb.TileRequest{L: 1, N: "000.p/1"}); status.Code(err) != codes.NotFound {
		t.Errorf("a level that the tree does not have: %v", err)
	}
	if _, err := client.CreateEntry(t.Context(), &pb.CreateEntryRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("empty request: %v", err)
	}
}

func TestConfig(t *testing.T) {
	s := newServer(t)
	good := rekorv2.Config{Log: s.log, Origin: "log.example.com", PublicKey: s.key.Public()}
	if _, err := rekorv2.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*rekorv2.Config){
		"no log":         func(c *rekorv2.Config) { c.Log = nil },
		"no key":         func(c *rekorv2.Config) { c.PublicKey = nil },
		"Ed25519 key":    func(c *rekorv2.Config) { c.PublicKey = entrytest.Ed25519(t).Public() },
		"origin empty":   func(c *rekorv2.Config) { c.Origin = "" },
		"origin of v1":   func(c *rekorv2.Config) { c.Origin = "log.example.com - 1" },
		"origin space":   func(c *rekorv2.Config) { c.Origin = "a b" },
		"origin newline": func(c *rekorv2.Config) { c.Origin = "a\nb" },
		"origin plus":    func(c *rekorv2.Config) { c.Origin = "a+b" },
		"origin bytes":   func(c *rekorv2.Config) { c.Origin = "a\xff" },
		"origin long":    func(c *rekorv2.Config) { c.Origin = strings.Repeat("a", 300) },
	} {
		c := good
		change(&c)
		if _, err := rekorv2.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
