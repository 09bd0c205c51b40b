package differential

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	cadiff "github.com/sigbox/sigbox/ca/differential"
	"github.com/sigbox/sigbox/e2e/internal/outside"
	"github.com/sigbox/sigbox/e2e/internal/peers"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tlog/differential"
)

// TestFulcio asks Fulcio with its CT log server on Trillian over PostgreSQL.
func TestFulcio(t *testing.T) {
	onlyProof(t, peers.EnsureFulcio)
	if !outside.Alone(t) {
		return
	}
	issuer, err := cadiff.StartIssuer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(issuer.Close)
	server := pgtest.Start(t)
	server.Exec(t, "postgres", "CREATE DATABASE trillian")
	p, err := peers.StartFulcio(context.Background(), t.TempDir(), server.URL("trillian"), cadiff.Config(issuer.URL))
	if err != nil {
		t.Fatal(err)
	}
	stop(t, p)
	player, err := cadiff.NewPlayer(p.URL, dial(t, p.RPC), issuer)
	if err != nil {
		t.Fatal(err)
	}
	answers, err := player.Play(t.Context(), cadiff.Requests())
	if err != nil {
		t.Fatal(err)
	}
	held(t, p, answers, filepath.Join("..", "..", "ca", "differential", "testdata", "fulcio.json"), cadiff.Recorded)
}

// held compares what a peer answers with what is kept, or keeps it.
func held(t *testing.T, p *peers.Peer, answers []differential.Answer, file string, recorded func() (*differential.Recording, error)) {
	t.Helper()
	if *update {
		raw, err := (&differential.Recording{Server: p.What, Answers: answers}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	kept, err := recorded()
	if err != nil {
		t.Fatal(err)
	}
	found, err := differential.Compare(kept.Answers, answers)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range found {
		t.Errorf("%s: %s: kept %s, now %s", d.Request, d.Field, d.Theirs, d.Ours)
	}
	if kept.Server != p.What {
		t.Errorf("the recording is of %q, this is %q", kept.Server, p.What)
	}
}
