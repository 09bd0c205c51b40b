package figures

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"github.com/sigbox/sigbox/e2e/internal/instance"
	"github.com/sigbox/sigbox/e2e/internal/peers"
	"github.com/sigbox/sigbox/internal/record"
)

var update = flag.Bool("update", false, "write ../../docs/benchmarks.md anew from ../../docs/figures")

// plan says how much is measured.
type plan struct {
	full    bool
	sizes   []int64       // of the logs
	clients []int         // over HTTP
	writers []int         // of the engine
	span    time.Duration // of one measurement
	rounds  int           // of each; the median counts
	reads   int           // searches, proofs
	data    string        // where large logs are kept; "" keeps none
}

var (
	rehearsal = plan{sizes: []int64{0, 3000}, clients: []int{1, 8}, writers: []int{1, 16}, span: 500 * time.Millisecond, rounds: 1, reads: 50}
	proof     = plan{
		full: true, sizes: []int64{0, 1_000_000, 10_000_000}, clients: []int{1, 32, 128}, writers: []int{1, 16, 64, 256},
		span: 5 * time.Second, rounds: 3, reads: 3000,
	}
)

// world is what all tests share.
var world struct {
	plan
	tmp    string // removed at the end
	sigbox string // the binary
	commit string
}

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	world.plan = rehearsal
	if os.Getenv("SIGBOX_PROOF") != "" {
		world.plan = proof
		if world.data = os.Getenv("SIGBOX_PROOF_DATA"); world.data != "" && !filepath.IsAbs(world.data) {
			return 1, fmt.Errorf("SIGBOX_PROOF_DATA=%q: want an absolute path", world.data)
		}
		if err := readSizes(os.Getenv("SIGBOX_PROOF_SIZES")); err != nil {
			return 1, err
		}
	}
	if span := os.Getenv("SIGBOX_PROOF_SPAN"); span != "" {
		if world.span, err = time.ParseDuration(span); err != nil {
			return 1, fmt.Errorf("SIGBOX_PROOF_SPAN: %w", err)
		}
	}
	klog.SetSlogLogger(slog.New(slog.DiscardHandler)) // Tessera's
	if world.tmp, err = os.MkdirTemp("", "sigbox-figures-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(world.tmp)
	if err := os.Chmod(world.tmp, 0o755); err != nil { // PostgreSQL runs as another user where we are root
		return 1, err
	}
	if world.commit, err = record.Commit(); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func readSizes(list string) error {
	if list == "" {
		return nil
	}
	world.sizes = nil
	for _, s := range strings.Split(list, ",") {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("SIGBOX_PROOF_SIZES=%q: want numbers of entries with commas between them", list)
		}
		world.sizes = append(world.sizes, n)
	}
	return nil
}

// binary returns the sigbox under test, and builds it when it is first asked for.
func binary(t testing.TB) string {
	t.Helper()
	if world.sigbox == "" {
		world.sigbox = os.Getenv("SIGBOX_E2E_BINARY")
	}
	if world.sigbox == "" {
		path := filepath.Join(world.tmp, "sigbox")
		if err := instance.Build(context.Background(), filepath.Join("..", ".."), path); err != nil {
			t.Fatal(err)
		}
		world.sigbox = path
	}
	return world.sigbox
}

// onlyProof ends a test that measures upstream's servers, and builds them for the real plan. The
// rehearsal does without: building them takes minutes.
func onlyProof(t *testing.T) bool {
	t.Helper()
	if !world.full {
		fmt.Printf("figures: %s NOT RUN by this tier: upstream's servers (make figures)\n", t.Name())
		return false
	}
	if err := peers.Ensure(context.Background(), os.Stdout); err != nil {
		t.Fatal(err)
	}
	return true
}

// say prints what goes on, with the time.
func say(format string, args ...any) {
	fmt.Printf("%s figures: %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
