package setup

import (
	"crypto"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/ceremony"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/statement"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const instanceID = "00112233445566778899aabbccddeeff"

// firstRequest is the file of a request for a first set with these signers.
func firstRequest(t *testing.T, statements [][]byte, signers tuf.RootSigners) []byte {
	t.Helper()
	rec, taken, err := record.New(instanceID, "log.example").Collect(statements, now)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ceremony.New(ceremony.Options{Instance: instanceID, Record: rec, Statements: taken, Root: &signers, Lifetimes: tuf.Production(), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// offlineBuilder is a run of init --production that was told these signers.
func offlineBuilder(t *testing.T, root, targets tuf.Signers) *builder {
	t.Helper()
	b := &builder{dir: t.TempDir(), plan: Plan{Choices: Choices{Production: true}}, clock: clock.NewManual(now), out: io.Discard}
	group := func(s tuf.Signers) (g signerGroup) {
		g.Threshold = s.Threshold
		for _, k := range s.Keys {
			text, err := keys.PublicPEM(k)
			if err != nil {
				t.Fatal(err)
			}
			g.Keys = append(g.Keys, string(text))
		}
		return g
	}
	text, err := json.Marshal(signerGroups{group(root), group(targets)})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(b.path("requests"), 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, b.path(signersFile), text)
	return b
}

func put(t *testing.T, path string, raw []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestAskForSet: each row is a request for a first set that somebody brought back. init goes on only with
// one of the signers that it was told; it waits for their signatures then.
func TestAskForSet(t *testing.T) {
	key := func() crypto.PublicKey { return tuftest.Key(t).Public() }
	repo := &stack.TUFRepo{Keys: tuf.Keys{Snapshot: tuftest.Key(t), Timestamp: tuftest.Key(t)}}
	good := tuf.RootSigners{
		Root: tuf.Signers{Keys: []crypto.PublicKey{key(), key(), key()}, Threshold: 2}, Targets: tuf.Signers{Keys: []crypto.PublicKey{key(), key()}, Threshold: 1},
		Snapshot: oneSigner(repo.Keys.Snapshot), Timestamp: oneSigner(repo.Keys.Timestamp),
	}
	statements := tuftest.NewInstance(t, instanceID, "https://log.example", now).Statements(t, now)
	for _, row := range []struct {
		name   string
		change func(s *tuf.RootSigners)
		late   time.Duration
		forget bool
		want   string
	}{
		{"as init wrote it", func(*tuf.RootSigners) {}, 0, false, "waiting for signatures"},
		{"keys in another order", func(s *tuf.RootSigners) {
			s.Root.Keys = []crypto.PublicKey{good.Root.Keys[2], good.Root.Keys[0], good.Root.Keys[1]}
		}, 0, false, "waiting for signatures"},
		{"another root key", func(s *tuf.RootSigners) {
			s.Root.Keys = []crypto.PublicKey{good.Root.Keys[0], good.Root.Keys[1], key()}
		}, 0, false, "other signers of root"},
		{"a root key less", func(s *tuf.RootSigners) { s.Root.Keys = good.Root.Keys[:2] }, 0, false, "other signers of root"},
		{"a lower threshold", func(s *tuf.RootSigners) { s.Root.Threshold = 1 }, 0, false, "other signers of root"},
		{"another targets key", func(s *tuf.RootSigners) { s.Targets.Keys = []crypto.PublicKey{good.Targets.Keys[0], key()} }, 0, false, "other signers of targets"},
		{"a second snapshot key", func(s *tuf.RootSigners) { s.Snapshot.Keys = append(good.Snapshot.Keys[:1:1], key()) }, 0, false, "other signers of snapshot"},
		{"a second timestamp key", func(s *tuf.RootSigners) { s.Timestamp.Keys = append(good.Timestamp.Keys[:1:1], key()) }, 0, false, "other signers of timestamp"},
		{"on its last day", func(*tuf.RootSigners) {}, 30 * 24 * time.Hour, false, "waiting for signatures"},
		{"too late", func(*tuf.RootSigners) {}, 30*24*time.Hour + time.Second, false, "requests/tuf.json was good until 2026-03-31T12:00:00Z, and was not published: remove it and run init again"},
		{"signers that init was not told", func(*tuf.RootSigners) {}, 0, true, "waiting for the public keys"},
	} {
		t.Run(row.name, func(t *testing.T) {
			b, signers := offlineBuilder(t, good.Root, good.Targets), good
			b.clock = clock.NewManual(now.Add(row.late))
			row.change(&signers)
			put(t, b.path(requestFile), firstRequest(t, statements, signers))
			if row.forget {
				if err := os.Remove(b.path(signersFile)); err != nil {
					t.Fatal(err)
				}
			}
			err := b.askForSet(t.Context(), repo)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%v, want %q", err, row.want)
			}
			if errors.Is(err, ErrWaiting) != strings.HasPrefix(row.want, "waiting") {
				t.Errorf("%v is a wait", err)
			}
		})
	}
}

// TestKeepStatements: what is said anew is written, until people sign it; the same words at another time
// are left alone.
func TestKeepStatements(t *testing.T) {
	in := tuftest.NewInstance(t, instanceID, "https://log.example", now)
	says := func(url string, at time.Time) []byte {
		s := in.Says(statement.CT, at)
		s.URL = url
		return in.State(t, s)
	}
	first, later, other := says("https://log.example", now), says("https://log.example", now.Add(time.Hour)), says("https://other.example", now)
	s, err := statement.Open(first)
	if err != nil {
		t.Fatal(err)
	}
	name := statementsDir + "/" + stack.StatementFile(s)
	for _, row := range []struct {
		name       string
		there, say []byte
		asked      bool
		want       []byte
		out        string
	}{
		{"nothing there", nil, first, false, first, "made " + name},
		{"the same, later", first, later, false, first, ""},
		{"something else", first, other, false, other, "replaced " + name},
		{"no statement", []byte("{"), first, false, first, "replaced " + name},
		{"the same, asked for", first, later, true, first, ""},
		{"something else, asked for", first, other, true, first, "remove requests/tuf.json"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var out strings.Builder
			b := &builder{dir: t.TempDir(), out: &out}
			if err := os.MkdirAll(b.path(statementsDir), 0o755); err != nil {
				t.Fatal(err)
			}
			if row.there != nil {
				put(t, b.path(name), row.there)
			}
			if row.asked {
				put(t, b.path(requestFile), []byte("{}"))
			}
			if err := b.keepStatements([][]byte{row.say}); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(b.path(name)); err != nil || string(got) != string(row.want) {
				t.Errorf("%v, the file says\n%s", err, got)
			}
			if !strings.Contains(out.String(), row.out) || row.out == "" && out.Len() > 0 {
				t.Errorf("it printed %q, want %q", out.String(), row.out)
			}
		})
	}
}

// TestThresholds: how many must sign where so many keys are named and so many asked for; 0 is nothing said.
func TestThresholds(t *testing.T) {
	text, err := keys.PublicPEM(tuftest.Key(t).Public())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "a.pub")
	put(t, file, text)
	for _, row := range []struct{ keys, say, want int }{
		{1, 0, 1}, {2, 0, 2}, {3, 0, 2}, {4, 0, 3}, {5, 0, 3}, {3, 1, 1}, {3, 3, 3}, {3, 4, 0}, {3, -1, 0},
	} {
		g, err := readGroup("root", slices.Repeat([]string{file}, row.keys), row.say)
		if g.Threshold != row.want || (err != nil) != (row.want == 0) {
			t.Errorf("%d of %d keys: %d, %v, want %d", row.say, row.keys, g.Threshold, err, row.want)
		}
	}
}
