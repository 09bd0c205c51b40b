// Package engine runs a Docker engine of the tests' own: Debian's dockerd, in namespaces where nobody else is.
//
// Its networks, its ports of 127.0.0.1, its mounts and its processes exist inside the namespaces only, and end
// with the command that [Inside] wraps, however that ends. What it keeps is its data directory, with the images.
// It needs root, and the Debian packages docker.io, iptables, iproute2 and util-linux.
package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sigbox/sigbox/e2e/internal/daemon"
	"github.com/sigbox/sigbox/internal/filelock"
)

// setup runs inside, before the command: there is no network but lo, /run is empty, and /proc is of the new
// process ids.
const setup = `set -e
ip link set lo up
mount -t tmpfs tmpfs /run
exec "$@"
`

// Inside returns what to put before a command to run it where an engine can be started.
func Inside() []string {
	return []string{"unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", setup, "sh"}
}

// Available says why an engine can not be run here.
func Available(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("a Docker engine needs root")
	}
	var missing []string
	for command, pkg := range map[string]string{"dockerd": "docker.io", "iptables": "iptables", "ip": "iproute2", "unshare": "util-linux"} {
		if _, err := exec.LookPath(command); err != nil {
			missing = append(missing, pkg)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("please install the Debian packages %s", strings.Join(missing, ", "))
	}
	probe := append(Inside(), "iptables", "-t", "nat", "-L", "-n")
	if out, err := exec.CommandContext(ctx, probe[0], probe[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("namespaces with a nat table are not available here: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// Engine is a running dockerd.
type Engine struct {
	Version string

	host   string // of DOCKER_HOST
	config string // of DOCKER_CONFIG
	daemon *daemon.Daemon
	lock   io.Closer
}

// Start runs dockerd with its images in data and its socket in tmp, and waits until it answers. plugin is the
// binary of `docker compose`.
func Start(ctx context.Context, data, tmp, plugin string) (*Engine, error) {
	if err := os.MkdirAll(data, 0o711); err != nil {
		return nil, err
	}
	lock, err := filelock.Acquire(filepath.Join(filepath.Dir(data), filepath.Base(data)+".lock"))
	if err != nil {
		return nil, err
	}
	e := &Engine{
		host: "unix://" + filepath.Join(tmp, "docker.sock"), config: filepath.Join(tmp, "docker-config"), lock: lock,
	}
	plugins := filepath.Join(e.config, "cli-plugins")
	if err := os.MkdirAll(plugins, 0o755); err != nil {
		return nil, err
	}
	if err := os.Symlink(plugin, filepath.Join(plugins, "docker-compose")); err != nil {
		return nil, err
	}
	e.daemon, err = daemon.Start(exec.Command("dockerd", "--host", e.host, "--data-root", data, "--exec-root", "/run/docker",
		"--pidfile", filepath.Join(tmp, "dockerd.pid"), "--log-level", "warn",
		"--bip", "10.201.0.1/24", "--default-address-pool", "base=10.202.0.0/16,size=24"), filepath.Join(tmp, "dockerd.log"))
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	err = e.daemon.Await(ctx, func(ctx context.Context) error {
		out, err := e.Docker(ctx, nil, "version", "--format", "{{.Server.Version}}")
		e.Version = strings.TrimSpace(out)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, e.Stop())
	}
	return e, nil
}

// Env is what the docker command and its like need to find the engine, and this one only.
func (e *Engine) Env() []string {
	return []string{"DOCKER_HOST=" + e.host, "DOCKER_CONFIG=" + e.config}
}

// Docker runs Debian's docker command, and returns what it printed.
func (e *Engine) Docker(ctx context.Context, in io.Reader, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "/usr/bin/docker", args...)
	cmd.Env = append(os.Environ(), e.Env()...)
	cmd.Stdin = in
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(out.String()))
	}
	return out.String(), nil
}

// Log is what dockerd has to say.
func (e *Engine) Log() string { return e.daemon.Log() }

// Stop ends dockerd, and with it every container.
func (e *Engine) Stop() error { return errors.Join(e.daemon.Stop(syscall.SIGTERM), e.lock.Close()) }
