package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/clients"
	"github.com/sigbox/sigbox/e2e/internal/matrix"
)

// stormVar is how many verifications make a storm; `make proof` sets it to 1,000.
const stormVar = "SIGBOX_E2E_STORM"

const (
	stormRow = "a storm of verifications: --trusted-root and no writable home ask log and mirror nothing; by the mirror; with it down"

	stormLimit = time.Hour // of one storm
)

// storm is many processes beside each other.
type storm struct {
	size, atOnce int
	took         time.Duration
	failed       []string // what those printed that did not succeed
}

// newStorm is of few processes, or of as many as are asked for, at most so many of them at a time.
func newStorm(t *testing.T, few, atOnce int) *storm {
	t.Helper()
	size := few
	if v := os.Getenv(stormVar); v != "" {
		var err error
		if size, err = strconv.Atoi(v); err != nil || size < 1 {
			t.Fatalf("%s=%q: want how many verifications", stormVar, v)
		}
	}
	return &storm{size: size, atOnce: min(size, atOnce)}
}

// rage runs the processes; verify runs the i-th and returns what it printed.
func (s *storm) rage(ctx context.Context, verify func(ctx context.Context, i int) (string, error)) {
	ctx, cancel := context.WithTimeout(ctx, stormLimit)
	defer cancel()
	started := time.Now()
	var mu sync.Mutex
	var all sync.WaitGroup
	s.failed = nil
	next := make(chan int)
	for range s.atOnce {
		all.Go(func() {
			for i := range next {
				if out, err := verify(ctx, i); err != nil {
					mu.Lock()
					s.failed = append(s.failed, fmt.Sprintf("%v: %s", err, out))
					mu.Unlock()
				}
			}
		})
	}
	for i := range s.size {
		next <- i
	}
	close(next)
	all.Wait()
	s.took = time.Since(started)
}

// passed reports those that failed, in a storm in which none may.
func (s *storm) passed(t *testing.T, what string) {
	t.Helper()
	if len(s.failed) > 0 {
		t.Errorf("%s: %d of %d failed; the first: %s", what, len(s.failed), s.size, s.failed[0])
	}
	fmt.Printf("storm: %s: %d verifications, %d at once, %.1f s, %d failed\n", what, s.size, s.atOnce, s.took.Seconds(), len(s.failed))
}

// requests are what the instance answered so far.
func (r *rig) requests(t *testing.T) asked {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandLimit*time.Second)
	defer cancel()
	a, err := requests(ctx, r.URL)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// mirrorOnly wants no request but to the mirror, and prints how many each process made.
func mirrorOnly(t *testing.T, what string, got asked, processes int) float64 {
	t.Helper()
	if got.logs() != 0 {
		t.Errorf("%s: the instance was asked %v, want nothing but the mirror", what, map[string]int(got))
	}
	each := float64(got.mirror()) / float64(processes)
	fmt.Printf("storm: %s: %.2f requests to the mirror per process\n", what, each)
	return each
}

// nowhere is a home that nobody can write to or make, root included.
const nowhere = "/proc/nobody"

// TestStorm: as many verifications of images as an admission controller makes when a cluster comes up. With
// --trusted-root neither the log nor the mirror is asked, and nothing is written. By the mirror, each
// process asks it. When it is down, those that have trusted_root.json go on.
func TestStorm(t *testing.T) {
	defer cell(t, "cosign 2, 3", stormRow, 1)()
	started := time.Now()
	r := start(t)
	_, image := push(t, world.registry)
	repo := repository(image)
	env := r.env(t, "IMAGE="+image, "REPO="+repo, "TOKEN="+r.token(t, "dev@example.com"))
	legacy := strings.TrimSpace(lastLine(r.script(t, `
cosign3 sign --yes --identity-token "$TOKEN" "$IMAGE"
OLD=$(tool push "$REPO:old")
cosign2 sign --yes --identity-token "$TOKEN" "$OLD"
for n in 2 3; do
	TUF_ROOT=$WORK/cache-$n within "$COSIGN3" initialize --mirror "$MIRROR" --root "$TRUST/root.json"
done
set +x
echo "$OLD"
`, env)))
	var all []*verification
	for _, v := range []verification{ // a cosign takes some 60 MB
		{name: "cosign 3", program: programOf(t, clients.Cosign3), image: image, cache: "cache-3"},
		{name: "cosign 2", program: programOf(t, clients.Cosign2), image: legacy, cache: "cache-2"},
	} {
		v.r, v.storm, v.cache = r, newStorm(t, 40, 200), filepath.Join(r.work, v.cache)
		all = append(all, &v)
	}
	figures := map[string]any{}
	for _, v := range all {
		figures[v.name] = v.up(t)
	}
	r.script(t, `"$COSIGN3" verify --trusted-root "$TRUST/trusted_root.json" `+me+` "$IMAGE"`, r.env(t, "IMAGE="+image, "HOME="+nowhere))
	r.keepRun(t, stormRow, 1, matrix.Works)
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		figures[v.name+", instance down"] = v.down(t)
	}
	keep(t, "storm", started, figures)
}

// verification is one client's part of a storm.
type verification struct {
	*storm
	r                           *rig
	name, program, image, cache string
}

func (v *verification) run(env []string, args ...string) func(context.Context, int) (string, error) {
	return func(ctx context.Context, _ int) (string, error) {
		cmd := exec.CommandContext(ctx, v.program, append([]string{"verify", "--certificate-identity", "dev@example.com",
			"--certificate-oidc-issuer", v.r.issuer, v.image}, args...)...)
		cmd.Env = append(v.r.base(), env...)
		cmd.WaitDelay = 2 * time.Second
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
}

func (v *verification) fromFile() func(context.Context, int) (string, error) {
	return v.run([]string{"HOME=" + nowhere}, "--trusted-root", filepath.Join(v.r.trust, "trusted_root.json"))
}

func (v *verification) fromCache() func(context.Context, int) (string, error) {
	return v.run([]string{"TUF_ROOT=" + v.cache})
}

// up is what happens while the instance runs.
func (v *verification) up(t *testing.T) map[string]any {
	t.Helper()
	ctx := t.Context()
	before := v.r.requests(t)
	v.rage(ctx, v.fromFile())
	v.passed(t, v.name+", --trusted-root, no writable home")
	got := v.r.requests(t).since(before)
	if len(got) != 0 {
		t.Errorf("%s, --trusted-root: the instance was asked %v, want nothing", v.name, map[string]int(got))
	}
	figures := map[string]any{"verifications": v.size, "at_once": v.atOnce, "trusted_root_seconds": v.took.Seconds(), "trusted_root_requests": got}

	before = v.r.requests(t)
	v.rage(ctx, v.fromCache())
	v.passed(t, v.name+", one initialised cache")
	figures["cache_seconds"], figures["cache_failed"] = v.took.Seconds(), len(v.failed)
	figures["cache_requests_each"] = mirrorOnly(t, v.name+", one initialised cache", v.r.requests(t).since(before), v.size)

	before = v.r.requests(t)
	fresh := &storm{size: min(v.size, 20), atOnce: 10}
	dirs := t.TempDir()
	fresh.rage(ctx, func(ctx context.Context, i int) (string, error) {
		return v.run([]string{
			fmt.Sprintf("TUF_ROOT=%s/%d", dirs, i), "TUF_MIRROR=" + v.r.mirror, "TUF_ROOT_JSON=" + filepath.Join(v.r.trust, "root.json"),
		})(ctx, i)
	})
	fresh.passed(t, v.name+", an empty cache each")
	figures["empty_cache_requests_each"] = mirrorOnly(t, v.name+", an empty cache each", v.r.requests(t).since(before), fresh.size)
	return figures
}

// down is what happens when nobody answers any more.
func (v *verification) down(t *testing.T) map[string]any {
	t.Helper()
	ctx := t.Context()
	few := &storm{size: min(v.size, 20), atOnce: 10}
	few.rage(ctx, v.fromFile())
	few.passed(t, v.name+", instance down, --trusted-root")
	few.rage(ctx, v.fromCache())
	fmt.Printf("storm: %s, instance down, one initialised cache: %d of %d failed\n", v.name, len(few.failed), few.size)
	if len(few.failed) != few.size {
		t.Errorf("%s with its cache verified %d times while the mirror is down: the pages say that it cannot", v.name, few.size-len(few.failed))
	}
	if i := slices.IndexFunc(few.failed, func(out string) bool { return !strings.Contains(out, "connection refused") }); i >= 0 {
		t.Errorf("%s with its cache, mirror down, says: %s", v.name, few.failed[i])
	}
	return map[string]any{"trusted_root": "verifies", "cache": "does not verify"}
}

func programOf(t *testing.T, c clients.Client) string {
	t.Helper()
	path, err := c.Path()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
