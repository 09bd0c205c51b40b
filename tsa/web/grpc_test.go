package web_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	"github.com/sigstore/timestamp-authority/v2/pkg/verification"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/internal/quota"
	tsapb "github.com/sigbox/sigbox/proto/sigbox/tsa/v1"
	"github.com/sigbox/sigbox/tsa"
	"github.com/sigbox/sigbox/tsa/web"
)

// dial serves a face over gRPC and returns a client of it.
func dial(t *testing.T, face *web.Face) tsapb.TimestampsClient {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	face.RegisterGRPC(s)
	go func() { _ = s.Serve(ln) }() // until Stop
	t.Cleanup(s.Stop)
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return tsapb.NewTimestampsClient(conn)
}

// refusedWith compares a refusal of either kind of answer.
func refusedWith(t *testing.T, err error, trailer metadata.MD, code codes.Code, text, word string) {
	t.Helper()
	if st := status.Convert(err); st.Code() != code || !strings.Contains(st.Message(), text) {
		t.Errorf("got %v, want %s %q", err, code, text)
	}
	if got := strings.Join(trailer.Get("sigbox-error"), " "); got != word {
		t.Errorf("the trailer says %q, want %q", got, word)
	}
}

// TestGRPC: what is stamped over gRPC verifies as what is over HTTP, and the chain is the same.
func TestGRPC(t *testing.T) {
	r := newRig(t)
	c := dial(t, r.face)
	chain, err := c.GetChain(t.Context(), &tsapb.GetChainRequest{})
	if err != nil || len(chain.GetCertificates()) != len(r.authority.Chain()) {
		t.Fatalf("chain %v, %v", chain, err)
	}
	for i, want := range r.authority.Chain() {
		if !bytes.Equal(chain.GetCertificates()[i], want.Raw) {
			t.Errorf("certificate %d is another one", i)
		}
	}
	for _, certificates := range []bool{false, true} {
		nonce := big.NewInt(99)
		answer, err := c.Stamp(t.Context(), &tsapb.StampRequest{TimeStampReq: der(t, timestamp.Request{Nonce: nonce, Certificates: certificates})})
		if err != nil {
			t.Fatal(err)
		}
		opts := verification.VerifyOpts{Nonce: nonce, Roots: r.authority.Chain()[1:], TSACertificate: r.authority.Chain()[0]}
		ts, err := verification.VerifyTimestampResponse(answer.GetTimeStampResp(), bytes.NewReader(artifact), opts)
		if err != nil {
			t.Fatal(err)
		}
		if (len(ts.Certificates) == 1) != certificates {
			t.Errorf("%d certificates", len(ts.Certificates))
		}
	}
}

// TestGRPCBadInput: a cause each; what else the parser refuses is in package tsa.
func TestGRPCBadInput(t *testing.T) {
	const failed = "Error generating timestamp response"
	for _, row := range []struct {
		name, text, word string
		body             []byte
	}{
		{"empty", failed, "malformed", nil},
		{"JSON", failed, "malformed", []byte(`{"artifactHash":"` + sum64 + `","hashAlgorithm":"sha256"}`)},
		{"trailing data", failed, "malformed", append(der(t, timestamp.Request{}), 0)},
		{"1 MiB and one byte", "timestamp request is too large", "too_large", bytes.Repeat([]byte{0x30}, 1<<20+1)},
		{"SHA-1", "Weak hash algorithm", "weak_hash", der(t, timestamp.Request{HashAlgorithm: crypto.SHA1, HashedMessage: make([]byte, 20)})},
		{"digest too short", "Message digest has incorrect length", "digest_length", der(t, timestamp.Request{HashAlgorithm: crypto.SHA256, HashedMessage: make([]byte, 20)})},
		{"another policy", "unaccepted policy", "policy", der(t, timestamp.Request{TSAPolicyOID: []int{1, 2, 3}})},
		{"extensions", "unaccepted extension", "extension", der(t, timestamp.Request{ExtraExtensions: []pkix.Extension{{Id: []int{2, 5, 29, 14}, Value: []byte{4, 0}}}})},
		{"nonce of 161 bits", "timestamp request is too large", "nonce", der(t, timestamp.Request{Nonce: new(big.Int).Lsh(big.NewInt(1), 160)})},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t)
			var trailer metadata.MD
			_, err := dial(t, r.face).Stamp(t.Context(), &tsapb.StampRequest{TimeStampReq: row.body}, grpc.Trailer(&trailer))
			refusedWith(t, err, trailer, codes.InvalidArgument, row.text, row.word)
			if strings.Contains(r.log.String(), "issued") || !strings.Contains(r.log.String(), "refused") {
				t.Errorf("log: %s", r.log)
			}
		})
	}
}

// TestGRPCClockStepsBack: B-198, the guard is that of HTTP.
func TestGRPCClockStepsBack(t *testing.T) {
	r := newRig(t)
	c := dial(t, r.face)
	now, query := r.clock.Now(), &tsapb.StampRequest{TimeStampReq: der(t, timestamp.Request{})}
	for _, step := range []struct {
		at   time.Time
		code codes.Code
		word string
	}{{now, codes.OK, ""}, {now.Add(-time.Minute), codes.Unavailable, "clock"}, {now.Add(time.Second), codes.OK, ""}} {
		r.clock.Set(step.at)
		var trailer metadata.MD
		_, err := c.Stamp(t.Context(), query, grpc.Trailer(&trailer))
		text := ""
		if step.word != "" {
			text = "time source not trusted"
		}
		refusedWith(t, err, trailer, step.code, text, step.word)
	}
}

// TestQuota: HTTP and gRPC draw on one quota, and gRPC says when to come again.
func TestQuota(t *testing.T) {
	r := newRig(t)
	quotas := quota.New(quota.Config{Service: "tsa", Clients: &httpx.Requests{}, Clock: r.clock})
	quotas.Set(quota.Rates{Address: quota.Rate{Count: 2, Per: time.Hour}})
	face := web.New(r.authority, quotas, nil)
	mux := http.NewServeMux()
	face.Register(mux)
	r.Server = httptest.NewServer(mux)
	t.Cleanup(r.Server.Close)
	c, query := dial(t, face), &tsapb.StampRequest{TimeStampReq: der(t, timestamp.Request{})}
	if _, err := c.Stamp(t.Context(), query); err != nil {
		t.Fatal(err)
	}
	if resp, body := r.post(t, "application/timestamp-query", query.GetTimeStampReq()); resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s %s", resp.Status, body)
	}
	var trailer metadata.MD
	_, err := c.Stamp(t.Context(), query, grpc.Trailer(&trailer))
	refusedWith(t, err, trailer, codes.ResourceExhausted, "", "quota")
	details := status.Convert(err).Details()
	if len(details) != 1 {
		t.Fatalf("details %v", details)
	}
	if info, ok := details[0].(*errdetails.RetryInfo); !ok || info.GetRetryDelay().AsDuration() <= 0 {
		t.Errorf("details %v", details)
	}
}

// TestGRPCFault: what is our own fault is INTERNAL and says nothing about it.
func TestGRPCFault(t *testing.T) {
	r := newRig(t)
	broken, err := tsa.New(tsa.Config{Key: failing{r.authority.Chain()[0].PublicKey}, Chain: r.authority.Chain(), Clock: r.clock})
	if err != nil {
		t.Fatal(err)
	}
	r.face.Use(broken)
	var trailer metadata.MD
	_, err = dial(t, r.face).Stamp(context.Background(), &tsapb.StampRequest{TimeStampReq: der(t, timestamp.Request{})}, grpc.Trailer(&trailer))
	refusedWith(t, err, trailer, codes.Internal, "Error generating timestamp response", "internal")
	if strings.Contains(status.Convert(err).Message(), "token") || !strings.Contains(r.log.String(), "no token in the slot") {
		t.Errorf("answer %v; log %s", err, r.log)
	}
}

// failing is a key whose device is gone.
type failing struct{ public crypto.PublicKey }

func (f failing) Public() crypto.PublicKey { return f.public }

func (failing) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("no token in the slot")
}
