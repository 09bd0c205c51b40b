package fileguard

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sigbox/sigbox/internal/filelock"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
)

// Guard is a directory of checkpoints. It is safe for concurrent use.
type Guard struct {
	dir  string
	lock *os.File
	peek bool                    // another process has the guard
	hook func(step string) error // for tests: called before each step of a replacement

	mu     sync.Mutex
	held   map[string]tlog.Mark // by origin; what the files are known to hold
	broken error                // the directory could not be synced; see replace
}

// Open opens the guard in a directory, which it makes if it is not there, and locks it.
func Open(dir string) (*Guard, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	lock, err := filelock.Acquire(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("guard %s: %w", dir, err)
	}
	if err := removeLeftovers(dir); err != nil {
		return nil, errors.Join(fmt.Errorf("guard %s: %w", dir, err), lock.Close())
	}
	return &Guard{dir: dir, lock: lock, held: make(map[string]tlog.Mark)}, nil
}

// removeLeftovers removes temporary files of a process that was killed, and makes sure that what
// the directory shows is what it holds.
func removeLeftovers(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, "next-*"))
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// Peek returns the guard in a directory that another process has: what it holds can be read, and Advance
// leaves it to that process.
func Peek(dir string) *Guard { return &Guard{dir: dir, peek: true} }

// Close gives up the lock.
func (g *Guard) Close() error {
	if g.lock == nil {
		return nil
	}
	return g.lock.Close()
}

// Last implements [tlog.Guard]. A file that does not hold a checkpoint of the origin is an error.
func (g *Guard) Last(_ context.Context, origin string) (tlog.Mark, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last(origin)
}

func (g *Guard) last(origin string) (tlog.Mark, error) {
	if m, ok := g.held[origin]; ok {
		return m, nil
	}
	note, err := os.ReadFile(g.path(origin))
	if errors.Is(err, fs.ErrNotExist) {
		return tlog.Mark{}, nil
	}
	if err != nil {
		return tlog.Mark{}, fmt.Errorf("guard: %w", err)
	}
	text, _, ok := bytes.Cut(note, []byte("\n\n"))
	if !ok {
		return tlog.Mark{}, fmt.Errorf("guard: %s is not a signed note", g.path(origin))
	}
	c, err := checkpoint.Parse(append(text, '\n'))
	if err != nil {
		return tlog.Mark{}, fmt.Errorf("guard: %s: %w", g.path(origin), err)
	}
	if signed, _, _ := strings.Cut(origin, "#"); c.Origin != signed { // see tlog.Config.Register
		return tlog.Mark{}, fmt.Errorf("guard: %s holds a checkpoint of %q, not of %q", g.path(origin), c.Origin, origin)
	}
	m := tlog.Mark{Size: c.Size, Root: c.Root}
	if !g.peek {
		g.held[origin] = m
	}
	return m, nil
}

// Advance implements [tlog.Guard].
func (g *Guard) Advance(_ context.Context, from tlog.Mark, to checkpoint.Signed, consistency [][]byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.peek { // it catches up when that process opens the log, or appends to it
		return nil
	}
	if g.broken != nil {
		return g.broken
	}
	have, err := g.last(to.Origin)
	if err != nil {
		return err
	}
	if have != from {
		return fmt.Errorf("guard of %q: %w: it is at size %d, not %d", to.Origin, tlog.ErrGuardMoved, have.Size, from.Size)
	}
	if to.Size < from.Size {
		return fmt.Errorf("guard of %q: asked to go back from size %d to %d", to.Origin, from.Size, to.Size)
	}
	if from.Size > 0 {
		err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(from.Size), uint64(to.Size), consistency, from.Root[:], to.Root[:])
		if err != nil {
			return fmt.Errorf("guard of %q: from size %d to %d: %w", to.Origin, from.Size, to.Size, err)
		}
	}
	// Until it is known to be done, only the file tells what it holds.
	delete(g.held, to.Origin)
	if err := g.replace(g.path(to.Origin), to.Note); err != nil {
		return fmt.Errorf("guard of %q: %w", to.Origin, err)
	}
	g.held[to.Origin] = tlog.Mark{Size: to.Size, Root: to.Root}
	return nil
}

// path names the file of a log by a hash of its origin, which may hold any character.
func (g *Guard) path(origin string) string {
	return filepath.Join(g.dir, fmt.Sprintf("%x.checkpoint", sha256.Sum256([]byte(origin))))
}

// replace writes a file so that after a crash it holds either the old or the new bytes. A try
// that failed before the rename leaves nothing behind, and the next one writes a new temporary
// file. A directory that cannot be synced breaks the guard for good: a second fsync may succeed
// without having written what the first one lost.
func (g *Guard) replace(path string, b []byte) error {
	tmp, err := os.CreateTemp(g.dir, "next-*")
	if err != nil {
		return err
	}
	err = g.step("stage.written", func() error { _, err := tmp.Write(b); return err })
	if err == nil {
		err = g.step("stage.fsynced", tmp.Sync)
	}
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = g.step("stage.renamed", func() error { return os.Rename(tmp.Name(), path) })
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	if err := g.step("dir.fsynced", func() error { return syncDir(g.dir) }); err != nil {
		g.broken = fmt.Errorf("guard %s is broken until sigbox is restarted: %w", g.dir, err)
		return g.broken
	}
	return nil
}

func (g *Guard) step(name string, do func() error) error {
	if g.hook != nil {
		if err := g.hook(name); err != nil {
			return err
		}
	}
	return do()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
