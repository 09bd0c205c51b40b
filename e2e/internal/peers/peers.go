// Package peers builds and runs what sigbox is measured against: upstream's servers, as released, each
// as its own documentation sets it up, on ports of loopback. The builds are kept beside the clients'
// (see package clients).
package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/sigbox/sigbox/e2e/internal/clients"
	"github.com/sigbox/sigbox/e2e/internal/daemon"
	"github.com/sigbox/sigbox/e2e/internal/instance"
)

const (
	trillian       = "github.com/google/trillian"
	onlyPostgreSQL = "postgresql,etcd" // less to build: no other databases, no Kubernetes election
)

// The programs.
var (
	rekorServer    = clients.Client{Name: "rekor-server", Package: "github.com/sigstore/rekor/cmd/rekor-server", Module: "github.com/sigstore/rekor", Version: "v1.5.4"}
	rekorTiles     = clients.Client{Name: "posix", Package: "github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix", Module: "github.com/sigstore/rekor-tiles/v2", Version: "v2.3.0"}
	trillianServer = clients.Client{Name: "trillian_log_server", Package: trillian + "/cmd/trillian_log_server", Module: trillian, Version: "v1.8.0", Tags: onlyPostgreSQL}
	trillianSigner = clients.Client{Name: "trillian_log_signer", Package: trillian + "/cmd/trillian_log_signer", Module: trillian, Version: "v1.8.0", Tags: onlyPostgreSQL}
	createTree     = clients.Client{Name: "createtree", Package: trillian + "/cmd/createtree", Module: trillian, Version: "v1.8.0", Tags: onlyPostgreSQL}
	fulcioServer   = clients.Client{Name: "fulcio", Package: "github.com/sigstore/fulcio", Module: "github.com/sigstore/fulcio", Version: "v1.8.8"}
	ctServer       = clients.Client{Name: "ct_server", Package: "github.com/google/certificate-transparency-go/trillian/ctfe/ct_server", Module: "github.com/google/certificate-transparency-go", Version: "v1.3.3"}
	all            = []clients.Client{rekorServer, rekorTiles, trillianServer, trillianSigner, createTree}
	ofFulcio       = []clients.Client{fulcioServer, ctServer, trillianServer, trillianSigner, createTree}
)

// Ensure builds the peers of the logs that the cache does not hold. Progress goes to w.
func Ensure(ctx context.Context, w io.Writer) error { return ensure(ctx, w, all) }

// EnsureFulcio is Ensure for Fulcio and its CT log.
func EnsureFulcio(ctx context.Context, w io.Writer) error { return ensure(ctx, w, ofFulcio) }

func ensure(ctx context.Context, w io.Writer, peers []clients.Client) error {
	for _, p := range peers {
		if err := p.Ensure(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// Peer is an upstream server that runs, with what it needs.
type Peer struct {
	What    string // name, version and settings that matter
	URL     string
	KeyFile string // PEM of the log's public key, of the CT log's for Fulcio; "" where the server publishes it
	RPC     string // HOST:PORT of gRPC; Rekor v2 only
	Tiles   string // directory of the log's tiles; Rekor v2 only

	daemons []*daemon.Daemon
}

// Stop ends the processes, the last one first.
func (p *Peer) Stop() error {
	var errs []error
	for i := len(p.daemons) - 1; i >= 0; i-- {
		errs = append(errs, p.daemons[i].Stop(syscall.SIGTERM))
	}
	return errors.Join(errs...)
}

// run starts a program; what it prints goes to a file in dir.
func (p *Peer) run(ctx context.Context, dir, path string, args ...string) error {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir}
	d, err := daemon.Start(cmd, filepath.Join(dir, filepath.Base(path)+".log"))
	if err == nil {
		p.daemons = append(p.daemons, d)
	}
	return err
}

// runClient starts a program that was built.
func (p *Peer) runClient(ctx context.Context, dir string, c clients.Client, args ...string) error {
	path, err := c.Path()
	if err != nil {
		return err
	}
	return p.run(ctx, dir, path, args...)
}

// await waits until the last program that was started is ready.
func (p *Peer) await(ctx context.Context, ready func(context.Context) error) error {
	return p.daemons[len(p.daemons)-1].Await(ctx, ready)
}

func listens(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return c.Close()
	}
}

func answers(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", url, resp.Status)
		}
		return errors.Join(err, resp.Body.Close())
	}
}

// moduleDir returns where the Go module cache keeps the source of a module.
func moduleDir(ctx context.Context, c clients.Client) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", c.Module+"@"+c.Version)
	cmd.Dir = os.TempDir() // outside of every module
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go mod download %s: %w: %s%s", c.Module, err, out, stderr.String())
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(out, &m); err != nil {
		return "", err
	}
	return m.Dir, nil
}

func freePorts(n int) (ports []string, err error) {
	for range n {
		port, err := instance.FreePort()
		if err != nil {
			return nil, err
		}
		ports = append(ports, fmt.Sprint(port))
	}
	return ports, nil
}

func local(port string) string { return "127.0.0.1:" + port }
