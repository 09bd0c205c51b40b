package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/witness"
)

const (
	figureRuns    = 5
	figureEntries = 10_000
	figureWriters = 64
	idleLimit     = 100 << 20 // bytes resident; the other figures depend on what else the machine does
)

// TestFigures measures what the notes quote, on an otherwise idle machine: time to ready,
// resident memory, `cosign sign-blob`, writes.
func TestFigures(t *testing.T) {
	started := time.Now()
	var first, later []time.Duration
	var r *rig
	for range figureRuns {
		r = start(t)
		first = append(first, r.Ready)
		r.restart(t)
		later = append(later, r.Ready)
	}
	idle := resident(t, r.Pid())
	if idle > idleLimit {
		t.Errorf("idle: %d MB resident", idle>>20)
	}
	out := r.script(t, `
set +x
echo hello > blob
. "$TRUST/env-cosign3.sh"
for i in 1 2 3 4 5 6 7; do
	from=$(date +%s%N)
	"$COSIGN3" sign-blob --yes --identity-token "$TOKEN" --bundle blob.bundle blob >/dev/null 2>&1
	echo "took $(( ($(date +%s%N) - from) / 1000 ))"
done
`, r.env(t, "TOKEN="+r.token(t, "dev@example.com")))
	signBlob := took(t, out)
	rate := write(t, r, figureEntries)
	after := resident(t, r.Pid())
	keep(t, "up", started, map[string]any{
		"ready_first_run_ms": milliseconds(first), "ready_later_ms": milliseconds(later), "cosign3_sign_blob_ms": milliseconds(signBlob),
		"resident_idle_bytes": idle, "resident_after_entries_bytes": after, "entries": figureEntries,
		"rekor_v1_entries_per_second": rate, "writers": figureWriters,
	})
	fmt.Printf("figures: ready %s (first run), %s (later); resident %d MB idle, %d MB after %d entries; cosign sign-blob %s; %.0f entries/s with %d writers, each with its proof verified by the writer\n",
		median(first), median(later), idle>>20, after>>20, figureEntries, median(signBlob), rate, figureWriters)
}

func took(t *testing.T, out string) []time.Duration {
	t.Helper()
	var all []time.Duration
	for line := range strings.Lines(out) {
		if us, ok := strings.CutPrefix(strings.TrimSpace(line), "took "); ok {
			n, err := strconv.Atoi(us)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, time.Duration(n)*time.Microsecond)
		}
	}
	if len(all) == 0 {
		t.Fatalf("no times in %q", out)
	}
	return all
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2].Round(time.Millisecond)
}

// resident is VmRSS of a process, in bytes.
func resident(t *testing.T, pid int) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "VmRSS:")
	line, _, _ := strings.Cut(rest, "\n")
	kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(line), " kB"))
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

// write logs n entries on Rekor v1 and returns how many a second.
func write(t *testing.T, r *rig, n int) float64 {
	t.Helper()
	wit, err := witness.New("127.0.0.1", readPublicKey(t, filepath.Join(r.trust, "rekor.pub")))
	if err != nil {
		t.Fatal(err)
	}
	c := witness.NewClient(r.URL)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	from := time.Now()
	var writers sync.WaitGroup
	for i := range figureWriters {
		writers.Go(func() {
			w, err := witness.NewWriter()
			for j := i; err == nil && j < n; j += figureWriters {
				err = w.WriteV1(ctx, c, wit)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	return float64(len(wit.Entries())) / time.Since(from).Seconds()
}
