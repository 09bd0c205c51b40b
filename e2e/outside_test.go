package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/instance"
	"github.com/sigbox/sigbox/e2e/internal/matrix"
	"github.com/sigbox/sigbox/e2e/internal/outside"
	"github.com/sigbox/sigbox/e2e/internal/ran"
)

const (
	goneRow   = "verify with the network gone: empty namespace, --trusted-root"
	leavesRow = "nothing leaves: the table again where every name is refused and every address recorded"
	trapRow   = "the trap: sign --key without the environment file asks for the public log"
)

// namespaced skips where namespaces cannot be made; the table then says "not run". In CI that is a
// failure: nothing is left out there.
func namespaced(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, outside.ErrUnavailable) && os.Getenv("CI") == "" {
		t.Skipf("NOT RUN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestNetworkGone: what was signed with an instance verifies where there is no network at all.
func TestNetworkGone(t *testing.T) {
	t.Parallel()
	before, err := outside.Gone(context.Background())
	namespaced(t, err)
	for log := 1; log <= 2; log++ {
		t.Run(fmt.Sprintf("v%d", log), func(t *testing.T) {
			defer cell(t, "cosign 2, 3", goneRow, log)()
			registry := freeAddr(t)
			r := start(t, "--registry", registry)
			_, image := push(t, registry)
			env := r.env(t, append(logVars(r, log), "IMAGE="+image, "TOKEN="+r.token(t, "dev@example.com"))...)
			r.script(t, `
echo hello > blob
cosign3 sign-blob --yes --identity-token "$TOKEN" $LOG --bundle blob.bundle blob
cosign3 attest-blob --yes --identity-token "$TOKEN" $LOG --type custom --predicate "$DATA/custom.json" --bundle blob.att blob
cosign2 sign --yes --identity-token "$TOKEN" "$IMAGE"
cosign2 save --dir saved "$IMAGE"
`, env)
			r.script(t, `
if curl -s --max-time 5 "$URL"; then exit 1; fi
root="--trusted-root $TRUST/trusted_root.json"
"$COSIGN3" verify-blob $root --bundle blob.bundle `+me+` blob
"$COSIGN3" verify-blob-attestation $root --bundle blob.att --type custom `+me+` blob
"$COSIGN2" verify-blob $root --new-bundle-format $STAMPED --bundle blob.bundle `+me+` blob
"$COSIGN2" verify $root --local-image --offline `+me+` saved
"$COSIGN3" verify $root --local-image --offline --new-bundle-format=false `+me+` saved
echo tampered > blob
refuses 'failed to verify signature' "$COSIGN3" verify-blob $root --bundle blob.bundle `+me+` blob
`, append(env, ran.OfflineVar+"=1"), before...)
			r.keepRun(t, "", goneRow, log, matrix.Works)
		})
	}
}

// TestNothingLeaves runs the table once more where the only resolver refuses every name and
// every address is this machine, and fails on any name and on any address that is neither an
// instance nor the registry.
func TestNothingLeaves(t *testing.T) {
	if world.recorder != nil {
		t.Skip("this is the inside")
	}
	defer cell(t, "all", leavesRow, 0)()
	inside(t, "table", "^(TestScenarios|TestBrowserFlow|TestDeviceFlow|TestOAuthRefusals|TestGRPC)$")
}

// TestTrap: COSIGN_REKOR_URL is not among what `initialize` sets. The README warns of it; should
// a cosign ever change, this fails and the warning goes.
func TestTrap(t *testing.T) {
	if world.recorder == nil {
		defer cell(t, "cosign 2", trapRow, 1)()
		inside(t, "trap", "^TestTrap$")
		return
	}
	if names, dials := world.recorder.Names(), world.recorder.Dials(); len(names)+len(dials) != 0 {
		t.Fatalf("at the start, somebody asked for %v and dialled %v", names, dials)
	}
	registry := freeAddr(t)
	r := start(t, "--registry", registry)
	_, image := push(t, registry)
	env := r.env(t, "IMAGE="+image)
	r.script(t, `
"$COSIGN2" initialize --mirror "$MIRROR" --root "$MIRROR/root.json"
"$COSIGN2" generate-key-pair
`, env)
	if names := world.recorder.Names(); len(names) != 0 {
		t.Fatalf("initialize asked for %v", names)
	}
	r.script(t, `refuses 'rekor.sigstore.dev' "$COSIGN2" sign --yes --key cosign.key "$IMAGE"`, env)
	// The recorder is not blind to addresses either.
	if conn, err := net.DialTimeout("tcp", "192.0.2.1:443", time.Second); err == nil {
		conn.Close()
		t.Error("somebody answers at 192.0.2.1")
	}
	out, err := escaped(world.recorder)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(out, "address 192.0.2.1:443") {
		t.Errorf("a connection to 192.0.2.1:443 was not seen: %v", out)
	}
	if names := world.recorder.Names(); !slices.Contains(names, "rekor.sigstore.dev.") {
		t.Errorf("cosign 2 asked for %v, not for the public log: is the README's warning still true?", names)
	}
}

// inside runs tests of this program in a watched namespace.
func inside(t *testing.T, mode, run string) {
	t.Helper()
	started := time.Now()
	before, err := outside.Watched(context.Background(), t.TempDir())
	namespaced(t, err)
	passed := rerun(t, before, mode, run)
	fmt.Printf("ok %5.1f s  in a namespace that is watched: %d tests of the %s\n", time.Since(started).Seconds(), passed, mode)
}

// rerun runs tests of this program in a copy of it that before starts, and says how many have passed. All must.
func rerun(t *testing.T, before []string, mode, run string, env ...string) (passed int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	args := append(before, world.self, "-test.run", run, "-test.v", "-test.timeout", "15m", "-test.parallel", "3")
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(append(os.Environ(), insideVar+"="+mode, "SIGBOX_E2E_BINARY="+world.sigbox), env...)
	out, err := cmd.CombinedOutput()
	passed = strings.Count(string(out), "--- PASS")
	if err != nil || strings.Contains(string(out), "--- SKIP") {
		t.Fatalf("inside: %v\n%s", err, out)
	}
	if passed == 0 {
		t.Fatalf("inside: no test ran\n%s", out)
	}
	return passed
}

// escaped lists what a recorder saw that is not of the instances or their registries.
func escaped(r *outside.Recorder) ([]string, error) {
	if err := r.Settle(); err != nil {
		return nil, err
	}
	var out []string
	for _, name := range r.Names() {
		out = append(out, "name "+name)
	}
	own := instance.Ports()
	for _, a := range r.Dials() {
		if !a.Addr().IsLoopback() || !slices.Contains(own, int(a.Port())) {
			out = append(out, "address "+a.String())
		}
	}
	return out, nil
}

// logVars are the variables of a script that depend on the log.
func logVars(r *rig, log int) []string {
	if log == 1 {
		return []string{"LOG=", "STAMPED=", "CONFIG=signing_config.v0.2.json"}
	}
	const v2 = "signing_config_rekor_v2.v0.2.json"
	return []string{"LOG=--signing-config " + r.trust + "/" + v2, "STAMPED=--use-signed-timestamps", "CONFIG=" + v2}
}
