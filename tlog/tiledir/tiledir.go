package tiledir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sigbox/sigbox/internal/filelock"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/tile"
)

// Why an export is refused. Nothing is changed then.
var (
	// ErrForeign says that the directory holds something that is not of this log.
	ErrForeign = errors.New("tiledir: the directory holds another log")
	// ErrBehind says that the log is shorter than its export, so that it has lost entries.
	ErrBehind = errors.New("tiledir: the log is shorter than what was exported")
	// ErrFork says that the log does not extend its export: one of them is not the true log.
	ErrFork = errors.New("tiledir: the log is not a continuation of what was exported")
)

// Export brings the tree in dir up to the log's published head, and returns the size of that head.
// dir is made if it is not there. verifier is that of the log. progress is told now and then how
// many of the log's entries are in dir; it may be nil. One export at a time works on a directory.
//
// Entries must fit into bundles (tlog.ErrTooLarge otherwise), and what the log keeps of an entry
// must be its Merkle leaf input. The other errors are ErrForeign, ErrBehind, ErrFork, those of the
// file system and those of reading the log.
func Export(ctx context.Context, log tlog.Log, verifier *checkpoint.Verifier, dir string, progress func(done, total int64)) (size int64, err error) {
	e := &export{log: log, verifier: verifier, dir: filepath.Clean(dir), progress: progress, touched: map[string]bool{}}
	if size, err = e.run(ctx); err != nil {
		return 0, fmt.Errorf("export to %s: %w", dir, err)
	}
	return size, nil
}

type export struct {
	log      tlog.Log
	verifier *checkpoint.Verifier
	dir      string
	progress func(done, total int64)

	touched map[string]bool         // directories to sync before the checkpoint is written
	fault   func(step string) error // for tests: fails before a change to the file system
}

func (e *export) run(ctx context.Context) (size int64, err error) {
	if _, err := e.last(); err != nil { // before anything is made in a directory of somebody else
		return 0, err
	}
	if err := os.MkdirAll(e.dir, 0o755); err != nil {
		return 0, err
	}
	lock, err := filelock.Acquire(filepath.Join(e.dir, ".lock"))
	if errors.Is(err, filelock.ErrHeld) {
		return 0, errors.New("another export is at work there")
	}
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()

	old, err := e.last()
	if err != nil {
		return 0, err
	}
	head, err := e.log.Checkpoint(ctx)
	if err != nil {
		return 0, err
	}
	// What is published here is what others verify; the log's own word is not enough.
	if head, err = e.verifier.Open(head.Note); err != nil {
		return 0, fmt.Errorf("the log's checkpoint: %w", err)
	}
	if err := e.extends(ctx, old.Checkpoint, head.Checkpoint); err != nil {
		return 0, err
	}
	if old.Note == nil || old.Size != head.Size || old.Frozen != head.Frozen {
		if err := e.tiles(ctx, old.Size, head.Size); err != nil {
			return 0, err
		}
		if err := e.publish(head.Note); err != nil {
			return 0, err
		}
	}
	return head.Size, e.sweep(head.Size)
}

// last returns the checkpoint in the directory, with no note where there is none.
func (e *export) last() (checkpoint.Signed, error) {
	note, err := os.ReadFile(filepath.Join(e.dir, "checkpoint"))
	if errors.Is(err, fs.ErrNotExist) {
		return checkpoint.Signed{}, nil
	}
	if err != nil {
		return checkpoint.Signed{}, err
	}
	signed, err := e.verifier.Open(note)
	if err != nil {
		return signed, fmt.Errorf("%w: its checkpoint is not one of %q: %w", ErrForeign, e.verifier.Origin(), err)
	}
	return signed, nil
}

// extends checks that head continues what was exported.
func (e *export) extends(ctx context.Context, old, head checkpoint.Checkpoint) error {
	switch {
	case head.Size < old.Size:
		return fmt.Errorf("%w: it has %d entries, the directory %d: the log has lost entries, and the directory may be the best copy there is", ErrBehind, head.Size, old.Size)
	case old.Size == 0:
		return nil
	case head.Size == old.Size && head.Root != old.Root:
		return fmt.Errorf("%w: at size %d it has root %x, the directory %x", ErrFork, head.Size, head.Root, old.Root)
	case head.Size == old.Size:
		return nil
	}
	path, err := e.log.Consistency(ctx, old.Size, head.Size)
	if err != nil {
		return err
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(old.Size), uint64(head.Size), path, old.Root[:], head.Root[:]); err != nil {
		return fmt.Errorf("%w: from size %d to %d: %w", ErrFork, old.Size, head.Size, err)
	}
	return nil
}

// tiles writes what the tree of size has and that of size old has not. Bundles go last: they are
// the bulk, and progress is told of them.
func (e *export) tiles(ctx context.Context, old, size int64) error {
	for level := 7; level >= 0; level-- {
		if err := e.level(ctx, level, old>>(tile.Height*level), size>>(tile.Height*level), nil); err != nil {
			return err
		}
	}
	return e.level(ctx, tile.Entries, old, size, e.progress)
}

// level writes the tiles of a level that grows from so many hashes to so many.
func (e *export) level(ctx context.Context, level int, old, hashes int64, progress func(done, total int64)) error {
	if old == hashes {
		return nil
	}
	for n := old / tile.Width; n*tile.Width < hashes; n++ {
		end := min((n+1)*tile.Width, hashes)
		p := tile.Path{Level: level, N: n, Width: int(end - n*tile.Width)}
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := tlog.ReadPath(ctx, e.log, p)
		if err != nil {
			return err
		}
		if err := e.tile(p, data); err != nil {
			return err
		}
		if progress != nil {
			progress(end, hashes)
		}
	}
	return nil
}

// tile writes one tile, unless an export that was cut short has done so.
func (e *export) tile(p tile.Path, data []byte) error {
	path := filepath.Join(e.dir, filepath.FromSlash(p.String()))
	have, err := os.ReadFile(path)
	switch {
	case err == nil && string(have) == string(data):
		e.touch(path) // it may not be durable yet
		return nil
	case err == nil:
		return fmt.Errorf("%w: %s is there with other content: remove it, or name another directory", ErrForeign, p)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	e.touch(path)
	return e.write(path, data)
}

// publish makes the tiles durable, then the checkpoint.
func (e *export) publish(note []byte) error {
	for dir := range e.touched {
		if err := e.step("sync "+dir, func() error { return syncDir(dir) }); err != nil {
			return err
		}
	}
	if err := e.write(filepath.Join(e.dir, "checkpoint"), note); err != nil {
		return err
	}
	return e.step("sync "+e.dir, func() error { return syncDir(e.dir) })
}
