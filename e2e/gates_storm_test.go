package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/clients"
	"github.com/sigbox/sigbox/e2e/internal/images"
	"github.com/sigbox/sigbox/e2e/internal/matrix"
	"github.com/sigbox/sigbox/e2e/internal/ran"
	"github.com/sigbox/sigbox/internal/record"
)

// verdict is one gate as the storm runs it.
type verdict struct {
	client string // as the table has it
	what   string
	of     clients.Client
	args   []string // of the real program
	passes int      // in Kyverno's last line, for each pod of the file that it is given; 0 for the tester
	mirror bool     // it asks the mirror, so it needs a home of its own that it can write to
	cache  bool     // its home is a copy of one that sigbox trust init filled
	bundle bool     // it reads a new bundle, all others the legacy format

	down matrix.Cell // what becomes of it while the mirror is down
}

const (
	stillAdmits = "admits"
	noLonger    = "refuses: it fetches the trust root each time"
)

// verdicts are the gates of the storm. image and bundle are signed in the legacy format and in a new bundle.
func verdicts(image, bundle string) []verdict {
	tester := func(image, policy string, more ...string) []string {
		return append([]string{"--log-level", "error", "--image", image, "--policy", policy}, more...)
	}
	kyverno := func(policy string) []string {
		return []string{"apply", policy, "--registry", "--remove-color", "-v", "1", "--resource"}
	}
	return []verdict{
		{client: "policy-controller", what: "TrustRoot with inlined keys", of: clients.Tester, args: tester(image, "pc/signature.yaml", "--trustroot", "pc/trustroot-keys.yaml"), down: stillAdmits},
		{client: "policy-controller", what: "TrustRoot with the mirror inlined", of: clients.Tester, args: tester(image, "pc/signature.yaml", "--trustroot", "pc/trustroot-repository.yaml"), down: stillAdmits},
		{client: "Kyverno", what: "ClusterPolicy with inlined keys", of: clients.Kyverno, args: kyverno("k/clusterpolicy.yaml"), passes: 2, down: stillAdmits},
		{client: "policy-controller", what: "TrustRoot with the mirror's address", of: clients.Tester, args: tester(image, "pc/signature.yaml", "--trustroot", "pc/trustroot-remote.yaml"), mirror: true, down: noLonger},
		{client: "policy-controller", what: "new bundle over a cache of sigbox trust init", of: clients.Tester, args: tester(bundle, "pc/provenance-bundle.yaml"), bundle: true, mirror: true, cache: true, down: stillAdmits},
		{client: "Kyverno", what: "ImageValidatingPolicy", of: clients.Kyverno, args: kyverno("k/imagevalidatingpolicy.yaml"), passes: 1, mirror: true, down: noLonger},
		{client: "Kyverno", what: "ClusterPolicy without keys over a cache of sigbox trust init", of: clients.Kyverno, args: kyverno("k/plain/cosign.yaml"), passes: 2, mirror: true, cache: true, down: stillAdmits},
	}
}

func (v verdict) stormRow() string {
	if v.mirror {
		return "admission storm over the mirror: " + v.what
	}
	return "admission storm, no writable home: " + v.what
}

func (v verdict) downRow() string { return "mirror down: " + v.what }

// kyvernos are processes of Kyverno at the same time, some 250 MB each.
const kyvernos = 25

// storm is of few verifications or of as many as are asked for. The tester judges one image; a Kyverno, which
// takes a second to start, judges a file of pods of which each has another image.
func (v verdict) storm(t *testing.T, few int) *storm {
	t.Helper()
	if v.of != clients.Kyverno {
		return newStorm(t, few, 64)
	}
	size := stormSize(t, few)
	each := min(size, max(3, size/kyvernos))
	processes := (size + each - 1) / each
	return &storm{processes: processes, each: each, atOnce: min(processes, kyvernos)}
}

const (
	fewGates = 6
	fewDown  = 1
)

// gateStorm is what its storms share.
type gateStorm struct {
	*rig
	started time.Time
	front   *images.Front
	signed  []string                  // images in the legacy format: as many as a Kyverno judges
	bundle  string                    // one in a new bundle
	storms  map[string][]record.Storm // by client
}

// TestGateStorm: verifications at the same time. With inlined keys nobody asks the log or the mirror anything;
// over the mirror the requests of each process are counted, and none is to the log. Then the mirror goes
// down. The registry says whether every signature was read, so that no cache hides one.
func TestGateStorm(t *testing.T) {
	g := gateStorm{started: time.Now(), rig: start(t), front: images.NewFront(t, world.registry), storms: map[string][]record.Storm{}}
	g.sign(t)
	g.dropRun(t)
	list := verdicts(g.signed[0], g.bundle)
	for _, v := range list {
		t.Run(v.stormRow(), func(t *testing.T) { g.up(t, v) })
	}
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, v := range list {
		t.Run(v.downRow(), func(t *testing.T) { g.down(t, v) })
	}
}

// keep adds a storm to the client's figures. They are written each time, so that who stops a long run has those
// that were done.
func (g *gateStorm) keep(t *testing.T, s record.Storm) {
	t.Helper()
	g.storms[s.Client] = append(g.storms[s.Client], s)
	keep(t, "storm-"+strings.ToLower(s.Client), g.started, map[string]any{"storms": g.storms[s.Client]})
}

// sign makes the images, and a file of pods for each number of them that a Kyverno is given.
func (g *gateStorm) sign(t *testing.T) {
	t.Helper()
	most := verdict{of: clients.Kyverno}.storm(t, fewGates).each
	for range most {
		_, image := push(t, g.front.Addr)
		g.signed = append(g.signed, image)
	}
	_, g.bundle = push(t, g.front.Addr)
	env := g.env(t, "TOKEN="+g.token(t, "dev@example.com"), "REPO="+repository(g.bundle), "BUNDLE="+g.bundle)
	g.script(t, atGates+`
files policy-controller pc --image "${REPO%/*}/app"
files kyverno k --image "${REPO%/*}/app"
new attest --yes --type slsaprovenance1 --predicate "$DATA/slsaprovenance1.json" "$BUNDLE"
sigbox trust init --mirror "$MIRROR" --root k/root.json
`, env)
	for _, image := range g.signed {
		g.script(t, atGates+`pasted pc/sign-cosign2.sh "$IMAGE"`, append(env, "IMAGE="+image))
	}
	for _, n := range []int{1, most} {
		var pods strings.Builder
		for i, image := range g.signed[:n] {
			fmt.Fprintf(&pods, "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: app-%d\nspec:\n  containers:\n  - name: app\n    image: %s\n", i, image)
		}
		if err := os.WriteFile(filepath.Join(g.work, podsFile(n)), []byte(pods.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func podsFile(n int) string { return fmt.Sprintf("pods-%d.yaml", n) }

// up is a storm while the instance runs: all are admitted.
func (g *gateStorm) up(t *testing.T, v verdict) {
	outcome := matrix.Works
	defer func() { cellOf(t, v.client, v.stormRow(), 1, outcome)() }()
	s := v.storm(t, fewGates)
	first := 0
	if v.mirror && s.each > 1 {
		one := &storm{processes: 1, each: 1, atOnce: 1}
		got, _ := g.rage(t, one, v, false)
		first = one.mirrorOnly(t, v.what, got)
		one.passed(t, v.client+", "+v.what)
	}
	got, figures := g.rage(t, s, v, false)
	g.keep(t, figures)
	s.passed(t, v.client+", "+v.what)
	switch each := s.mirrorOnly(t, v.client+", "+v.what, got); {
	case !v.mirror && each != 0:
		t.Errorf("%d requests to the mirror", got.mirror())
	case v.mirror && s.each > 1 && (each-first)%(s.each-1) != 0:
		t.Errorf("%d requests to the mirror of a process with one image, %d with %d: does it not ask the same for each?", first, each, s.each)
	case v.mirror && s.each > 1 && each > first:
		outcome = matrix.Cell(fmt.Sprintf("yes: %d requests of each process, %d more for each further image, none to the log", first, (each-first)/(s.each-1)))
	case v.mirror:
		outcome = matrix.Cell(fmt.Sprintf("yes: %d requests of each process, none to the log", each))
	}
	g.keepRun(t, v.client, v.stormRow(), 1, outcome)
}

// down is a storm while nobody answers but the registry: all are admitted, or none because the mirror is away.
func (g *gateStorm) down(t *testing.T, v verdict) {
	defer cellOf(t, v.client, v.downRow(), 1, v.down)()
	s := v.storm(t, fewDown)
	_, figures := g.rage(t, s, v, true)
	g.keep(t, figures)
	if v.down == stillAdmits {
		s.passed(t, v.client+", "+v.downRow())
	} else if len(s.failed) != s.processes {
		t.Errorf("%d of %d processes admitted, want none: if this program can now do what it could not, its page says too little", s.processes-len(s.failed), s.processes)
	}
	for _, out := range s.failed {
		if !strings.Contains(out, "connection refused") || v.passes > 0 && !strings.Contains(out, summary(0, s.each)) {
			t.Errorf("it refuses, but does not say of all %d that the mirror is away: %s", s.each, out)
			break
		}
	}
	g.keepRun(t, v.client, v.downRow(), 1, v.down)
}

// rage runs the storm and returns what the instance was asked. Every process that admits has read the signature
// of every one of its images.
func (g *gateStorm) rage(t *testing.T, s *storm, v verdict, down bool) (got asked, f record.Storm) {
	t.Helper()
	var before asked
	if !down {
		before = g.requests(t)
	}
	reads := g.front.Reads()
	s.rage(t.Context(), func(ctx context.Context, i int) (string, error) {
		return g.verify(ctx, t, v, s.each, i == 0, down || !v.mirror)
	})
	if !down {
		got = g.requests(t).since(before)
	}
	f = s.figures(v.client, v.of.Version, v.what, down, got)
	now, admitting := g.front.Reads(), s.processes-len(s.failed)
	for _, path := range g.signatures(v, s.each) {
		n := now[path] - reads[path]
		if n < admitting {
			t.Errorf("%s: %d processes admitted, and %s was read %d times", v.what, admitting, path, n)
		}
		f.Registry += n
	}
	fmt.Printf("storm: %s, %s: signatures read from the registry %d times\n", v.client, v.what, f.Registry)
	return got, f
}

// signatures are the paths that hold those of the images in the registry, which knows no referrers.
func (g *gateStorm) signatures(v verdict, n int) (paths []string) {
	list, suffix := g.signed[:n], ".sig"
	if v.bundle {
		list, suffix = []string{g.bundle}, ""
	}
	for _, image := range list {
		repo, digest, _ := strings.Cut(strings.TrimPrefix(image, g.front.Addr), "@")
		paths = append(paths, "/v2"+repo+"/manifests/"+strings.ReplaceAll(digest, ":", "-")+suffix)
	}
	return paths
}

// summary is Kyverno's last line.
func summary(pass, fail int) string {
	return fmt.Sprintf("pass: %d, fail: %d, warn: 0, error: 0, skip: 0", pass, fail)
}

// verify runs the gate once, on so many images. Only the first of many is noted for the results, and whether
// it had nothing but files and the registry.
func (g *gateStorm) verify(ctx context.Context, t *testing.T, v verdict, n int, noted, offline bool) (string, error) {
	program, err := v.of.Path()
	if err != nil {
		return "", err
	}
	if noted {
		program = g.wrapped(t, map[string]string{"policy-controller": "TESTER", "Kyverno": "KYVERNO"}[v.client], program)
	}
	home := "/dev/null/home" // which even root cannot make
	if v.mirror {
		if home, err = os.MkdirTemp(g.work, "home-"); err != nil {
			return "", err
		}
		defer os.RemoveAll(home)
	}
	if v.cache {
		if err := os.CopyFS(filepath.Join(home, ".sigstore"), os.DirFS(filepath.Join(g.home, ".sigstore"))); err != nil {
			return "", err
		}
	}
	args := slices.Clone(v.args)
	if v.passes > 0 {
		args = append(args, podsFile(n))
	}
	ctx, cancel := context.WithTimeout(ctx, scenarioLimit+time.Duration(n)*commandLimit*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = g.work
	cmd.Env = append(g.base(), "HOME="+home)
	if offline {
		cmd.Env = append(cmd.Env, ran.OfflineVar+"=1")
	}
	out, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		err = errors.Join(err, ctx.Err())
	case err == nil && v.passes > 0 && !strings.Contains(string(out), summary(n*v.passes, 0)):
		err = fmt.Errorf("it does not say %q", summary(n*v.passes, 0))
	}
	return string(out), err
}
