package differential

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sigbox/sigbox/e2e/internal/peers"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tlog/differential"
)

const tlogDir = "../../tlog"

var update = flag.Bool("update", false, "write the recordings")

func corpus(t *testing.T) map[string]string {
	t.Helper()
	c, err := differential.Corpus(os.DirFS(tlogDir))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func stop(t *testing.T, p *peers.Peer) {
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// onlyProof ends a test that asks upstream's servers, and has them built where it goes on.
func onlyProof(t *testing.T, build func(context.Context, io.Writer) error) {
	t.Helper()
	if os.Getenv("SIGBOX_PROOF") == "" {
		fmt.Printf("differential: %s NOT RUN by this tier: upstream's servers (make proof)\n", t.Name())
		t.SkipNow()
	}
	if err := build(context.Background(), os.Stdout); err != nil {
		t.Fatal(err)
	}
}

// TestRekorV1 asks Rekor v1 on Trillian over PostgreSQL.
func TestRekorV1(t *testing.T) {
	onlyProof(t, peers.Ensure)
	server := pgtest.Start(t)
	server.Exec(t, "postgres", "CREATE DATABASE trillian")
	p, err := peers.StartRekorV1(context.Background(), t.TempDir(), server.URL("trillian"), peers.Attestations)
	if err != nil {
		t.Fatal(err)
	}
	stop(t, p)
	record(t, "rekor-v1", p, differential.NewPlayer(p.URL), differential.RekorV1(corpus(t)))
}

// TestRekorV2 asks Rekor v2 on the POSIX driver, and for its tiles a web server over its files, as its
// compose file has it.
func TestRekorV2(t *testing.T) {
	onlyProof(t, peers.Ensure)
	p, err := peers.StartRekorV2(context.Background(), t.TempDir(), 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	stop(t, p)
	files := httptest.NewServer(http.StripPrefix("/api/v2", http.FileServer(http.Dir(p.Tiles))))
	t.Cleanup(files.Close)
	player := differential.NewPlayer(p.URL)
	player.Files, player.RPC = files.URL, dial(t, p.RPC)
	record(t, "rekor-v2", p, player, differential.RekorV2(corpus(t)))
}

func dial(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// record compares what a peer answers with what is kept, or keeps it.
func record(t *testing.T, api string, p *peers.Peer, player *differential.Player, requests []differential.Request) {
	t.Helper()
	answers, err := player.Play(t.Context(), requests)
	if err != nil {
		t.Fatal(err)
	}
	held(t, p, answers, filepath.Join(tlogDir, "differential", "testdata", api+".json"), func() (*differential.Recording, error) { return differential.Recorded(api) })
}
