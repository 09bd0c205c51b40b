package e2e

import (
	"context"
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
	"github.com/sigbox/sigbox/e2e/internal/instance"
	"github.com/sigbox/sigbox/e2e/internal/sh"
)

const (
	commandLimit  = 60              // seconds, of each client command
	scenarioLimit = 5 * time.Minute // of a script, on a busy machine
)

// rig is what a scenario runs against, and the directories of the scenario that uses it.
type rig struct {
	*instance.Instance // nil where a fleet serves
	issuer             string
	mirror             string // of the TUF repository
	rekor              string
	trust              string // of `sigbox trust export`
	work               string // where scripts run
	home               string
	cert               string                      // of the instance's own TLS; "" without
	again              func(context.Context) error // restarts what serves
	kept               int                         // how many of the noted commands are in the results
}

// start runs a new instance and exports its trust. Both end with the test.
func start(t *testing.T, args ...string) *rig {
	t.Helper()
	dir := t.TempDir()
	r := newRig(t, dir)
	if i := slices.Index(args, "--tls-cert"); i >= 0 {
		r.cert = args[i+1]
	}
	var err error
	r.Instance, err = instance.Start(context.Background(), instance.Options{
		Binary: world.sigbox, Data: filepath.Join(dir, "data"), Args: args, Env: r.base(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("sigbox printed on stderr:\n%s", r.Log())
		}
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	r.issuer, r.mirror, r.rekor, r.again = r.URL, r.URL+"/tuf", r.URL, r.restartInstance
	r.exportTrust(t)
	return r
}

// newRig returns a rig with directories and nothing that runs.
func newRig(t *testing.T, dir string) *rig {
	t.Helper()
	r := &rig{trust: filepath.Join(dir, "trust"), work: filepath.Join(dir, "work"), home: filepath.Join(dir, "home")}
	for _, d := range []string{r.work, r.home} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (r *rig) exportTrust(t *testing.T) {
	t.Helper()
	r.sigbox(t, "trust", "export", "--url", r.mirror, "--out", r.trust)
}

// base is an environment with nothing of this machine's in it but the program path: no proxy, no
// cloud credentials, no home.
func (r *rig) base() []string {
	e := []string{
		"HOME=" + r.home, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LANG=C.UTF-8", "TMPDIR=" + os.TempDir(),
	}
	if r.cert != "" {
		e = append(e, "SSL_CERT_FILE="+r.cert)
	}
	return e
}

// sigbox runs a command of the binary and returns its standard output.
func (r *rig) sigbox(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, world.sigbox, args...)
	cmd.Env, cmd.Dir = r.base(), r.work
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("sigbox %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

func (r *rig) token(t *testing.T, email string) string {
	t.Helper()
	return r.sigbox(t, "token", "--url", r.issuer, "--email", email)
}

// restart ends what serves as Ctrl-C does and starts it again.
func (r *rig) restart(t *testing.T) {
	t.Helper()
	if err := r.again(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) restartInstance(ctx context.Context) (err error) {
	if err := r.Stop(); err != nil {
		return err
	}
	r.Instance, err = r.Again(ctx)
	return err
}

// env is what scripts see: nothing of this machine, the paths of the clients, and where things are.
func (r *rig) env(t *testing.T, more ...string) []string {
	t.Helper()
	data, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	e := append(r.base(),
		"URL="+r.issuer, "MIRROR="+r.mirror, "REKOR="+r.rekor, "TRUST="+r.trust, "WORK="+r.work, "DATA="+data, "COSIGN_PASSWORD=",
		"SIGBOX="+world.sigbox, "TOOL="+world.self, fmt.Sprintf("LIMIT=%d", commandLimit))
	for name, c := range map[string]clients.Client{"COSIGN3": clients.Cosign3, "COSIGN2": clients.Cosign2, "REKORCLI": clients.RekorCLI,
		"GITSIGN": clients.Gitsign, "TESTER": clients.Tester, "KYVERNO": clients.Kyverno} {
		path, err := c.Path()
		if err != nil {
			t.Fatal(err)
		}
		e = append(e, name+"="+r.wrapped(t, name, path))
	}
	return append(append(e, r.libraries(t)...), more...)
}

// script runs a shell script with the prelude; what it printed is shown whole if it fails. The
// words of before, if any, start the shell.
func (r *rig) script(t *testing.T, script string, env []string, before ...string) string {
	t.Helper()
	out, err := sh.Run(context.Background(), before, sh.Prelude+script, env, scenarioLimit)
	if err != nil {
		t.Fatalf("script failed: %v\n%s", err, out)
	}
	return out
}

// shell runs a script as rig.script does, and leaves it to the caller what its failure means.
func shell(script string, env []string) (string, error) {
	return sh.Run(context.Background(), nil, sh.Prelude+script, env, scenarioLimit)
}

// push makes an image in the registry and returns its reference by tag and by digest.
func push(t *testing.T, registry string) (tag, digest string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tag = fmt.Sprintf("%s/app-%d:1.0", registry, time.Now().UnixNano())
	digest, err := images.Push(ctx, tag)
	if err != nil {
		t.Fatal(err)
	}
	return tag, digest
}

// freeAddr is an address of loopback for a registry.
func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := instance.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}
