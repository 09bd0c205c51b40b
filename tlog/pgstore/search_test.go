package pgstore_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/pgstore"
)

// TestSearchOfManyRegions: a search answers the newest entries, and all of them up to its limit, in
// whichever of 200 regions they are, and however many queries look for them.
func TestSearchOfManyRegions(t *testing.T) {
	server := pgtest.Shared(t)
	name := newDatabase(t, server)
	store := openStore(t, openDB(t, server.URL(name)), "test")
	if err := tlog.Create(t.Context(), store, logtest.Config(t), nil); err != nil {
		t.Fatal(err)
	}
	const regions = 200
	admin := server.Connect(t, name)
	put := func(key string, index int64) {
		t.Helper()
		exec(t, admin, fmt.Sprintf("INSERT INTO tlog.tlog_key (log_id, idx, slot, key) SELECT id, %d, %d, '%s' FROM tlog.tlog",
			index, index>>16<<40+pgstore.KeyHash([]byte(key))+index&65535, key))
	}
	want := map[string][]int64{}
	for key, in := range map[string][]int64{
		"newest": {regions - 1}, "oldest": {0}, "both ends": {0, regions - 1}, "at borders": {199, 198, 183, 182, 167, 151, 150, 119, 87, 55, 54, 22, 1},
		"each third": nil, "nowhere": {},
	} {
		if in == nil {
			for r := int64(1); r < regions; r += 3 {
				in = append(in, r)
			}
		}
		for _, r := range in {
			for _, at := range []int64{0, 7, 65535} {
				index := r<<16 + at
				put(key, index)
				want[key] = append(want[key], index)
			}
		}
		slices.Sort(want[key])
	}
	for _, keys := range [][]string{{"newest"}, {"oldest"}, {"both ends"}, {"at borders"}, {"each third"}, {"nowhere"}, {"oldest", "at borders"}, {"both ends", "nowhere"}} {
		var list [][]byte
		var all []int64
		for _, k := range keys {
			list, all = append(list, []byte(k)), append(all, want[k]...)
		}
		slices.Sort(all)
		all = slices.Compact(all)
		for _, limit := range []int{1, 2, 4, 38, 1000} {
			got, err := store.Search(t.Context(), list, false, regions<<16, limit)
			if last := all[max(0, len(all)-limit):]; err != nil || !slices.Equal(got, last) {
				t.Errorf("search for %q, at most %d: %v, %v; want %v", keys, limit, got, err, last)
			}
		}
	}
}
