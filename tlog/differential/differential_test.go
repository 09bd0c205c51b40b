package differential_test

import (
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/differential"
	"github.com/sigbox/sigbox/tlog/entry"
	dssekind "github.com/sigbox/sigbox/tlog/entry/dsse"
	"github.com/sigbox/sigbox/tlog/entry/hashedrekord"
	"github.com/sigbox/sigbox/tlog/entry/intoto"
	"github.com/sigbox/sigbox/tlog/entry/upstream"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/rekorv1"
	"github.com/sigbox/sigbox/tlog/rekorv2"
	"github.com/sigbox/sigbox/tlog/tiles"
)

const host = "rekor.test"

func tlogDir() fs.FS { return os.DirFS("..") }

func corpus(t *testing.T) map[string]string {
	t.Helper()
	c, err := differential.Corpus(tlogDir())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serve puts a face behind the outer handler of production.
func serve(t *testing.T, register ...func(*http.ServeMux)) string {
	t.Helper()
	mux := http.NewServeMux()
	for _, r := range register {
		r(mux)
	}
	srv := httptest.NewServer(httpx.Handler(mux, slog.New(slog.DiscardHandler), httpx.NewMetrics(prometheus.NewRegistry())))
	t.Cleanup(srv.Close)
	return srv.URL
}

// kinds are all kinds of Rekor v1.
func kinds() entry.Kinds {
	all := upstream.Kinds()
	maps.Copy(all, entry.Kinds{
		hashedrekord.Kind: hashedrekord.Parse, dssekind.Kind: dssekind.Parse, intoto.KindV001: intoto.ParseV001, intoto.KindV002: intoto.ParseV002,
	})
	return all
}

// rekorV1 starts our Rekor v1 with an empty log and every kind.
func rekorV1(t *testing.T) string {
	t.Helper()
	key, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	const treeID = 1193050959916656506
	signer, err := checkpoint.NewSigner(host, fmt.Sprintf("%s - %d", host, treeID), key)
	if err != nil {
		t.Fatal(err)
	}
	face, err := rekorv1.New(rekorv1.Config{
		Log: logtest.New(t, func(c *tlog.Config) { c.Signer, c.LeafInput = signer, entry.LeafInput }), TreeID: treeID, Signer: key,
		Kinds: kinds(), Fingerprints: upstream.Fingerprints(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, face.Register)
}

// TestRekorV1: what a running Rekor v1 has answered to every request is what we answer, but for the
// differences that are listed, and each of those is there.
func TestRekorV1(t *testing.T) {
	compare(t, "rekor-v1", differential.NewPlayer(rekorV1(t)), differential.RekorV1(corpus(t)), differential.RekorV1Differences())
}

// rekorV2 starts our Rekor v2 with an empty log, over HTTP with its tiles, and over gRPC.
func rekorV2(t *testing.T) *differential.Player {
	t.Helper()
	key, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := checkpoint.NewSigner(host, host, key)
	if err != nil {
		t.Fatal(err)
	}
	l := logtest.New(t, func(c *tlog.Config) { c.Signer = signer })
	face, err := rekorv2.New(rekorv2.Config{Log: l, Origin: host, PublicKey: key.Public(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	files, err := tiles.New(l, "/api/v2", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p := differential.NewPlayer(serve(t, face.Register, files.Register))
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	face.RegisterGRPC(g)
	done := make(chan error, 1)
	go func() { done <- g.Serve(lis) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if p.RPC, err = grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.RPC.Close() })
	return p
}

// TestRekorV2 is TestRekorV1 for Rekor v2: statuses, the bytes of leaves, tiles and bundles, and gRPC.
func TestRekorV2(t *testing.T) {
	compare(t, "rekor-v2", rekorV2(t), differential.RekorV2(corpus(t)), differential.RekorV2Differences())
}

func compare(t *testing.T, api string, p *differential.Player, requests []differential.Request, allowed []differential.Difference) {
	t.Helper()
	recorded, err := differential.Recorded(api)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := p.Play(t.Context(), requests)
	if err != nil {
		t.Fatal(err)
	}
	found, err := differential.Compare(recorded.Answers, ours)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range differential.Check(found, allowed) {
		t.Error(p)
	}
}

// TestDifferencesAreArgued: what the list calls a difference is a row of a document.
func TestDifferencesAreArgued(t *testing.T) {
	var docs string
	for _, name := range []string{"0005-stricter-than-upstream.md", "0016-differences.md"} {
		raw, err := os.ReadFile("../../docs/design/" + name)
		if err != nil {
			t.Fatal(err)
		}
		docs += string(raw)
	}
	for _, d := range append(differential.RekorV1Differences(), differential.RekorV2Differences()...) {
		if strings.Count(docs, "\n| "+d.Row+" |") != 1 {
			t.Errorf("%q is not a row of docs/design/0005 or 0016, or two", d.Row)
		}
	}
}
