package rekorv2_test

import (
	"bytes"
	"context"
	"crypto"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	pb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/rekorv2"
)

const (
	origin  = "127.0.0.1"
	entries = "/api/v2/log/entries"
	p256    = common.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256
)

// server is a face over a real engine in memory, behind the outer handler of production.
type server struct {
	t    *testing.T
	face *rekorv2.Server
	url  string
	log  tlog.Log
	key  crypto.Signer

	grpcAddr string // of the last server that grpc has started
}

func newServer(t *testing.T, options ...func(*rekorv2.Config, *tlog.Config)) *server {
	t.Helper()
	key, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := checkpoint.NewSigner(origin, origin, key)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, key: key}
	var face []func(*rekorv2.Config)
	s.serve(logtest.New(t, func(c *tlog.Config) {
		c.Signer = signer
		for _, o := range options {
			o(&rekorv2.Config{}, c)
			face = append(face, func(f *rekorv2.Config) { o(f, &tlog.Config{}) })
		}
	}), face...)
	return s
}

func (s *server) serve(l tlog.Log, options ...func(*rekorv2.Config)) {
	s.t.Helper()
	c := rekorv2.Config{Log: l, Origin: origin, PublicKey: s.key.Public(), MaxBody: 128 << 10, Logger: slog.New(slog.DiscardHandler)}
	for _, o := range options {
		o(&c)
	}
	face, err := rekorv2.New(c)
	if err != nil {
		s.t.Fatal(err)
	}
	mux := http.NewServeMux()
	face.Register(mux)
	srv := httptest.NewServer(httpx.Handler(mux, slog.New(slog.DiscardHandler), httpx.NewMetrics(prometheus.NewRegistry())))
	s.t.Cleanup(srv.Close)
	s.face, s.log, s.url = face, l, srv.URL
}

// grpc returns upstream's generated client, connected over a loopback port.
func (s *server) grpc() pb.RekorClient {
	s.t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	g := grpc.NewServer()
	s.face.RegisterGRPC(g)
	done := make(chan error, 1)
	go func() { done <- g.Serve(lis) }()
	s.t.Cleanup(func() {
		g.Stop()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
	s.grpcAddr = lis.Addr().String()
	conn, err := grpc.NewClient(s.grpcAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return pb.NewRekorClient(conn)
}

type answer struct {
	*http.Response
	body []byte
}

func (s *server) do(method, path, contentType string, body []byte) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{resp, b}
}

func (s *server) post(body []byte) answer {
	s.t.Helper()
	return s.do("POST", entries, "application/json", body)
}

func (s *server) size() int64 {
	s.t.Helper()
	cp, err := s.log.Checkpoint(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	return cp.Size
}

// hashedRekord signs a digest of SHA-256 and returns the request, with a certificate.
func hashedRekord(t testing.TB, digest []byte) *pb.HashedRekordRequestV002 {
	t.Helper()
	key := entrytest.P256(t)
	return &pb.HashedRekordRequestV002{
		Digest: digest,
		Signature: &pb.Signature{
			Content: entrytest.SignDigest(t, key, crypto.SHA256, digest),
			Verifier: &pb.Verifier{KeyDetails: p256, Verifier: &pb.Verifier_X509Certificate{
				X509Certificate: &common.X509Certificate{RawBytes: entrytest.Cert(t, key, entrytest.SAN{URI: "https://x"}, nil, nil)},
			}},
		},
	}
}

func artifact(t testing.TB, text string) *pb.HashedRekordRequestV002 {
	t.Helper()
	return hashedRekord(t, entrytest.Digest(crypto.SHA256, []byte(text)))
}

func request(r *pb.HashedRekordRequestV002) *pb.CreateEntryRequest {
	return &pb.CreateEntryRequest{Spec: &pb.CreateEntryRequest_HashedRekordRequestV002{HashedRekordRequestV002: r}}
}

func requestJSON(t testing.TB, r *pb.HashedRekordRequestV002) []byte {
	t.Helper()
	b, err := protojson.Marshal(request(r))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
