package tlog_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/memstore"
	"github.com/sigbox/sigbox/tlog/tile"
)

// bundleCounter counts how many bundles are read.
type bundleCounter struct {
	tlog.Log
	reads int
}

func (c *bundleCounter) Leaves(ctx context.Context, from, to int64) ([]tlog.Leaf, error) {
	c.reads++
	return c.Log.Leaves(ctx, from, to)
}

// A full bundle is read once, until others take its place; a partial one is read each time.
func TestTilesKeepBundles(t *testing.T) {
	const size = 60_000 // bytes of an entry: 256 of them nearly fill BundleBytes
	var seeds []tlog.Entry
	for i := range 2*tile.Width + 3 {
		seeds = append(seeds, logtest.Entry(strings.Repeat(string(rune('a'+i%26)), size-i)))
	}
	store, cfg := memstore.New(), logtest.Config(t)
	create(t, store, cfg, seeds...)
	log := &bundleCounter{Log: mustOpen(t, store, cfg)}
	tiles := tlog.NewTiles(log)
	for i, c := range []struct {
		n     int64
		width int
		reads int // so far
	}{{0, 256, 1}, {0, 256, 1}, {0, 9, 2}, {0, 9, 3}, {2, 3, 4}, {2, 3, 5}, {1, 256, 6}, {1, 256, 6}, {0, 256, 7}} {
		p := tile.Path{Level: tile.Entries, N: c.n, Width: c.width}
		got, err := tiles.Read(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if log.reads != c.reads {
			t.Errorf("row %d: %d bundles were read so far, want %d", i, log.reads, c.reads)
		}
		if want, err := tlog.ReadPath(t.Context(), log.Log, p); err != nil || !bytes.Equal(got, want) {
			t.Errorf("row %d: not the bundle: %v", i, err)
		}
	}
}
