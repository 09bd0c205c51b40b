package compose

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/clients"
	"github.com/sigbox/sigbox/e2e/internal/images"
	"github.com/sigbox/sigbox/e2e/internal/sh"
)

const (
	commandLimit = 60              // seconds, of each client command
	scriptLimit  = 3 * time.Minute // of a script
	issuerURL    = "http://127.0.0.1:8080"
	registryHost = "127.0.0.1:5001"
)

// visitor is somebody outside of the containers: a home, a directory to work in, the clients.
type visitor struct {
	t   *testing.T
	dir string
	env []string
}

// visit exports the trust of an instance and returns somebody who uses it.
func visit(t *testing.T, mirror, issuer string, more ...string) *visitor {
	t.Helper()
	v := &visitor{t: t, dir: t.TempDir()}
	work, trust := newDir(t, v.dir, "work"), filepath.Join(v.dir, "trust")
	data, err := filepath.Abs(filepath.Join("..", "testdata"))
	if err != nil {
		t.Fatal(err)
	}
	v.env = append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + newDir(t, v.dir, "home"), "LANG=C.UTF-8", "TMPDIR=" + os.TempDir(),
		"URL=" + issuer, "WORK=" + work, "TRUST=" + trust, "DATA=" + data, "COSIGN_PASSWORD=", fmt.Sprintf("LIMIT=%d", commandLimit),
		"SIGBOX=" + world.sigbox, "REKORCLI=", "TOOL=",
		"ISSUER=" + issuer,
	}, more...)
	for name, c := range map[string]clients.Client{"COSIGN3": clients.Cosign3, "COSIGN2": clients.Cosign2} {
		path, err := c.Path()
		if err != nil {
			t.Fatal(err)
		}
		v.env = append(v.env, name+"="+path)
	}
	v.sigbox("trust", "export", "--url", mirror, "--out", trust)
	return v
}

func (v *visitor) sigbox(args ...string) string {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, world.sigbox, args...)
	cmd.Env, cmd.Dir = v.env, v.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		v.t.Fatalf("sigbox %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (v *visitor) script(what, script string, more ...string) {
	v.t.Helper()
	start := time.Now()
	out, err := sh.Run(context.Background(), nil, sh.Prelude+script, append(append([]string{}, v.env...), more...), scriptLimit)
	if err != nil {
		v.t.Fatalf("%s: %v\n%s", what, err, out)
	}
	fmt.Printf("ok %5.1f s  %s\n", time.Since(start).Seconds(), what)
}

const me = `--certificate-identity dev@example.com --certificate-oidc-issuer "$ISSUER"`

// signing is what both generations of cosign do on both logs; cosign 2 can not put images on the second one.
// $N tells the rounds apart. Every bundle is verified by whoever can.
const signing = `
TOKEN=$(token dev@example.com)
V2="--signing-config $TRUST/signing_config_rekor_v2.v0.2.json"
echo "hello $N" > "blob$N"
cosign3 sign-blob --yes --identity-token "$TOKEN" --bundle "v1-3.$N" "blob$N"
cosign3 sign-blob --yes --identity-token "$TOKEN" $V2 --bundle "v2-3.$N" "blob$N"
cosign2 sign-blob --yes --identity-token "$TOKEN" --bundle "v1-2.$N" "blob$N"
cosign2sc sign-blob --yes --identity-token "$TOKEN" --new-bundle-format $V2 --bundle "v2-2.$N" "blob$N"
cosign3 sign --yes --identity-token "$TOKEN" "$IMAGE"
cosign3 sign --yes --identity-token "$TOKEN" $V2 "$IMAGE2"
cosign2 sign --yes --identity-token "$TOKEN" "$IMAGE3"
cosign3 attest --yes --identity-token "$TOKEN" --type slsaprovenance --predicate "$DATA/slsaprovenance.json" "$IMAGE"
cosign3 attest --yes --identity-token "$TOKEN" $V2 --type cyclonedx --predicate "$DATA/cyclonedx.json" "$IMAGE2"
cosign2 attest --yes --identity-token "$TOKEN" --type cyclonedx --predicate "$DATA/cyclonedx.json" "$IMAGE3"
`

const verifying = `
cosign3 verify-blob --bundle "v1-3.$N" ` + me + ` "blob$N"
cosign2 verify-blob --bundle "v1-3.$N" ` + me + ` "blob$N"
cosign3 verify-blob --bundle "v2-3.$N" ` + me + ` "blob$N"
cosign2 verify-blob --use-signed-timestamps --bundle "v2-3.$N" ` + me + ` "blob$N"
cosign2 verify-blob --bundle "v1-2.$N" ` + me + ` "blob$N"
cosign3 verify-blob --bundle "v2-2.$N" ` + me + ` "blob$N"
cosign3 verify ` + me + ` "$IMAGE"
cosign3 verify ` + me + ` "$IMAGE2"
cosign2 verify ` + me + ` "$IMAGE3"
cosign3 verify-attestation --type slsaprovenance ` + me + ` "$IMAGE"
cosign3 verify-attestation --type cyclonedx ` + me + ` "$IMAGE2"
cosign2 verify-attestation --type cyclonedx ` + me + ` "$IMAGE3"
refuses 'none of the expected identities matched' cosign2 verify --certificate-identity eve@example.com --certificate-oidc-issuer "$ISSUER" "$IMAGE3"
echo tampered > other
refuses 'could not verify message' cosign3 verify-blob --bundle "v1-3.$N" ` + me + ` other
`

// quick is one signature on each log.
const quick = `
TOKEN=$(token dev@example.com)
echo "hello $N" > quick
cosign3 sign-blob --yes --identity-token "$TOKEN" --bundle quick.v1 quick
cosign3 verify-blob --bundle quick.v1 ` + me + ` quick
cosign3 sign-blob --yes --identity-token "$TOKEN" --signing-config "$TRUST/signing_config_rekor_v2.v0.2.json" --bundle quick.v2 quick
cosign3 verify-blob --bundle quick.v2 ` + me + ` quick
`

// signed is what one round of signing made, to be verified again later.
type signed []string

// sign makes images, signs everything and verifies it.
func (v *visitor) sign(round string) signed {
	v.t.Helper()
	made := signed{"N=" + round}
	for _, name := range []string{"IMAGE", "IMAGE2", "IMAGE3"} {
		digest, err := images.Push(context.Background(), fmt.Sprintf("%s/app-%d:1.0", registryHost, time.Now().UnixNano()))
		if err != nil {
			v.t.Fatal(err)
		}
		made = append(made, name+"="+digest)
	}
	v.script("cosign 2 and 3 sign blobs and images and attest, on both logs, "+round, signing, made...)
	v.verify(made)
	return made
}

func (v *visitor) verify(s signed) {
	v.t.Helper()
	v.script("cosign 2 and 3 verify what was signed "+strings.TrimPrefix(s[0], "N="), verifying, s...)
}
