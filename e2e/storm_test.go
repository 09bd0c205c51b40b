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
	"github.com/sigbox/sigbox/internal/record"
)

// stormVar is how many verifications make a storm; `make proof` sets it to 1,000.
const stormVar = "SIGBOX_E2E_STORM"

const (
	stormRow = "a storm of verifications: --trusted-root and no writable home ask log and mirror nothing; by the mirror; with it down"

	stormLimit = time.Hour // of one storm
)

// storm is many processes beside each other, each with as many verifications.
type storm struct {
	processes, each, atOnce int
	took                    time.Duration
	failed                  []string // what those printed that did not succeed
}

// stormSize is few verifications, or as many as are asked for.
func stormSize(t *testing.T, few int) int {
	t.Helper()
	v := os.Getenv(stormVar)
	if v == "" {
		return few
	}
	size, err := strconv.Atoi(v)
	if err != nil || size < 1 {
		t.Fatalf("%s=%q: want how many verifications", stormVar, v)
	}
	return size
}

// newStorm is of few processes, or of as many as are asked for, at most so many of them at a time.
func newStorm(t *testing.T, few, atOnce int) *storm {
	t.Helper()
	size := stormSize(t, few)
	return &storm{processes: size, each: 1, atOnce: min(size, atOnce)}
}

func (s *storm) verifications() int { return s.processes * s.each }

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
	for i := range s.processes {
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
		t.Errorf("%s: %d of %d processes failed; the first: %s", what, len(s.failed), s.processes, s.failed[0])
	}
}

// figures are those of the storm, which it prints too.
func (s *storm) figures(client, version, what string, down bool, got asked) record.Storm {
	f := record.Storm{
		Client: client, Version: version, What: what, Down: down, Verifications: s.verifications(), Processes: s.processes, AtOnce: s.atOnce,
		Seconds: s.took.Seconds(), Passed: (s.processes - len(s.failed)) * s.each, Mirror: got.mirror(), Logs: got.logs(),
	}
	fmt.Printf("storm: %s, %s, instance down: %v: %d verifications by %d processes, %d at once, %.1f s, %d passed; requests to the mirror %d, to the logs %d\n",
		client, what, down, f.Verifications, f.Processes, f.AtOnce, f.Seconds, f.Passed, f.Mirror, f.Logs)
	return f
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

// mirrorOnly wants no request but to the mirror, and as many by every process, which it returns.
func (s *storm) mirrorOnly(t *testing.T, what string, got asked) int {
	t.Helper()
	if got.logs() != 0 {
		t.Errorf("%s: the instance was asked %v, want nothing but the mirror", what, map[string]int(got))
	}
	if got.mirror()%s.processes != 0 {
		t.Errorf("%s: %d requests to the mirror of %d processes: do they not ask the same?", what, got.mirror(), s.processes)
	}
	return got.mirror() / s.processes
}

// nowhere is a home that nobody can write to or make, root included.
const nowhere = "/proc/nobody"

// TestStorm: as many verifications of images as an admission controller makes when a cluster comes up. With
// --trusted-root neither the log nor the mirror is asked, and nothing is written. By the mirror, each
// process asks it. When it is down, those that have trusted_root.json go on.
func TestStorm(t *testing.T) {
	defer cell(t, "cosign 2, 3", stormRow, 1)()
	for _, v := range []*verification{
		{of: clients.Cosign3, name: "cosign 3", typed: "cosign3", variable: "COSIGN3"},
		{of: clients.Cosign2, name: "cosign 2", typed: "cosign2", variable: "COSIGN2"},
	} {
		t.Run(v.name, v.test)
	}
}

func (v *verification) test(t *testing.T) {
	v.started, v.r, v.program = time.Now(), start(t), programOf(t, v.of)
	_, v.image = push(t, world.registry)
	v.cache = filepath.Join(v.r.work, "cache")
	env := v.r.env(t, "IMAGE="+v.image, "TOKEN="+v.r.token(t, "dev@example.com"))
	v.r.script(t, v.typed+` sign --yes --identity-token "$TOKEN" "$IMAGE"
TUF_ROOT=$WORK/cache within "$`+v.variable+`" initialize --mirror "$MIRROR" --root "$TRUST/root.json"
`, env)
	v.up(t)
	v.r.script(t, `"$`+v.variable+`" verify --trusted-root "$TRUST/trusted_root.json" `+me+` "$IMAGE"`, append(env, "HOME="+nowhere))
	v.r.keepRun(t, "", stormRow, 1, matrix.Works)
	if err := v.r.Stop(); err != nil {
		t.Fatal(err)
	}
	v.down(t)
}

// verification is one client's part of a storm.
type verification struct {
	of                    clients.Client
	name, typed, variable string // as the table and as scripts have it
	r                     *rig
	program, image, cache string
	started               time.Time
	storms                []record.Storm
}

// keep adds a storm to the client's figures. They are written each time, so that who stops a long run has those
// that were done.
func (v *verification) keep(t *testing.T, s record.Storm) {
	t.Helper()
	v.storms = append(v.storms, s)
	keep(t, "storm-"+strings.ReplaceAll(v.name, " ", "-"), v.started, map[string]any{"storms": v.storms})
}

// Where the trust of a verification comes from.
const (
	fromFile  = "--trusted-root, no writable home"
	fromCache = "the mirror, by one initialised cache"
	fromEmpty = "the mirror, by an empty cache each"
)

// cosignsAtOnce are some 60 MB each. With 200 on two cores that had much other work, 36 of 1,000 said that the image
// has no signature, of which the registry's log showed no refused request: they may have waited too long for it.
const cosignsAtOnce = 64

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

// by verifies with the trust from there. The i-th process has the i-th of the empty caches in dir.
func (v *verification) by(how, dir string) func(context.Context, int) (string, error) {
	switch how {
	case fromFile:
		return v.run([]string{"HOME=" + nowhere}, "--trusted-root", filepath.Join(v.r.trust, "trusted_root.json"))
	case fromCache:
		return v.run([]string{"TUF_ROOT=" + v.cache})
	}
	return func(ctx context.Context, i int) (string, error) {
		cache := filepath.Join(dir, strconv.Itoa(i))
		defer os.RemoveAll(cache)
		return v.run([]string{"TUF_ROOT=" + cache, "TUF_MIRROR=" + v.r.mirror, "TUF_ROOT_JSON=" + filepath.Join(v.r.trust, "root.json")})(ctx, i)
	}
}

// up is what happens while the instance runs: all pass, and nobody asks but for the mirror's files.
func (v *verification) up(t *testing.T) {
	t.Helper()
	for _, c := range []struct {
		how string
		few int
	}{{fromFile, 40}, {fromCache, 40}, {fromEmpty, 20}} {
		s, before := newStorm(t, c.few, cosignsAtOnce), v.r.requests(t)
		s.rage(t.Context(), v.by(c.how, t.TempDir()))
		got := v.r.requests(t).since(before)
		v.keep(t, s.figures(v.name, v.of.Version, c.how, false, got))
		s.passed(t, v.name+", "+c.how)
		each := s.mirrorOnly(t, v.name+", "+c.how, got)
		fmt.Printf("storm: %s, %s: %d requests to the mirror by each process\n", v.name, c.how, each)
		if c.how == fromFile && len(got) != 0 {
			t.Errorf("%s, %s: the instance was asked %v, want nothing", v.name, c.how, map[string]int(got))
		}
	}
}

// down is what happens when nobody answers any more.
func (v *verification) down(t *testing.T) {
	t.Helper()
	for _, how := range []string{fromFile, fromCache} {
		s := newStorm(t, 20, cosignsAtOnce)
		s.rage(t.Context(), v.by(how, ""))
		v.keep(t, s.figures(v.name, v.of.Version, how, true, nil))
		if how == fromFile {
			s.passed(t, v.name+", instance down, "+how)
			continue
		}
		if len(s.failed) != s.processes {
			t.Errorf("%s with its cache verified %d times while the mirror is down: the pages say that it cannot", v.name, s.processes-len(s.failed))
		}
		if i := slices.IndexFunc(s.failed, func(out string) bool { return !strings.Contains(out, "connection refused") }); i >= 0 {
			t.Errorf("%s with its cache, mirror down, says: %s", v.name, s.failed[i])
		}
	}
}

func programOf(t *testing.T, c clients.Client) string {
	t.Helper()
	path, err := c.Path()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
