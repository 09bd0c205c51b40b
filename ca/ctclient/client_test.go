package ctclient_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/ca/ctclient"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	pb "github.com/sigbox/sigbox/proto/sigbox/tlog/v1"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/ctlog"
	"github.com/sigbox/sigbox/tlog/entry/certificate"
	"github.com/sigbox/sigbox/tlog/logrpc"
	"github.com/sigbox/sigbox/tlog/logtest"
)

// site is a CT log as its service has it, and the authority that it is for.
type site struct {
	hierarchy *ca.Hierarchy
	key       crypto.Signer
	engine    *tlog.Engine
	face      *ctlog.Server
	service   *logrpc.Server
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{}
	var err error
	if s.hierarchy, err = ca.NewHierarchy(clock.System{}, "test"); err != nil {
		t.Fatal(err)
	}
	if s.key, err = keys.NewECDSA(); err != nil {
		t.Fatal(err)
	}
	s.engine = logtest.New(t, func(c *tlog.Config) { c.LeafInput = certificate.LeafInput })
	s.face, err = ctlog.New(ctlog.Config{Log: s.engine, Signer: s.key, Roots: []*x509.Certificate{s.hierarchy.Root}, Clock: clock.System{}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	id, err := keys.ID(s.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	s.service, err = logrpc.New(logrpc.Config{Logger: slog.New(slog.DiscardHandler), Logs: []logrpc.Log{{
		Name: "ct", Origin: logtest.Origin, Face: "ct", KeyID: id, Engine: s.engine, Parse: logrpc.CT(s.face.Parse), Split: certificate.Parse, Promise: s.face.Promise,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// precert makes a precertificate with its chain.
func (s *site) precert(t *testing.T) [][]byte {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now(), NotAfter: time.Now().Add(10 * time.Minute), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{{Id: certificate.OIDPoison, Critical: true, Value: asn1.NullBytes}}, EmailAddresses: []string{"dev@example.com"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, s.hierarchy.Intermediate, s.key.Public(), s.hierarchy.IntermediateKey)
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{der, s.hierarchy.Intermediate.Raw, s.hierarchy.Root.Raw}
}

// listen serves a log, and returns where.
func listen(t *testing.T, register func(*grpc.Server)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	register(g)
	go func() { _ = g.Serve(ln) }() // until it is stopped
	t.Cleanup(g.Stop)
	return ln.Addr().String()
}

func (s *site) serve(t *testing.T) string {
	return listen(t, func(g *grpc.Server) { s.service.RegisterGRPC(g) })
}

// other answers as a test wants.
type other struct {
	pb.UnimplementedLogsServer
	calls  atomic.Int64
	append func(context.Context) (*pb.AppendResponse, error)
}

func (o *other) Append(ctx context.Context, _ *pb.AppendRequest) (*pb.AppendResponse, error) {
	o.calls.Add(1)
	return o.append(ctx)
}

func (o *other) GetLog(context.Context, *pb.GetLogRequest) (*pb.Log, error) {
	return &pb.Log{KeyId: make([]byte, 32)}, nil
}

func (o *other) serve(t *testing.T) string {
	return listen(t, func(g *grpc.Server) { pb.RegisterLogsServer(g, o) })
}

// hangs is a replica that takes requests and never answers.
func hangs() *other {
	return &other{append: func(ctx context.Context) (*pb.AppendResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
}

func fails(code codes.Code) *other {
	return &other{append: func(context.Context) (*pb.AppendResponse, error) { return nil, status.Error(code, "so it is") }}
}

// dead is an address where nothing listens.
func dead(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// mute is an address where connections are taken and nothing is said.
func mute(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln.Addr().String()
}

const hedge = 250 * time.Millisecond

func (s *site) client(t *testing.T, addresses ...string) *ctclient.Client {
	t.Helper()
	c, err := ctclient.New(ctclient.Config{Addresses: addresses, Log: "ct", Key: s.key.Public(), Credentials: insecure.NewCredentials(), Hedge: hedge})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// promised checks that an SCT is this log's, for a chain: the log's own answer to it, in this process.
func (s *site) promised(t *testing.T, chain [][]byte, raw []byte) {
	t.Helper()
	want, err := s.face.AddPreChain(t.Context(), chain)
	if err != nil {
		t.Fatal(err)
	}
	var a, b ct.SignedCertificateTimestamp
	if _, err := tls.Unmarshal(raw, &a); err != nil {
		t.Fatal(err)
	}
	if _, err := tls.Unmarshal(want, &b); err != nil {
		t.Fatal(err)
	}
	if a.Timestamp != b.Timestamp || a.LogID != b.LogID || string(raw) != string(want) {
		t.Errorf("the promise is %+v, the log's own %+v", a, b)
	}
}

// TestPromises: as long as one replica answers there is a promise, and it comes soon, the first time
// and each time after.
func TestPromises(t *testing.T) {
	s := newSite(t)
	for _, tc := range []struct {
		name      string
		addresses []string
	}{
		{"one", []string{s.serve(t)}},
		{"two", []string{s.serve(t), s.serve(t)}},
		{"one is dead", []string{dead(t), s.serve(t)}},
		{"two are dead", []string{dead(t), s.serve(t), dead(t)}},
		{"one hangs", []string{hangs().serve(t), s.serve(t)}},
		{"one is mute", []string{mute(t), s.serve(t)}},
		{"one is broken", []string{fails(codes.Internal).serve(t), s.serve(t)}},
		{"one has another log", []string{fails(codes.NotFound).serve(t), s.serve(t)}},
		{"one refuses us", []string{fails(codes.PermissionDenied).serve(t), s.serve(t)}},
		{"one promises nothing", []string{(&other{append: func(context.Context) (*pb.AppendResponse, error) { return &pb.AppendResponse{}, nil }}).serve(t), s.serve(t)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := s.client(t, tc.addresses...)
			if err := c.Check(deadline(t, time.Second)); err != nil && !errors.Is(err, ctclient.ErrKey) {
				t.Errorf("check: %v", err)
			}
			slow := 0
			for range 10 {
				chain, began := s.precert(t), time.Now()
				sct, err := c.AddPreChain(deadline(t, 5*time.Second), chain)
				if err != nil {
					t.Fatal(err)
				}
				switch took := time.Since(began); {
				case took > 5*hedge:
					t.Errorf("a promise took %s", took)
				case took > hedge:
					slow++
				}
				s.promised(t, chain, sct)
			}
			if slow > 2 { // the one that finds out, and one that this machine delays
				t.Errorf("%d of 10 waited", slow)
			}
		})
	}
}

func deadline(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// TestNoPromise: each cause has its error, in bounded time.
func TestNoPromise(t *testing.T) {
	s := newSite(t)
	ended := newSite(t)
	if err := ended.engine.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name      string
		addresses []string
		limit     time.Duration // the caller's
		within    time.Duration
		ended     bool
		want      string
	}{
		{"all are dead", []string{dead(t), dead(t)}, 8 * time.Second, 4 * time.Second, false, "connection refused"},
		{"all hang", []string{hangs().serve(t), hangs().serve(t)}, time.Second, 1500 * time.Millisecond, false, "in time"},
		{"all are mute", []string{mute(t), mute(t)}, time.Second, 1500 * time.Millisecond, false, "in time"},
		{"all are broken", []string{fails(codes.Internal).serve(t), fails(codes.Unavailable).serve(t)}, 8 * time.Second, 4 * time.Second, false, "so it is"},
		{"ended", []string{ended.serve(t)}, 8 * time.Second, time.Second, true, "frozen"},
		{"ended, and one is dead", []string{dead(t), ended.serve(t)}, 8 * time.Second, 2 * time.Second, true, "frozen"},
		{"another authority's certificate", []string{ended.serve(t)}, 8 * time.Second, time.Second, false, "InvalidArgument"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			chain := ended.precert(t)
			if tc.want == "InvalidArgument" {
				chain = s.precert(t)
			}
			began := time.Now()
			_, err := s.client(t, tc.addresses...).AddPreChain(deadline(t, tc.limit), chain)
			if err == nil || errors.Is(err, ca.ErrLogEnded) != tc.ended || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			if took := time.Since(began); took > tc.within {
				t.Errorf("it took %s, want %s at most", took, tc.within)
			}
		})
	}
}

// TestComesBack: a log that starts again while a request waits is used by that very request.
func TestComesBack(t *testing.T) {
	s := newSite(t)
	address := dead(t)
	c := s.client(t, address)
	chain := s.precert(t)
	go func() {
		time.Sleep(700 * time.Millisecond)
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		g := grpc.NewServer()
		s.service.RegisterGRPC(g)
		t.Cleanup(g.Stop)
		_ = g.Serve(ln) // until it is stopped
	}()
	sct, err := c.AddPreChain(deadline(t, 8*time.Second), chain)
	if err != nil {
		t.Fatal(err)
	}
	s.promised(t, chain, sct)
}

// TestTurns: replicas share the work.
func TestTurns(t *testing.T) {
	s := newSite(t)
	var counts [2]*other
	var addresses []string
	for i := range counts {
		counts[i] = &other{append: func(context.Context) (*pb.AppendResponse, error) { return &pb.AppendResponse{Sct: []byte{1}}, nil }}
		addresses = append(addresses, counts[i].serve(t))
	}
	c := s.client(t, addresses...)
	_ = c.Check(deadline(t, time.Second)) // connects
	for range 20 {
		if _, err := c.AddPreChain(deadline(t, time.Second), s.precert(t)); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := counts[0].calls.Load(), counts[1].calls.Load(); a < 8 || b < 8 {
		t.Errorf("%d and %d of 20", a, b)
	}
}

func TestCheck(t *testing.T) {
	s, another := newSite(t), newSite(t)
	for _, tc := range []struct {
		name      string
		addresses []string
		key       bool // ErrKey
		want      string
	}{
		{"all have the key", []string{s.serve(t), s.serve(t)}, false, ""},
		{"one cannot be asked", []string{dead(t), s.serve(t)}, false, ""},
		{"one has another key", []string{s.serve(t), another.serve(t)}, true, "another key"},
		{"none can be asked", []string{dead(t), dead(t)}, false, "connection refused"},
	} {
		err := s.client(t, tc.addresses...).Check(deadline(t, 2*time.Second))
		if errors.Is(err, ctclient.ErrKey) != tc.key || (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	if _, err := ctclient.New(ctclient.Config{Log: "ct", Key: s.key.Public(), Credentials: insecure.NewCredentials()}); err == nil {
		t.Error("a client without addresses")
	}
}
