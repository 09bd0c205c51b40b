package tiledir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	sumdb "golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox/internal/filelock"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/tile"
)

// files is x/mod's view of an exported directory: an independent reader. Its paths have the tile
// height in them.
type files string

func (files) Height() int                      { return tile.Height }
func (files) SaveTiles([]sumdb.Tile, [][]byte) {}
func (dir files) ReadTiles(tiles []sumdb.Tile) ([][]byte, error) {
	var out [][]byte
	for _, t := range tiles {
		b, err := os.ReadFile(filepath.Join(string(dir), strings.Replace(t.Path(), "tile/8/", "tile/", 1)))
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// verify reads a directory as a mirror would: every entry is hashed, and every hash is
// authenticated by x/mod against the checkpoint. It returns the size.
func verify(t *testing.T, dir string, v *checkpoint.Verifier) int64 {
	t.Helper()
	return verifyEntries(t, dir, v, func(i int64, entry string) bool { return entry == string(logtest.Numbered(int(i))) })
}

func verifyEntries(t *testing.T, dir string, v *checkpoint.Verifier, right func(i int64, entry string) bool) int64 {
	t.Helper()
	note, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	cp, err := v.Open(note)
	if err != nil {
		t.Fatal(err)
	}
	reader := sumdb.TileHashReader(sumdb.Tree{N: cp.Size, Hash: cp.Root}, files(dir))
	for from := int64(0); from < cp.Size; from += tile.Width {
		p := tile.Path{Level: tile.Entries, N: from / tile.Width, Width: int(min(tile.Width, cp.Size-from))}
		raw, err := os.ReadFile(filepath.Join(dir, p.String()))
		if err != nil {
			t.Fatal(err)
		}
		entries, err := tile.ParseBundle(raw)
		if err != nil || len(entries) != p.Width {
			t.Fatalf("%s: %d entries, %v", p, len(entries), err)
		}
		var at []int64
		for i := range entries {
			at = append(at, sumdb.StoredHashIndex(0, from+int64(i)))
		}
		hashes, err := reader.ReadHashes(at)
		if err != nil {
			t.Fatal(err)
		}
		for i, entry := range entries {
			if !right(from+int64(i), string(entry)) {
				t.Fatalf("entry %d is %q", from+int64(i), entry)
			}
			if sumdb.RecordHash(entry) != hashes[i] {
				t.Fatalf("entry %d does not hash to its tile", from+int64(i))
			}
		}
	}
	return cp.Size
}

// snapshot returns what the files of a directory hold.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == ".lock" {
			return err
		}
		raw, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, dir+"/")] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

type keyed struct {
	signer *checkpoint.Signer
	t      *testing.T
}

func newKeyed(t *testing.T) keyed { return keyed{logtest.Signer(t, logtest.Origin, logtest.Origin), t} }

func (k keyed) log(from, to int) *tlog.Engine {
	log := logtest.New(k.t, func(c *tlog.Config) { c.Signer = k.signer })
	grow(k.t, log, from, to)
	return log
}

// grow appends in order: x/mod's reader is compared with numbered entries.
func grow(t *testing.T, log tlog.Log, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if _, err := log.Append(t.Context(), logtest.Numbered(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestExportGrows exports at sizes on both sides of tile boundaries, into one directory.
func TestExportGrows(t *testing.T) {
	k := newKeyed(t)
	log, dir := k.log(0, 0), filepath.Join(t.TempDir(), "out")
	before := map[string]string{}
	last := 0
	for _, size := range []int{0, 1, 255, 256, 257, 300, 512, 2900, 2900, 3700} {
		grow(t, log, last, size)
		last = size
		var told []int64
		got, err := Export(t.Context(), log, k.signer.Verifier(), dir, func(done, total int64) { told = append(told, done, total) })
		if err != nil || got != int64(size) {
			t.Fatalf("size %d: %d, %v", size, got, err)
		}
		if n := verify(t, dir, k.signer.Verifier()); n != got {
			t.Errorf("size %d: the directory has %d", size, n)
		}
		if len(told) > 0 && !slices.Equal(told[len(told)-2:], []int64{got, got}) {
			t.Errorf("size %d: progress ends with %v", size, told)
		}
		now := snapshot(t, dir)
		for path, content := range before {
			p, err := tile.ParsePath(path)
			if err == nil && p.Width == tile.Width && now[path] != content {
				t.Errorf("size %d: full tile %s has changed", size, path)
			}
		}
		for path := range now {
			if p, err := tile.ParsePath(path); err == nil && stale(path, got) {
				t.Errorf("size %d: %v is left over", size, p)
			} else if err != nil && path != "checkpoint" {
				t.Errorf("size %d: %s is no file of a log", size, path)
			}
		}
		before = now
	}
}

// TestExportOf100000 is an export with three levels of tiles, and another one after 1,000 more.
func TestExportOf100000(t *testing.T) {
	k, dir := newKeyed(t), t.TempDir()
	log := k.log(0, 0)
	for from := 0; from < 100_000; from += 5_000 { // concurrently: in any order
		logtest.Fill(t, log, from, from+5_000)
	}
	for _, want := range []int{100_000, 101_000} {
		logtest.Fill(t, log, 100_000, want)
		written := 0
		size, err := Export(t.Context(), log, k.signer.Verifier(), dir, func(int64, int64) { written++ })
		if err != nil || size != int64(want) {
			t.Fatalf("size %d, %v", size, err)
		}
		if want > 100_000 && written > 5 {
			t.Errorf("1,000 more entries took %d bundles", written)
		}
		seen := map[string]bool{}
		n := verifyEntries(t, dir, k.signer.Verifier(), func(_ int64, entry string) bool {
			again := seen[entry]
			seen[entry] = true
			return !again
		})
		if n != size || len(seen) != want {
			t.Errorf("the directory has %d, %d of them distinct", n, len(seen))
		}
	}
}

// TestExportOfALogInUse appends in the middle of an export: it must end with the head it began with.
func TestExportOfALogInUse(t *testing.T) {
	k, dir := newKeyed(t), t.TempDir()
	log, next := k.log(0, 700), 700
	size, err := Export(t.Context(), log, k.signer.Verifier(), dir, func(int64, int64) {
		grow(t, log, next, next+100)
		next += 100
	})
	if err != nil || size != 700 || next != 1000 {
		t.Fatalf("size %d, %v; the log has %d by now", size, err, next)
	}
	if n := verify(t, dir, k.signer.Verifier()); n != 700 {
		t.Errorf("the directory has %d", n)
	}
}

// TestFullTilesAreWrittenOnce looks at the files themselves, not at their content.
func TestFullTilesAreWrittenOnce(t *testing.T) {
	k := newKeyed(t)
	log, dir := k.log(0, 600), t.TempDir()
	path := filepath.Join(dir, "tile", "0", "001")
	var infos []os.FileInfo
	for _, size := range []int{600, 900} {
		grow(t, log, 600, size)
		if _, err := Export(t.Context(), log, k.signer.Verifier(), dir, nil); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o644 {
			t.Errorf("mode %v: a web server of another user could not read it", info.Mode())
		}
		infos = append(infos, info)
	}
	if !os.SameFile(infos[0], infos[1]) {
		t.Error("tile/0/001 was replaced")
	}
}

// TestCrashAnywhere cuts an export short before each change to the file system. What is there must
// be the old tree or the new one, whole, and the next export must finish it.
func TestCrashAnywhere(t *testing.T) {
	k := newKeyed(t)
	old, grown := k.log(0, 700), k.log(0, 1100)
	crash := errors.New("crash")
	seen := map[int64]int{}
	for at := 0; ; at++ {
		dir := t.TempDir()
		if _, err := Export(t.Context(), old, k.signer.Verifier(), dir, nil); err != nil {
			t.Fatal(err)
		}
		steps := 0
		e := &export{log: grown, verifier: k.signer.Verifier(), dir: dir, touched: map[string]bool{}, fault: func(string) error {
			if steps++; steps > at {
				return crash
			}
			return nil
		}}
		_, err := e.run(t.Context())
		if err != nil && !errors.Is(err, crash) {
			t.Fatal(err)
		}
		seen[verify(t, dir, k.signer.Verifier())]++
		if err := os.WriteFile(filepath.Join(dir, "tile", unfinished+"1"), []byte("cut sho"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Export(t.Context(), grown, k.signer.Verifier(), dir, nil); err != nil {
			t.Fatalf("after a crash at step %d: %v", at, err)
		}
		if n := verify(t, dir, k.signer.Verifier()); n != 1100 {
			t.Fatalf("after a crash at step %d and another export: size %d", at, n)
		}
		for path := range snapshot(t, dir) {
			if strings.Contains(path, unfinished) || stale(path, 1100) {
				t.Errorf("after a crash at step %d and another export %s is left over", at, path)
			}
		}
		if err == nil {
			break
		}
	}
	if seen[700] < 10 || seen[1100] < 3 || len(seen) != 2 {
		t.Errorf("sizes seen after crashes: %v", seen)
	}
}

// TestRefused: an error that says why, and not a byte changed.
func TestRefused(t *testing.T) {
	k, stranger := newKeyed(t), newKeyed(t)
	exported := func(log tlog.Log, k keyed) string {
		dir := t.TempDir()
		if _, err := Export(t.Context(), log, k.signer.Verifier(), dir, nil); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	good := k.log(0, 400)
	withoutCheckpoint := exported(k.log(1000, 1400), k)
	if err := os.Remove(filepath.Join(withoutCheckpoint, "checkpoint")); err != nil {
		t.Fatal(err)
	}
	garbled := exported(good, k)
	if err := os.WriteFile(filepath.Join(garbled, "checkpoint"), []byte("not a note"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		dir  string
		log  tlog.Log
		want error
	}{
		"another log's directory":        {exported(stranger.log(0, 400), stranger), good, ErrForeign},
		"a checkpoint that is none":      {garbled, good, ErrForeign},
		"the log was rolled back":        {exported(good, k), k.log(0, 399), ErrBehind},
		"a fork of the same size":        {exported(good, k), k.log(1000, 1400), ErrFork},
		"a fork that is longer":          {exported(good, k), k.log(1000, 1700), ErrFork},
		"other tiles, no checkpoint":     {withoutCheckpoint, good, ErrForeign},
		"a log that lies about its head": {exported(good, k), lying{good, stranger.log(0, 500)}, checkpoint.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			before := snapshot(t, tc.dir)
			_, err := Export(t.Context(), tc.log, k.signer.Verifier(), tc.dir, nil)
			if !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if after := snapshot(t, tc.dir); !maps.Equal(before, after) {
				t.Errorf("the directory was changed: %d files, %d before", len(after), len(before))
			}
		})
	}
}

// lying is a log with the head of another one.
type lying struct {
	tlog.Log
	other tlog.Log
}

func (l lying) Checkpoint(ctx context.Context) (checkpoint.Signed, error) {
	return l.other.Checkpoint(ctx)
}

func TestOneExportAtATime(t *testing.T) {
	k, dir := newKeyed(t), t.TempDir()
	lock, err := filelock.Acquire(filepath.Join(dir, ".lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	_, err = Export(t.Context(), k.log(0, 1), k.signer.Verifier(), dir, nil)
	if err == nil || !strings.Contains(fmt.Sprint(err), "another export") {
		t.Errorf("second export: %v", err)
	}
}
