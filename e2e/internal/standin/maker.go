package standin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// label is where an image says of what it was made.
const label = "sigbox.test.standin"

// Maker makes images in an engine.
type Maker struct {
	Docker func(ctx context.Context, in io.Reader, args ...string) (string, error) // runs the docker command
	Source string                                                                  // the repository
	Cache  string                                                                  // a directory for what takes long to make
	Out    io.Writer                                                               // progress
}

// Prepare does what needs the network: it has the modules of the repository in the cache, and what they compile
// to, as the container file compiles them.
func (m *Maker) Prepare(ctx context.Context) error {
	_, cache, err := m.warm(ctx)
	if err != nil {
		return err
	}
	modules := filepath.Dir(cache)
	done := filepath.Join(modules, "done")
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	start := time.Now()
	fmt.Fprintln(m.Out, "stand-ins: modules and build cache of the builder image (a minute or two, once for each go.sum) ...")
	if err := m.inherit(modules); err != nil {
		return err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	// A module cache of its own has only what this module needs. The read-only bit would keep it from being removed.
	mine := []string{"GOMODCACHE=" + filepath.Join(modules, "mod"), "GOFLAGS=-modcacherw"}
	host, err := m.goCommand(ctx, nil, "env", "GOMODCACHE")
	if err != nil {
		return err
	}
	if _, err := m.goCommand(ctx, nil, "mod", "download"); err != nil {
		return err
	}
	if _, err := m.goCommand(ctx, append(mine, "GOPROXY=file://"+filepath.Join(host, "cache", "download"), "GOSUMDB=off"), "mod", "download"); err != nil {
		return err
	}
	if _, err := m.goCommand(ctx, []string{"GOCACHE=" + cache, "CGO_ENABLED=0", "GOFLAGS="},
		"build", "-trimpath", "-ldflags=-s -w", "-o", os.DevNull, "./cmd/sigbox"); err != nil {
		return err
	}
	fmt.Fprintf(m.Out, "stand-ins: that took %s\n", time.Since(start).Round(time.Second))
	return os.WriteFile(done, nil, 0o600)
}

// inherit makes the directory of an earlier go.sum that of this one: most of what is in it is the same.
func (m *Maker) inherit(dir string) error {
	old, err := filepath.Glob(filepath.Join(m.Cache, "builder-*"))
	if err != nil {
		return err
	}
	for i, earlier := range old {
		if i > 0 {
			err = os.RemoveAll(earlier)
		} else if err = os.RemoveAll(filepath.Join(earlier, "done")); err == nil && earlier != dir {
			err = os.Rename(earlier, dir)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// warm returns the directories of the builder's modules and build cache for the go.sum of now.
func (m *Maker) warm(ctx context.Context) (modules, cache string, err error) {
	version, err := m.goCommand(ctx, nil, "version")
	if err != nil {
		return "", "", err
	}
	sum := sha256.New()
	fmt.Fprintln(sum, version)
	for _, name := range []string{"go.mod", "go.sum"} {
		raw, err := os.ReadFile(filepath.Join(m.Source, name))
		if err != nil {
			return "", "", err
		}
		sum.Write(raw)
	}
	dir := filepath.Join(m.Cache, fmt.Sprintf("builder-%x", sum.Sum(nil)[:12]))
	return filepath.Join(dir, "mod", "cache", "download"), filepath.Join(dir, "cache"), nil
}

func (m *Maker) goCommand(ctx context.Context, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = m.Source
	cmd.Env = append(append(os.Environ(), "GOWORK=off"), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// Make makes the image in the engine, unless it has it.
func (m *Maker) Make(ctx context.Context, i Image) error {
	t, err := newTree(ctx)
	if err != nil {
		return fmt.Errorf("stand-in for %s: %w", i.Tag, err)
	}
	if err := i.contents(ctx, m, t); err != nil {
		return fmt.Errorf("stand-in for %s: %w", i.Tag, err)
	}
	key := fmt.Sprintf("%s-%x", t.key(), sha256.Sum256([]byte(strings.Join(i.changes, "\n"))))
	has, err := m.Docker(ctx, nil, "image", "inspect", "--format", `{{index .Config.Labels "`+label+`"}}`, i.Tag)
	if err == nil && strings.TrimSpace(has) == key {
		fmt.Fprintf(m.Out, "stand-in for %s: as it was. %s\n", i.Tag, i.Differs)
		return nil
	}
	start := time.Now()
	in, out := io.Pipe()
	go func() { out.CloseWithError(t.write(out)) }()
	defer in.Close()
	id, err := m.Docker(ctx, in, "import", "-")
	if err != nil {
		return fmt.Errorf("stand-in for %s: %w", i.Tag, err)
	}
	recipe := "FROM " + strings.TrimSpace(id) + "\nLABEL " + label + "=" + key + "\n" + strings.Join(i.changes, "\n") + "\n"
	if _, err := m.Docker(ctx, strings.NewReader(recipe), "build", "--tag", i.Tag, "-"); err != nil {
		return fmt.Errorf("stand-in for %s: %w", i.Tag, err)
	}
	fmt.Fprintf(m.Out, "stand-in for %s: made in %s. %s\n", i.Tag, time.Since(start).Round(time.Second), i.Differs)
	return nil
}
