// Package clients builds the released clients and says what was built.
package clients

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Client is a released command of one version.
type Client struct {
	Name    string // of the binary
	Package string // what is installed
	Module  string
	Version string
	Tags    string // build tags; usually none
}

// All are the clients of the scenarios.
var (
	Cosign3  = Client{Name: "cosign", Package: "github.com/sigstore/cosign/v3/cmd/cosign", Module: "github.com/sigstore/cosign/v3", Version: "v3.1.3"}
	Cosign2  = Client{Name: "cosign", Package: "github.com/sigstore/cosign/v2/cmd/cosign", Module: "github.com/sigstore/cosign/v2", Version: "v2.6.5"}
	RekorCLI = Client{Name: "rekor-cli", Package: "github.com/sigstore/rekor/cmd/rekor-cli", Module: "github.com/sigstore/rekor", Version: "v1.5.4"}
	All      = []Client{Cosign3, Cosign2, RekorCLI}
)

// Path returns where the client's binary is, or will be.
func (c Client) Path() (string, error) {
	cache := os.Getenv("SIGBOX_E2E_CACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(home, ".cache", "sigbox", "clients")
	}
	return filepath.Join(cache, c.Name+"-"+c.Version, c.Name), nil
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
	fmt.Fprintf(w, "%s: %s %s %s, %s\n", path, info.Main.Path, info.Main.Version, info.Main.Sum, info.GoVersion)
	if info.Path != c.Package || info.Main.Path != c.Module || info.Main.Version != c.Version {
		return fmt.Errorf("%s is %s of %s %s, want %s %s: remove it to have it built again",
			path, info.Path, info.Main.Path, info.Main.Version, c.Module, c.Version)
	}
	return nil
}

func (c Client) install(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "install", "-tags="+c.Tags, c.Package+"@"+c.Version)
	cmd.Dir = os.TempDir() // outside of every module
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go install %s@%s: %w\n%s", c.Package, c.Version, err, out.String())
	}
	return nil
}
