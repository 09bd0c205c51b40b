// Package clients builds the released clients and says what was built.
package clients

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Client is a released command of one version.
type Client struct {
	Name    string // of the binary
	Package string // what is installed
	Module  string
	Version string
	Tags    string // build tags; usually none
	Flags   string // of the linker; usually none

	// Graph says that go install refuses the release, since its go.mod excludes or replaces modules. It is
	// then built in a module that has the same requirements, exclusions and sums, and the release beside them.
	Graph bool
}

// Compose is the plugin behind `docker compose`. It is not a client of sigbox.
var Compose = Client{
	Name: "docker-compose", Package: "github.com/docker/compose/v2/cmd", Module: "github.com/docker/compose/v2", Version: "v2.40.3",
	Flags: "-X github.com/docker/compose/v2/internal.Version=v2.40.3", Graph: true,
}

// All are the clients of the scenarios.
var (
	Cosign3  = Client{Name: "cosign", Package: "github.com/sigstore/cosign/v3/cmd/cosign", Module: "github.com/sigstore/cosign/v3", Version: "v3.1.3"}
	Cosign2  = Client{Name: "cosign", Package: "github.com/sigstore/cosign/v2/cmd/cosign", Module: "github.com/sigstore/cosign/v2", Version: "v2.6.5"}
	RekorCLI = Client{Name: "rekor-cli", Package: "github.com/sigstore/rekor/cmd/rekor-cli", Module: "github.com/sigstore/rekor", Version: "v1.5.4"}

	// sigstore-go's own examples, which are its programs.
	SigstoreGoSign   = Client{Name: "sigstore-go-signing", Package: sigstoreGo + "/examples/sigstore-go-signing", Module: sigstoreGo, Version: "v1.3.0"}
	SigstoreGoVerify = Client{Name: "sigstore-go-verification", Package: sigstoreGo + "/examples/sigstore-go-verification", Module: sigstoreGo, Version: "v1.3.0"}

	All = []Client{Cosign3, Cosign2, RekorCLI, SigstoreGoSign, SigstoreGoVerify, Gitsign, Tester, Kyverno}
)

// Gates are what decides, from a signature, whether something may go on: into a branch, or into a cluster.
var (
	Gitsign = Client{Name: "gitsign", Package: "github.com/sigstore/gitsign", Module: "github.com/sigstore/gitsign", Version: "v0.14.0", Graph: true}
	Tester  = Client{Name: "tester", Package: "github.com/sigstore/policy-controller/cmd/tester", Module: "github.com/sigstore/policy-controller", Version: "v0.13.1", Graph: true}
	Kyverno = Client{Name: "kyverno", Package: "github.com/kyverno/kyverno/cmd/cli/kubectl-kyverno", Module: "github.com/kyverno/kyverno", Version: "v1.19.1", Graph: true}
)

const sigstoreGo = "github.com/sigstore/sigstore-go"

// Path returns where the client's binary is, or will be.
func (c Client) Path() (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, c.Name+"-"+c.Version, c.Name), nil
}

// cacheDir is where clients are kept.
func cacheDir() (string, error) {
	if dir := os.Getenv("SIGBOX_E2E_CACHE"); dir != "" {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".cache", "sigbox", "clients"), nil
}

// Ensure builds the client if the cache does not hold it, as the release's own module graph has
// it, and checks that the binary is of that version. Progress goes to w.
func (c Client) Ensure(ctx context.Context, w io.Writer) error {
	path, err := c.Path()
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err != nil {
		start := time.Now()
		fmt.Fprintf(w, "building %s %s (some minutes, once) ...\n", c.Name, c.Version)
		if err := c.install(ctx, filepath.Dir(path)); err != nil {
			return err
		}
		fmt.Fprintf(w, "building %s %s: %s\n", c.Name, c.Version, time.Since(start).Round(time.Second))
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	release := info.Main
	if c.Graph {
		for _, d := range info.Deps {
			if d.Path == c.Module {
				release = *d
			}
		}
	}
	fmt.Fprintf(w, "%s: %s %s %s, %s\n", path, release.Path, release.Version, release.Sum, info.GoVersion)
	if info.Path != c.Package || release.Path != c.Module || release.Version != c.Version {
		return fmt.Errorf("%s is %s of %s %s, want %s %s: remove it to have it built again",
			path, info.Path, release.Path, release.Version, c.Module, c.Version)
	}
	return nil
}

func (c Client) install(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	if c.Graph {
		return c.build(ctx, dir)
	}
	_, err := run(ctx, os.TempDir(), []string{"GOBIN=" + dir, "GOFLAGS="}, // outside of every module
		"install", "-tags="+c.Tags, "-ldflags="+c.Flags, c.Package+"@"+c.Version)
	return err
}

// build makes the binary in a module of its own with the release's module graph.
func (c Client) build(ctx context.Context, dir string) error {
	out, err := run(ctx, os.TempDir(), nil, "mod", "download", "-json", c.Module+"@"+c.Version)
	if err != nil {
		return err
	}
	var release struct{ Dir string }
	if err := json.Unmarshal(out, &release); err != nil {
		return fmt.Errorf("go mod download %s@%s: %w", c.Module, c.Version, err)
	}
	tmp, err := os.MkdirTemp("", "sigbox-client-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	for _, name := range []string{"go.mod", "go.sum"} {
		raw, err := os.ReadFile(filepath.Join(release.Dir, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(tmp, name), raw, 0o600); err != nil {
			return err
		}
	}
	if _, err := run(ctx, tmp, nil, "mod", "edit", "-module=sigbox.test/"+c.Name, "-require="+c.Module+"@"+c.Version); err != nil {
		return err
	}
	// -mod=mod, since the sums lack one line: the release's own.
	_, err = run(ctx, tmp, []string{"GOFLAGS=-mod=mod"},
		"build", "-trimpath", "-tags="+c.Tags, "-ldflags="+c.Flags, "-o", filepath.Join(dir, c.Name), c.Package)
	return err
}

// run runs the go command in dir and returns its standard output.
func run(ctx context.Context, dir string, env []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off"), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.Bytes(), nil
}
