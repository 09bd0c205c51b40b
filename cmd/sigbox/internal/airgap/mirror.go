package airgap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/filelock"
	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/migrations"
	"github.com/sigbox/sigbox/tuf"
	format "github.com/sigbox/sigbox/tuf/airgap"
	"github.com/sigbox/sigbox/tuf/sqlstore"
)

// Files of a mirror's directory.
const (
	rootFile      = "root.json" // that it was made with
	snapshotFile  = "snapshot.key"
	timestampFile = "timestamp.key"
	databaseFile  = "tuf.db"
	receiptFile   = "receipt.json" // of the last import
	lockFile      = "lock"         // of whoever imports
	largeDir      = "imports"      // NUMBER/entries and NUMBER/bundles
	staging       = ".import-"
)

// ErrNothing says that nothing was imported yet.
var ErrNothing = errors.New("nothing was imported into this mirror yet")

// Create makes the directory of a mirror, with keys of its own, which trusts an instance by one of its roots.
func Create(ctx context.Context, dir string, root []byte) (err error) {
	if m, err := metadata.Root().FromBytes(root); err != nil || m.Signed.Type != tuf.Root {
		return errors.New("the root to trust is not a root.json")
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("mirror: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: name a directory that is not, or go on with that one", dir)
	} else if err != nil {
		return fmt.Errorf("mirror: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	for _, name := range []string{snapshotFile, timestampFile} {
		key, err := keys.NewECDSA()
		if err != nil {
			return err
		}
		pub, err := keys.PublicPEM(key.Public())
		if err != nil {
			return err
		}
		if err := keys.Save(filepath.Join(dir, name), key); err != nil {
			return err
		}
		if err := instance.WriteFile(filepath.Join(dir, name+".pub"), pub, 0o644); err != nil {
			return err
		}
	}
	db, err := sqlite.Open(ctx, filepath.Join(dir, databaseFile))
	if err != nil {
		return err
	}
	if err := errors.Join(migrations.ApplySQLite(ctx, db.Writer(), "tuf"), db.Close()); err != nil {
		return err
	}
	if err := instance.WriteFile(filepath.Join(dir, lockFile), nil, 0o600); err != nil {
		return err
	}
	return instance.WriteFile(filepath.Join(dir, rootFile), root, 0o644) // last: with it the directory is one
}

// Mirror is an open directory. It is safe for concurrent use, also by several processes.
type Mirror struct {
	Dir   string
	Repo  *tuf.Repository
	root  []byte
	clock clock.Clock
	db    *sqlite.DB
}

// Open opens the directory of a mirror.
func Open(ctx context.Context, dir string, c clock.Clock, log *slog.Logger) (*Mirror, error) {
	m := &Mirror{Dir: dir, clock: c}
	var err error
	if m.root, err = os.ReadFile(filepath.Join(dir, rootFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not the directory of a mirror: sigbox mirror init makes one", dir)
	} else if err != nil {
		return nil, err
	}
	own := tuf.Keys{}
	if own.Snapshot, err = keys.Load(filepath.Join(dir, snapshotFile)); err != nil {
		return nil, err
	}
	if own.Timestamp, err = keys.Load(filepath.Join(dir, timestampFile)); err != nil {
		return nil, err
	}
	if m.db, err = sqlite.Open(ctx, filepath.Join(dir, databaseFile)); err != nil {
		return nil, err
	}
	// Root and targets are signed outside, by the lifetimes there.
	m.Repo = tuf.New(tuf.Config{Store: sqlstore.New(m.db), Keys: own, Lifetimes: tuf.Development(), Until: m.until, Clock: c, Log: log})
	if err := m.Repo.Open(ctx); err != nil && !errors.Is(err, tuf.ErrNotCreated) {
		return nil, errors.Join(err, m.db.Close())
	}
	return m, nil
}

// Close gives the database back.
func (m *Mirror) Close() error { return m.db.Close() }

// Receipt is the envelope of the last import: ErrNothing where there is none.
func (m *Mirror) Receipt() (*format.Envelope, error) {
	raw, err := os.ReadFile(filepath.Join(m.Dir, receiptFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNothing
	}
	if err != nil {
		return nil, err
	}
	e, err := format.ParseEnvelope(raw)
	if err != nil {
		return nil, fmt.Errorf("receipt of the last import: %w", err)
	}
	return e, nil
}

// until is the end of what was imported; of nothing the zero time, and nothing is signed then.
func (m *Mirror) until() (time.Time, error) {
	e, err := m.Receipt()
	if errors.Is(err, ErrNothing) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	return e.Manifest.GoodUntil, nil
}

// Import takes a file in, or says why not; then nothing in the directory has changed. The file that was taken in
// last is taken in again without a change.
func (m *Mirror) Import(ctx context.Context, path string, max int64) (_ *format.File, changed bool, err error) {
	lock, err := filelock.Acquire(filepath.Join(m.Dir, lockFile))
	if errors.Is(err, filelock.ErrHeld) {
		return nil, false, errors.New("another import into this mirror is under way")
	}
	if err != nil {
		return nil, false, err
	}
	defer lock.Close()
	last, err := m.Receipt()
	if err != nil && !errors.Is(err, ErrNothing) {
		return nil, false, err
	}
	stage, err := m.stage()
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(stage)) }()
	f, err := m.read(path, stage, max)
	if err != nil {
		return nil, false, err
	}
	if same, err := isSame(f.Envelope, last); err != nil || same {
		return f, false, err
	}
	if err := f.Follows(last); err != nil {
		return nil, false, err
	}
	err = m.Repo.Adopt(ctx, f.Carried())
	if errors.Is(err, tuf.ErrNotNamed) {
		return nil, false, fmt.Errorf("%w: outside, have a root signed that names them (sigbox tuf request --mirror-snapshot-key %s.pub --mirror-timestamp-key %s.pub), and export again",
			err, snapshotFile, timestampFile)
	}
	if err != nil {
		return nil, false, err
	}
	// A crash from here on leaves the set published and the old receipt: the same import again goes on.
	return f, true, m.keep(f, stage)
}

func isSame(a, b *format.Envelope) (bool, error) {
	if b == nil {
		return false, nil
	}
	x, err := a.Manifest.ID()
	if err != nil {
		return false, err
	}
	y, err := b.Manifest.ID()
	return x == y, err
}

// stage makes a directory for what an import brings, and removes those of imports that were killed.
func (m *Mirror) stage() (string, error) {
	old, err := filepath.Glob(filepath.Join(m.Dir, staging+"*"))
	if err != nil {
		return "", err
	}
	for _, dir := range old {
		if err := os.RemoveAll(dir); err != nil {
			return "", err
		}
	}
	return os.MkdirTemp(m.Dir, staging)
}

// read verifies the file; entries and bundles go to the stage, under names that have no path in them.
func (m *Mirror) read(path, stage string, max int64) (*format.File, error) {
	in, err := open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	for _, d := range []string{"entries", "bundles"} {
		if err := os.Mkdir(filepath.Join(stage, d), 0o755); err != nil {
			return nil, err
		}
	}
	return format.Read(in, format.ReadOptions{Now: m.clock.Now(), Root: m.root, Max: max, Save: func(p format.Part) (io.WriteCloser, error) {
		f, err := os.OpenFile(filepath.Join(stage, filepath.FromSlash(p.Name)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		return synced{f}, err
	}})
}

// synced is a file that is on the disk once it is closed.
type synced struct{ *os.File }

func (f synced) Close() error { return errors.Join(f.Sync(), f.File.Close()) }

// keep gives what was staged its place, and writes the receipt last.
func (m *Mirror) keep(f *format.File, stage string) error {
	to := filepath.Join(m.Dir, largeDir, strconv.FormatInt(f.Manifest.Number, 10))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.RemoveAll(to); err != nil { // of an import that was killed
		return err
	}
	if err := os.Rename(stage, to); err != nil {
		return err
	}
	raw, err := f.Encode()
	if err != nil {
		return err
	}
	return instance.WriteFile(filepath.Join(m.Dir, receiptFile), raw, 0o644)
}

// Large opens a part of entries or a bundle of an import, by its number and name.
func (m *Mirror) Large(number, kind, name string) (*os.File, error) {
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != number || kind != "entries" && kind != "bundles" || !tuf.ValidTargetName(name) {
		return nil, fs.ErrNotExist
	}
	root, err := os.OpenRoot(filepath.Join(m.Dir, largeDir))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Open(filepath.Join(number, kind, name))
}

// Checkpoint is the imported checkpoint of a log, by its ID.
func (m *Mirror) Checkpoint(id string) ([]byte, error) {
	e, err := m.Receipt()
	if err != nil {
		return nil, err
	}
	for _, l := range e.Manifest.Logs {
		if l.ID == id {
			return bytes.Clone(l.Checkpoint), nil
		}
	}
	return nil, fs.ErrNotExist
}

// ReceiptJSON is the receipt as it is carried out again.
func (m *Mirror) ReceiptJSON() (json.RawMessage, error) {
	e, err := m.Receipt()
	if err != nil {
		return nil, err
	}
	return e.Encode()
}
