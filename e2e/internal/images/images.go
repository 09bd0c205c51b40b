// Package images makes container images to sign, and runs a real registry to keep them.
package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/sigbox/sigbox/e2e/internal/daemon"
)

// Push makes a small image that nobody has seen, pushes it to the reference and returns its
// reference by digest.
func Push(ctx context.Context, ref string) (string, error) {
	tag, err := name.ParseReference(ref)
	if err != nil {
		return "", err
	}
	img, err := random.Image(1024, 1)
	if err != nil {
		return "", err
	}
	if err := remote.Write(tag, img, remote.WithContext(ctx)); err != nil {
		return "", fmt.Errorf("push %s: %w", ref, err)
	}
	digest, err := img.Digest()
	if err != nil {
		return "", err
	}
	return tag.Context().Digest(digest.String()).String(), nil
}

// InMemory serves go-containerregistry's registry on addr until the test ends, and returns addr.
func InMemory(t testing.TB, addr string) string {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
	srv.Listener.Close()
	srv.Listener = ln
	srv.Start()
	t.Cleanup(srv.Close)
	return addr
}

// Distribution is a running CNCF Distribution registry (Debian's docker-registry package).
type Distribution struct {
	Addr   string
	daemon *daemon.Daemon
}

// StartDistribution runs docker-registry on addr with its files in dir, and waits until it
// answers.
func StartDistribution(ctx context.Context, addr, dir string) (*Distribution, error) {
	bin, err := exec.LookPath("docker-registry")
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config.yml")
	yaml := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n", filepath.Join(dir, "blobs"), addr)
	if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
		return nil, err
	}
	d := &Distribution{Addr: addr}
	if d.daemon, err = daemon.Start(exec.Command(bin, "serve", config), filepath.Join(dir, "log")); err != nil {
		return nil, err
	}
	err = d.daemon.Await(ctx, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/v2/", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
	if err != nil {
		return nil, errors.Join(err, d.Stop())
	}
	return d, nil
}

// Stop ends the registry.
func (d *Distribution) Stop() error { return d.daemon.Stop(syscall.SIGKILL) }
