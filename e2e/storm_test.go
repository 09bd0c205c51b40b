package e2e

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
	stormSize   = 40  // in CI
	stormAtOnce = 200 // processes: a cosign takes some 60 MB
	stormRow    = "a storm of verifications: --trusted-root and no writable home ask log and mirror nothing; by the mirror; with it down"
)

// storm is many processes beside each other.
type storm struct {
	size, atOnce int
	took         time.Duration
	failed       []string // what those printed that did not succeed
}

func newStorm(t *testing.T) *storm {
	t.Helper()
	s := &storm{size: stormSize}
	if v := os.Getenv(stormVar); v != "" {
		var err error
		if s.size, err = strconv.Atoi(v); err != nil || s.size < 1 {
			t.Fatalf("%s=%q: want how many verifications", stormVar, v)
		}
	}
	s.atOnce = min(s.size, stormAtOnce)
	return s
}

// rage runs the processes; command makes the i-th.
func (s *storm) rage(ctx context.Context, command func(ctx context.Context, i int) *exec.Cmd) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	started := time.Now()
	var mu sync.Mutex
	var all sync.WaitGroup
	s.failed = nil
	next := make(chan int)
	for range s.atOnce {
		all.Go(func() {
			for i := range next {
				cmd := command(ctx, i)
				cmd.WaitDelay = 2 * time.Second
				if out, err := cmd.CombinedOutput(); err != nil {
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

var routeCount = regexp.MustCompile(`^sigbox_http_request_seconds_count\{route="([^"]*)"\} (\d+)$`)

// requests are what the instance answered so far, by route, but for requests like this one.
func (r *rig) requests(t *testing.T) map[string]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandLimit*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	counts := map[string]int{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if m := routeCount.FindStringSubmatch(lines.Text()); m != nil && m[1] != "GET /metrics" {
			if counts[m[1]], err = strconv.Atoi(m[2]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(counts) == 0 {
		t.Fatal("the metrics count no requests")
	}
	return counts
}

// since is what was asked after before.
func since(before, after map[string]int) map[string]int {
	out := map[string]int{}
	for route, n := range after {
		if n > before[route] {
			out[route] = n - before[route]
		}
	}
	return out
}

// mirrorOnly wants no request but to the mirror, and prints how many each process made.
func mirrorOnly(t *testing.T, what string, asked map[string]int, processes int) float64 {
	t.Helper()
	const mirror = "GET /tuf/{path...}"
	for _, route := range slices.Sorted(maps.Keys(asked)) {
		if route != mirror {
			t.Errorf("%s: %d requests to %s, want none but to the mirror", what, asked[route], route)
		}
	}
	each := float64(asked[mirror]) / float64(processes)
	fmt.Printf("storm: %s: %.2f requests to the mirror per process, none to the log\n", what, each)
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
	repo, _, _ := strings.Cut(image, "@")
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
	for _, v := range []verification{
		{name: "cosign 3", program: programOf(t, clients.Cosign3), image: image, cache: "cache-3"},
		{name: "cosign 2", program: programOf(t, clients.Cosign2), image: legacy, cache: "cache-2"},
	} {
		v.r, v.storm, v.cache = r, newStorm(t), filepath.Join(r.work, v.cache)
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

func (v *verification) command(env []string, args ...string) func(context.Context, int) *exec.Cmd {
	return func(ctx context.Context, _ int) *exec.Cmd {
		cmd := exec.CommandContext(ctx, v.program, append([]string{"verify", "--certificate-identity", "dev@example.com",
			"--certificate-oidc-issuer", v.r.issuer, v.image}, args...)...)
		cmd.Env = append(v.r.base(), env...)
		return cmd
	}
}

func (v *verification) fromFile() func(context.Context, int) *exec.Cmd {
	return v.command([]string{"HOME=" + nowhere}, "--trusted-root", filepath.Join(v.r.trust, "trusted_root.json"))
}

func (v *verification) fromCache() func(context.Context, int) *exec.Cmd {
	return v.command([]string{"TUF_ROOT=" + v.cache})
}

// up is what happens while the instance runs.
func (v *verification) up(t *testing.T) map[string]any {
	t.Helper()
	ctx := t.Context()
	before := v.r.requests(t)
	v.rage(ctx, v.fromFile())
	v.passed(t, v.name+", --trusted-root, no writable home")
	asked := since(before, v.r.requests(t))
	if len(asked) != 0 {
		t.Errorf("%s, --trusted-root: the instance was asked %v, want nothing", v.name, asked)
	}
	fmt.Printf("storm: %s, --trusted-root: %d requests to the instance\n", v.name, len(asked))
	figures := map[string]any{"verifications": v.size, "at_once": v.atOnce, "trusted_root_seconds": v.took.Seconds(), "trusted_root_requests": asked}

	before = v.r.requests(t)
	v.rage(ctx, v.fromCache())
	v.passed(t, v.name+", one initialised cache")
	figures["cache_seconds"], figures["cache_failed"] = v.took.Seconds(), len(v.failed)
	figures["cache_requests_each"] = mirrorOnly(t, v.name+", one initialised cache", since(before, v.r.requests(t)), v.size)

	before = v.r.requests(t)
	fresh := &storm{size: min(v.size, 20), atOnce: 10}
	dirs := t.TempDir()
	fresh.rage(ctx, func(ctx context.Context, i int) *exec.Cmd {
		return v.command([]string{
			fmt.Sprintf("TUF_ROOT=%s/%d", dirs, i), "TUF_MIRROR=" + v.r.mirror, "TUF_ROOT_JSON=" + filepath.Join(v.r.trust, "root.json"),
		})(ctx, i)
	})
	fresh.passed(t, v.name+", an empty cache each")
	figures["empty_cache_requests_each"] = mirrorOnly(t, v.name+", an empty cache each", since(before, v.r.requests(t)), fresh.size)
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
