package differential_test

import (
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sigbox/sigbox/ca"
	cadiff "github.com/sigbox/sigbox/ca/differential"
	"github.com/sigbox/sigbox/ca/fulcio"
	"github.com/sigbox/sigbox/ca/sqlstore"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/migrations"
	"github.com/sigbox/sigbox/oidc"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/ctlog"
	"github.com/sigbox/sigbox/tlog/differential"
	"github.com/sigbox/sigbox/tlog/entry/certificate"
	"github.com/sigbox/sigbox/tlog/logtest"
)

// TestFulcio: what a running Fulcio has answered to every request is what we answer, certificates included,
// but for the differences that are listed, and each of those is there.
func TestFulcio(t *testing.T) {
	issuer, err := cadiff.StartIssuer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(issuer.Close)
	url, rpc := serve(t, cadiff.Config(issuer.URL))
	p, err := cadiff.NewPlayer(url, rpc, issuer)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := p.Play(t.Context(), cadiff.Requests())
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := cadiff.Recorded()
	if err != nil {
		t.Fatal(err)
	}
	found, err := differential.Compare(recorded.Answers, ours)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range differential.Check(found, cadiff.Differences()) {
		t.Error(problem)
	}
	issued := 0
	for _, a := range recorded.Answers {
		if a.Status == http.StatusOK || a.Status == http.StatusCreated || a.Status == int(codes.OK) {
			issued++
		}
	}
	if issued < 90 || len(recorded.Answers)-issued < 180 {
		t.Errorf("%d of %d answers are no refusals: the table has lost its rows", issued, len(recorded.Answers))
	}
}

// serve starts our Fulcio with an empty CT log, over the outer handler of production, and over gRPC.
func serve(t *testing.T, issuers string) (url string, rpc *grpc.ClientConn) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c, discard := clock.System{}, slog.New(slog.DiscardHandler)
	h, err := ca.NewHierarchy(c, "fulcio.test")
	must(err)
	key, err := keys.NewECDSA()
	must(err)
	log, err := ctlog.New(ctlog.Config{
		Log: logtest.New(t, func(c *tlog.Config) { c.LeafInput = certificate.LeafInput }), Signer: key, Roots: []*x509.Certificate{h.Root}, Clock: c, Logger: discard,
	})
	must(err)
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "ca.db"))
	must(err)
	t.Cleanup(func() { _ = db.Close() })
	must(migrations.ApplySQLite(t.Context(), db.Writer(), "ca"))
	authority, err := ca.New(ca.Config{
		Key: h.IntermediateKey, Chain: h.Chain(), SCTs: log, SCTKey: key.Public(), Records: sqlstore.NewSQLite(db), Clock: c, Logger: discard,
	})
	must(err)
	cfg, err := oidc.ParseConfig("config.yaml", []byte(issuers))
	must(err)
	verifier := oidc.NewVerifier(cfg, oidc.Options{Clock: c})
	face, err := fulcio.New(fulcio.Config{Authority: authority, Logger: discard, Trust: func() fulcio.Trust {
		return fulcio.Trust{Verifier: verifier, Issuers: cfg.PublicConfiguration()}
	}})
	must(err)
	mux := http.NewServeMux()
	face.Register(mux)
	srv := httptest.NewServer(httpx.Handler(mux, discard, httpx.NewMetrics(prometheus.NewRegistry())))
	t.Cleanup(srv.Close)
	g := grpc.NewServer()
	face.RegisterGRPC(g)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go func() { _ = g.Serve(lis) }() // until Stop
	t.Cleanup(g.Stop)
	rpc, err = grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(err)
	t.Cleanup(func() { _ = rpc.Close() })
	return srv.URL, rpc
}

// TestDifferencesAreArgued: what the list calls a difference is a row of a document.
func TestDifferencesAreArgued(t *testing.T) {
	var docs strings.Builder
	for _, name := range []string{"0005-stricter-than-upstream.md", "0016-differences.md"} {
		raw, err := os.ReadFile("../../docs/design/" + name)
		if err != nil {
			t.Fatal(err)
		}
		docs.Write(raw)
	}
	for _, d := range cadiff.Differences() {
		if strings.Count(docs.String(), "\n| "+d.Row+" |") != 1 {
			t.Errorf("%q is not a row of docs/design/0005 or 0016, or two", d.Row)
		}
	}
}
