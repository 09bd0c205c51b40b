package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/witness"
)

const killWriters = 3 // on each of the three logs

// killRounds is 20, or what SIGBOX_E2E_KILLS says.
func killRounds(t *testing.T) int {
	v := os.Getenv("SIGBOX_E2E_KILLS")
	if v == "" {
		return 20
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("SIGBOX_E2E_KILLS=%q: want a number of rounds", v)
	}
	return n
}

// TestKill ends `sigbox up` with SIGKILL under load, again and again, over one SQLite file: no
// acknowledged entry is lost, and no head that was ever signed is anything but a prefix of the
// last.
func TestKill(t *testing.T) {
	started, rounds := time.Now(), killRounds(t)
	r := start(t)
	v1, v2 := logWitness(t, r, "rekor.pub"), logWitness(t, r, "rekor_v2.pub")
	certs := witness.NewCertificates(readPublicKey(t, filepath.Join(r.trust, "ctfe.pub")), r.token(t, "dev@example.com"))
	ctx := context.Background()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	var slowest time.Duration
	for round := range rounds {
		from := len(v1.Entries())
		promised, _ := certs.Count()
		c := witness.NewClient(r.URL)
		load(t, func() {
			time.Sleep(100*time.Millisecond + time.Duration(dice.Int64N(int64(400*time.Millisecond)))) // the point is not to know when
			r.Kill()
		},
			func(ctx context.Context, w *witness.Writer) error { return w.WriteV1(ctx, c, v1) },
			func(ctx context.Context, w *witness.Writer) error { return w.WriteV2(ctx, c, v2) },
			func(ctx context.Context, _ *witness.Writer) error { return certs.Issue(ctx, c) })
		c.Close()
		var err error
		if r.Instance, err = r.Again(ctx); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		slowest = max(slowest, r.Ready)
		c = witness.NewClient(r.URL)
		if _, err := witness.HeadV1(ctx, c, v1); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := witness.CheckEntriesV1(ctx, c, v1, v1.Entries()[from:]); err != nil {
			t.Fatalf("round %d, Rekor v1: %v", round, err)
		}
		if _, err := witness.CheckV2(ctx, c, v2); err != nil {
			t.Fatalf("round %d, Rekor v2: %v", round, err)
		}
		if _, err := certs.Check(ctx, r.URL, promised); err != nil {
			t.Fatalf("round %d, CT: %v", round, err)
		}
		c.Close()
	}
	c := witness.NewClient(r.URL)
	defer c.Close()
	last, err := witness.HeadV1(ctx, c, v1)
	if err != nil {
		t.Fatal(err)
	}
	if err := witness.CheckEntriesV1(ctx, c, v1, v1.Entries()); err != nil {
		t.Fatalf("Rekor v1, at the end: %v", err)
	}
	if err := witness.CheckHeadsV1(ctx, c, v1.Heads(), last); err != nil {
		t.Fatal(err)
	}
	lastV2, err := witness.CheckV2(ctx, c, v2)
	if err != nil {
		t.Fatalf("Rekor v2, at the end: %v", err)
	}
	lastCT, err := certs.Check(ctx, r.URL, 0)
	if err != nil {
		t.Fatalf("CT, at the end: %v", err)
	}
	promised, _ := certs.Count()
	keep(t, "kill", started, map[string]any{
		"rounds": rounds, "seed": seed, "writers_per_log": killWriters, "slowest_start_ms": float64(slowest.Microseconds()) / 1000,
		"rekor_v1": map[string]any{"acknowledged_and_found": len(v1.Entries()), "size": last.Size, "heads": len(v1.Heads())},
		"rekor_v2": map[string]any{"acknowledged_and_found": len(v2.Entries()), "size": lastV2.Size, "heads": len(v2.Heads())},
		"ct":       map[string]any{"acknowledged_and_found": promised, "size": lastCT},
	})
	fmt.Printf("kill -9: %d rounds in %s; acknowledged and found: %d of %d on Rekor v1, %d of %d on Rekor v2, %d of %d on CT; %d and %d heads, each a prefix of the last; slowest start after a kill %s\n",
		rounds, time.Since(started).Round(time.Second), len(v1.Entries()), last.Size, len(v2.Entries()), lastV2.Size, promised, lastCT,
		len(v1.Heads()), len(v2.Heads()), slowest.Round(time.Millisecond))
}

// logWitness returns a witness of the log whose key is in a file of the exported trust.
func logWitness(t *testing.T, r *rig, key string) *witness.Witness {
	t.Helper()
	w, err := witness.New("127.0.0.1", readPublicKey(t, filepath.Join(r.trust, key)))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// load writes until kill, which is called once every writer has been acknowledged something, has
// made the instance unreachable.
func load(t *testing.T, kill func(), writes ...func(context.Context, *witness.Writer) error) {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	var writers, first sync.WaitGroup
	first.Add(len(writes) * killWriters)
	for range killWriters {
		for _, write := range writes {
			writers.Go(func() {
				acknowledged := sync.OnceFunc(first.Done)
				defer acknowledged()
				w, err := witness.NewWriter()
				for n := 0; err == nil; n++ {
					if err = write(ctx, w); err == nil {
						acknowledged()
					} else if n == 0 {
						t.Errorf("the first write failed: %v", err)
					}
				}
				var broken *witness.Broken
				if errors.As(err, &broken) {
					t.Error(err)
				}
			})
		}
	}
	first.Wait()
	kill()
	writers.Wait()
}
