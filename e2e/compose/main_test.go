package compose

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/clients"
	"github.com/sigbox/sigbox/e2e/internal/engine"
	"github.com/sigbox/sigbox/e2e/internal/instance"
	"github.com/sigbox/sigbox/e2e/internal/standin"
)

// insideVar is set in the copy of this program that runs in the engine's namespaces. Its value is the directory
// that both share.
const insideVar = "SIGBOX_COMPOSE_INSIDE"

// world is what the tests share.
var world struct {
	source string // the repository, as it is: what `docker compose` runs in
	tmp    string
	sigbox string // the binary, for commands outside of the containers
	engine *engine.Engine
}

func TestMain(m *testing.M) {
	flag.Parse()
	ctx := context.Background()
	code, err := 0, error(nil)
	if dir := os.Getenv(insideVar); dir != "" {
		code, err = inside(ctx, m, dir)
	} else {
		code, err = outside(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compose:", err)
		code = 1
	}
	os.Exit(code)
}

// outside makes ready what needs the network, and runs this program again where there is none.
func outside(ctx context.Context) (int, error) {
	if err := engine.Available(ctx); err != nil {
		return 1, err
	}
	for _, c := range []clients.Client{clients.Cosign3, clients.Cosign2, clients.Compose} {
		if err := c.Ensure(ctx, os.Stdout); err != nil {
			return 1, err
		}
	}
	maker, err := newMaker(nil)
	if err != nil {
		return 1, err
	}
	if err := maker.Prepare(ctx); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "sigbox-compose-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if err := instance.Build(ctx, maker.Source, filepath.Join(dir, "sigbox")); err != nil {
		return 1, err
	}
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	args := append(append(engine.Inside(), self), os.Args[1:]...)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), insideVar+"="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code > 0 {
		return code, nil
	}
	return 0, err
}

func inside(ctx context.Context, m *testing.M, dir string) (code int, err error) {
	started := time.Now()
	world.tmp, world.sigbox = dir, filepath.Join(dir, "sigbox")
	plugin, err := clients.Compose.Path()
	if err != nil {
		return 1, err
	}
	cache, err := cacheDir()
	if err != nil {
		return 1, err
	}
	if world.engine, err = engine.Start(ctx, filepath.Join(cache, "engine"), dir, plugin); err != nil {
		return 1, err
	}
	defer func() {
		if e := world.engine.Stop(); err == nil {
			err = e
		}
	}()
	fmt.Printf("Docker engine %s, in namespaces of its own\n", world.engine.Version)
	maker, err := newMaker(world.engine.Docker)
	if err != nil {
		return 1, err
	}
	world.source = maker.Source
	for _, i := range standin.Images {
		if err := maker.Make(ctx, i); err != nil {
			return 1, err
		}
	}
	fmt.Printf("engine and stand-ins: %s\n", time.Since(started).Round(time.Second))
	return m.Run(), nil
}

func newMaker(docker func(context.Context, io.Reader, ...string) (string, error)) (*standin.Maker, error) {
	source, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return nil, err
	}
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	return &standin.Maker{Docker: docker, Source: source, Cache: filepath.Join(cache, "standins"), Out: os.Stdout}, nil
}

// cacheDir is beside the clients'.
func cacheDir() (string, error) {
	path, err := clients.Compose.Path()
	return filepath.Join(filepath.Dir(filepath.Dir(filepath.Dir(path))), "compose"), err
}
