package instance

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sigbox/sigbox/internal/filelock"
)

// format is the version of the directory's layout. A directory with a higher one is refused.
const format = 1

// Info is what instance.json holds.
type Info struct {
	Format  int       `json:"format"`
	ID      string    `json:"id"`      // random, names the instance in messages
	Host    string    `json:"host"`    // host name of every URL and log origin; fixed at creation
	TreeID  int64     `json:"tree_id"` // of the Rekor v1 log; random, since rekor-cli remembers heads by it
	Created time.Time `json:"created"`
	URL     string    `json:"url"`  // where it ran last
	Logs    string    `json:"logs"` // what the logs are kept in: "sqlite" or "postgresql"
}

// Dir is an open data directory, locked against other processes.
type Dir struct {
	Path string
	Info Info

	lock *os.File
}

// Where an instance keeps its logs. Issuance records and TUF metadata are in sigbox.db in any case.
const (
	SQLite     = "sqlite"
	PostgreSQL = "postgresql"
)

// State says what a path holds, before anything is made or opened.
type State int

// The states of a path.
const (
	Absent   State = iota // nothing there, or an empty directory: a new instance can be made
	Existing              // an instance
)

// ErrForeign is the error for a directory that holds something else than an instance.
var ErrForeign = errors.New("is not empty and is not a sigbox data directory: name another directory with --data")

// Probe looks at path without changing it. It fails for a path that can hold no instance.
func Probe(path string) (State, error) {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Absent, nil
	}
	if err != nil {
		return Absent, fmt.Errorf("data directory: %w", err)
	}
	others := 0
	for _, e := range entries {
		if e.Name() == "instance.json" {
			return Existing, nil
		}
		if !strings.HasPrefix(e.Name(), staging) { // of a first run that was killed, or still runs
			others++
		}
	}
	if others > 0 {
		return Absent, fmt.Errorf("data directory %s %w", path, ErrForeign)
	}
	return Absent, nil
}

// Open locks an existing data directory and reads what it is.
func Open(path string) (*Dir, error) {
	lock, err := filelock.Acquire(filepath.Join(path, "lock"))
	if errors.Is(err, filelock.ErrHeld) {
		return nil, fmt.Errorf("data directory %s: another sigbox is running on it: stop that one, or name another directory with --data", path)
	}
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", path, err)
	}
	d := &Dir{Path: path, lock: lock}
	if err := d.readInfo(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Dir) readInfo() error {
	file := d.File("instance.json")
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if err := json.Unmarshal(raw, &d.Info); err != nil {
		return fmt.Errorf("%s is damaged: %w", file, err)
	}
	if d.Info.Format > format {
		return fmt.Errorf("data directory %s was made by a newer sigbox (format %d, this one knows %d): run the newer one, or name another directory with --data",
			d.Path, d.Info.Format, format)
	}
	if d.Info.Logs == "" {
		d.Info.Logs = SQLite
	}
	if d.Info.Format < 1 || d.Info.Host == "" || d.Info.TreeID < 1 {
		return fmt.Errorf("%s is damaged: a field is missing", file)
	}
	return nil
}

// File returns the path of a file in the directory.
func (d *Dir) File(elem ...string) string {
	return filepath.Join(append([]string{d.Path}, elem...)...)
}

// SetURL remembers where the instance runs.
func (d *Dir) SetURL(url string) error {
	if d.Info.URL == url {
		return nil
	}
	d.Info.URL = url
	return writeInfo(d.Path, d.Info)
}

// Close gives the lock back, if there is one.
func (d *Dir) Close() error {
	if d.lock == nil {
		return nil
	}
	return d.lock.Close()
}

// Read reads what an existing data directory is without locking it, for those who only look. The
// error of a directory that is no instance is an fs.ErrNotExist.
func Read(path string) (*Dir, error) {
	d := &Dir{Path: path}
	return d, d.readInfo()
}

// Create makes a new instance for host in a staging directory, lets fill put everything else in
// it, and moves it to path when it is complete. If anything fails, nothing is left of it.
func Create(path, host, logs string, now time.Time, fill func(*Dir) error) (err error) {
	path = filepath.Clean(path)
	stageIn, publish := filepath.Dir(path), os.Rename
	if _, err := os.Stat(path); err == nil {
		// An empty directory may be a mount point, which cannot be renamed over.
		stageIn, publish = path, moveInto
	}
	if err := os.MkdirAll(stageIn, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	removeAbandoned(stageIn, now)
	tmp, err := os.MkdirTemp(stageIn, staging)
	if err != nil {
		return fmt.Errorf("data directory %s cannot be made: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	lock, err := filelock.Acquire(filepath.Join(tmp, "lock"))
	if err != nil {
		return fmt.Errorf("data directory %s cannot be made: %w", path, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	info, err := newInfo(host, logs, now)
	if err != nil {
		return err
	}
	if err := fill(&Dir{Path: tmp, Info: info}); err != nil {
		return err
	}
	if err := writeInfo(tmp, info); err != nil {
		return err
	}
	if err := publish(tmp, path); err != nil {
		return fmt.Errorf("data directory %s cannot be made: %w", path, err)
	}
	return syncDir(stageIn)
}

// moveInto moves what is in src to dst, instance.json last: until then dst is no instance.
func moveInto(src, dst string) error {
	entries, err := os.ReadDir(src)
	if err != nil {
		return err
	}
	var moved []string
	for _, name := range append(names(entries), "instance.json") {
		to := filepath.Join(dst, name)
		if err := os.Rename(filepath.Join(src, name), to); err != nil {
			for _, m := range moved {
				err = errors.Join(err, os.RemoveAll(m))
			}
			return err
		}
		moved = append(moved, to)
	}
	return os.Remove(src)
}

// names lists the entries' names without instance.json.
func names(entries []fs.DirEntry) []string {
	var out []string
	for _, e := range entries {
		if e.Name() != "instance.json" {
			out = append(out, e.Name())
		}
	}
	return out
}

func newInfo(host, logs string, now time.Time) (Info, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return Info{}, fmt.Errorf("random tree id: %w", err)
	}
	// 62 random bits: positive, and never one that an earlier instance had.
	tree := int64(binary.BigEndian.Uint64(b[:8])>>2) | 1<<61
	return Info{Format: format, ID: fmt.Sprintf("%x", b[8:]), Host: host, Logs: logs, TreeID: tree, Created: now.UTC().Truncate(time.Second)}, nil
}

func writeInfo(dir string, info Info) error {
	raw, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return fmt.Errorf("encode instance.json: %w", err)
	}
	return WriteFile(filepath.Join(dir, "instance.json"), append(raw, '\n'), 0o600)
}

// Unfinished begins the names of files that WriteFile has not finished; what it leaves behind when the
// process is killed can be removed.
const Unfinished = ".new-"

// WriteFile replaces a file as a whole: a reader, or a crash, sees the old bytes or the new ones.
func WriteFile(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), Unfinished)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	err = func() error {
		defer f.Close()
		if _, err := f.Write(data); err != nil {
			return err
		}
		if err := f.Chmod(mode); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		return os.Rename(f.Name(), path)
	}()
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// MakeDir makes a directory for one user, unless it is there. After a crash it still is.
func MakeDir(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("directory: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}
