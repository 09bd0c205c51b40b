package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sigbox/sigbox/e2e/internal/clients"
	"github.com/sigbox/sigbox/e2e/internal/matrix"
	"github.com/sigbox/sigbox/e2e/internal/ran"
)

// verdict is one gate as the storm runs it.
type verdict struct {
	client string // as the table has it
	what   string
	of     clients.Client
	args   []string // of the real program; $IMAGE's pod is pod.yaml or pod-bundle.yaml
	mirror bool     // it asks the mirror, so it needs a home of its own that it can write to
	cache  bool     // its home is a copy of one that sigbox trust init filled

	down matrix.Cell // what becomes of it while the mirror is down; "" where that is tried by a row elsewhere
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
	kyverno := func(policy, pod string) []string {
		return []string{"apply", policy, "--resource", pod, "--registry", "--remove-color", "-v", "1"}
	}
	return []verdict{
		{client: "policy-controller", what: "TrustRoot with inlined keys", of: clients.Tester, args: tester(image, "pc/signature.yaml", "--trustroot", "pc/trustroot-keys.yaml"), down: stillAdmits},
		{client: "policy-controller", what: "TrustRoot with the mirror inlined", of: clients.Tester, args: tester(image, "pc/signature.yaml", "--trustroot", "pc/trustroot-repository.yaml"), down: stillAdmits},
		{client: "Kyverno", what: "ClusterPolicy with inlined keys", of: clients.Kyverno, args: kyverno("k/clusterpolicy.yaml", "pod.yaml"), down: stillAdmits},
		{client: "policy-controller", what: "TrustRoot with the mirror's address", of: clients.Tester, args: tester(image, "pc/signature.yaml", "--trustroot", "pc/trustroot-remote.yaml"), mirror: true, down: noLonger},
		{client: "policy-controller", what: "new bundle over a cache of sigbox trust init", of: clients.Tester, args: tester(bundle, "pc/provenance-bundle.yaml"), mirror: true, cache: true, down: stillAdmits},
		{client: "Kyverno", what: "ImageValidatingPolicy", of: clients.Kyverno, args: kyverno("k/imagevalidatingpolicy.yaml", "pod.yaml"), mirror: true, down: noLonger},
		{client: "Kyverno", what: "ClusterPolicy without keys over a cache of sigbox trust init", of: clients.Kyverno, args: kyverno("k/plain/cosign.yaml", "pod.yaml"), mirror: true, cache: true, down: stillAdmits},
	}
}

func (v verdict) stormRow() string {
	if v.mirror {
		return "admission storm over the mirror: " + v.what
	}
	return "admission storm, no writable home: " + v.what
}

func (v verdict) downRow() string { return "mirror down: " + v.what }

func (v verdict) storm(t *testing.T) *storm {
	t.Helper()
	if v.of == clients.Kyverno { // some 250 MB and a second of processor time each
		return newStorm(t, 6, 24)
	}
	return newStorm(t, 16, 64)
}

// TestGateStorm: verifications at the same time, each a process of its own. With inlined keys nobody asks the
// log or the mirror anything; over the mirror the requests of each process are counted, and none is to the
// log. Then the mirror goes down.
func TestGateStorm(t *testing.T) {
	r := start(t)
	_, image := push(t, world.registry)
	env := r.env(t, "TOKEN="+r.token(t, "dev@example.com"), "IMAGE="+image, "REPO="+repository(image))
	_, bundle := push(t, world.registry)
	env = append(env, "BUNDLE="+bundle)
	r.script(t, atGates+`
files policy-controller pc --image "${REPO%/*}/app"
files kyverno k --image "${REPO%/*}/app"
pasted pc/sign-cosign2.sh "$IMAGE"
new attest --yes --type slsaprovenance1 --predicate "$DATA/slsaprovenance1.json" "$BUNDLE"
pod "$IMAGE"
sigbox trust init --mirror "$MIRROR" --root k/root.json
`, env)
	r.dropRun(t)
	list := verdicts(image, bundle)
	for _, v := range list {
		t.Run(v.stormRow(), func(t *testing.T) { r.storm(t, v) })
	}
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, v := range list {
		t.Run(v.downRow(), func(t *testing.T) {
			defer cellOf(t, v.client, v.downRow(), 1, v.down)()
			out, err := r.verify(t.Context(), t, v, true, true)
			if admitted := err == nil; admitted != (v.down == stillAdmits) {
				t.Fatalf("admitted: %v, want %q: if this program can now do what it could not, its page says too little\n%v\n%s", admitted, v.down, err, out)
			}
			r.keepRun(t, v.downRow(), 1, v.down)
		})
	}
}

func (r *rig) storm(t *testing.T, v verdict) {
	outcome := matrix.Works
	defer func() { cellOf(t, v.client, v.stormRow(), 1, outcome)() }()
	s, before := v.storm(t), r.requests(t)
	s.rage(t.Context(), func(ctx context.Context, i int) (string, error) { return r.verify(ctx, t, v, i == 0, !v.mirror) })
	s.passed(t, v.client+", "+v.what)
	got := r.requests(t).since(before)
	switch each := mirrorOnly(t, v.client+", "+v.what, got, s.size); {
	case !v.mirror && got.mirror() != 0:
		t.Errorf("%d requests to the mirror", got.mirror())
	case got.mirror()%s.size != 0:
		t.Errorf("%d requests to the mirror of %d processes: do they not ask the same?", got.mirror(), s.size)
	case v.mirror:
		outcome = matrix.Cell(fmt.Sprintf("yes: %.0f requests of each process, none to the log", each))
	}
	r.keepRun(t, v.stormRow(), 1, outcome)
}

// verify runs the gate once. Only the first of many is noted for the results, and whether it had nothing but
// files and the registry.
func (r *rig) verify(ctx context.Context, t *testing.T, v verdict, noted, offline bool) (string, error) {
	program, err := v.of.Path()
	if err != nil {
		return "", err
	}
	if noted {
		program = r.wrapped(t, map[string]string{"policy-controller": "TESTER", "Kyverno": "KYVERNO"}[v.client], program)
	}
	home := "/dev/null/home" // which even root cannot make
	if v.mirror {
		if home, err = os.MkdirTemp(r.work, "home-"); err != nil {
			return "", err
		}
		defer os.RemoveAll(home)
	}
	if v.cache {
		if err := os.CopyFS(filepath.Join(home, ".sigstore"), os.DirFS(filepath.Join(r.home, ".sigstore"))); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, scenarioLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, v.args...)
	cmd.Dir = r.work
	cmd.Env = append(r.base(), "HOME="+home)
	if offline {
		cmd.Env = append(cmd.Env, ran.OfflineVar+"=1")
	}
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = errors.Join(err, ctx.Err())
	}
	return string(out), err
}
