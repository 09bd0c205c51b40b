package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/clients"
	"github.com/sigbox/sigbox/e2e/internal/images"
	"github.com/sigbox/sigbox/e2e/internal/instance"
	"github.com/sigbox/sigbox/e2e/internal/matrix"
	"github.com/sigbox/sigbox/e2e/internal/outside"
	"github.com/sigbox/sigbox/e2e/internal/ran"
)

var update = flag.Bool("update", false, "write the table of clients into ../README.md")

// insideVar is set in copies of this program that run in a namespace of TestNothingLeaves and its like; severed
// is its value where there is no network at all.
const (
	insideVar = "SIGBOX_E2E_INSIDE"
	severed   = "severed"
)

// world is what all scenarios share.
var world struct {
	tmp      string // removed at the end
	sigbox   string // the binary
	self     string // this program, which doubles as `tool` in scripts
	registry string // HOST:PORT of docker-registry; "" inside the namespace
	table    matrix.Table
	recorder *outside.Recorder // inside a watched namespace only
	results  *results          // nil: not wanted
}

func TestMain(m *testing.M) {
	if ran.Called() {
		code, err := ran.Main(os.Args[1:])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}
	if os.Getenv("SIGBOX_E2E_TOOL") != "" {
		if err := tool(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	ctx := context.Background()
	started := time.Now()
	var err error
	if world.tmp, err = os.MkdirTemp("", "sigbox-e2e-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(world.tmp)
	if world.self, err = os.Executable(); err != nil {
		return 1, err
	}
	if err := build(ctx); err != nil {
		return 1, err
	}
	if mode := os.Getenv(insideVar); mode != "" && mode != severed {
		if world.recorder, err = outside.Record(); err != nil {
			return 1, err
		}
	} else if mode == severed {
		return m.Run(), nil // its test is part of a row, and looks for attempts to leave by itself
	} else if stop, err := startRegistry(ctx); err != nil {
		return 1, err
	} else {
		defer stop()
	}
	if os.Getenv(resultsVar) != "" && os.Getenv(insideVar) == "" {
		world.results = &results{}
	}
	announce()
	code := m.Run()
	if world.recorder != nil {
		out, err := escaped(world.recorder)
		if err != nil {
			return 1, err
		}
		if os.Getenv(insideVar) == "table" && len(out) != 0 {
			return 1, fmt.Errorf("these left the instance and the registry:\n%s", strings.Join(out, "\n"))
		}
		return code, nil
	}
	table := world.table.Markdown()
	fmt.Printf("\n%s\ne2e took %s\n", table, time.Since(started).Round(time.Second))
	if code == 0 && world.results != nil {
		if err := world.results.rows.Write(os.Getenv(resultsVar), world.table.Complete()); err != nil {
			return 1, err
		}
	}
	switch {
	case code != 0:
	case !world.table.Complete() && os.Getenv("CI") != "" && flag.Lookup("test.run").Value.String() == "":
		return 1, errors.New("not every row of the table was run, and in CI nothing is left out")
	case !world.table.Complete():
		fmt.Println("not every row was run: the README's table is not compared")
	default:
		return code, matrix.InSync(filepath.Join("..", "README.md"), table, *update)
	}
	return code, nil
}

// build makes the clients and the binary under test; inside the namespace both are there.
func build(ctx context.Context) error {
	world.sigbox = os.Getenv("SIGBOX_E2E_BINARY")
	if os.Getenv(insideVar) != "" {
		return nil
	}
	for _, c := range clients.All {
		if err := c.Ensure(ctx, os.Stdout); err != nil {
			return err
		}
	}
	for _, c := range clients.AllInstalled {
		if err := c.Ensure(ctx, os.Stdout); err != nil {
			return err
		}
	}
	if world.sigbox != "" {
		return nil
	}
	world.sigbox = filepath.Join(world.tmp, "sigbox")
	start := time.Now()
	if err := instance.Build(ctx, "..", world.sigbox); err != nil {
		return err
	}
	fmt.Printf("built sigbox in %s\n", time.Since(start).Round(time.Millisecond))
	return nil
}

func startRegistry(ctx context.Context) (stop func(), err error) {
	addr, err := instance.FreeAddr()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(world.tmp, "registry")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	d, err := images.StartDistribution(ctx, addr, dir)
	if err != nil {
		return nil, fmt.Errorf("docker-registry (Debian package docker-registry): %w", err)
	}
	world.registry = d.Addr
	return func() {
		if err := d.Stop(); err != nil {
			fmt.Println(err)
		}
	}, nil
}
