package pgstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/pgstore"
)

const region = 1 << 16

// TestRegions makes a log of two full regions and a few entries, whose regions are filled up by two
// processes in turn.
func TestRegions(t *testing.T) {
	server := pgtest.Shared(t)
	database := newDatabase(t, server)
	store, cfg := openStore(t, openDB(t, server.URL(database)), "test"), logtest.Config(t)
	var seeds []tlog.Entry
	for i := range 2*region - 40 {
		seeds = append(seeds, logtest.Numbered(i))
	}
	if err := tlog.Create(t.Context(), store, cfg, seeds); err != nil {
		t.Fatal(err)
	}
	writers := []*tlog.Engine{logtest.Open(t, store, cfg), logtest.Open(t, openStore(t, openDB(t, server.URL(database)), "test"), cfg)}
	appendAll(t, writers, 2*region-40, 2*region+100)
	if n, err := pgstore.Learn(t.Context(), store); err != nil || n != 2 {
		t.Fatalf("%d filters, %v", n, err)
	}
	t.Run("damaged", func(t *testing.T) { testDamagedRegions(t, server, database, cfg) })
	t.Run("first bad row", func(t *testing.T) { testFirstBadRow(t, server, database, cfg) })
	t.Run("duplicates", func(t *testing.T) { testDuplicatesOfAllRegions(t, server, database, cfg) })
	t.Run("prepare", func(t *testing.T) { testPrepare(t, server, database, cfg) })
	t.Run("searches", func(t *testing.T) { testSearchesOfAllRegions(t, server, database) })
	t.Run("rolled back", func(t *testing.T) { testRegionsRolledBack(t, server, database) })
	t.Run("an earlier build's", func(t *testing.T) { testEarlierFilters(t, server, database, cfg) })
}

// appendAll appends entries by several processes in turn, some of which find theirs there.
func appendAll(t *testing.T, logs []*tlog.Engine, from, to int) {
	const step = 20
	for ; from < to; from += step {
		errs := make(chan error)
		end := min(from+step, to)
		for i := from; i < end; i++ {
			go func() {
				r, err := logs[i/step%len(logs)].Append(context.Background(), logtest.Numbered(i))
				if err == nil {
					err = logtest.CheckReceipt(r)
				}
				errs <- err
			}()
		}
		for i := from; i < end; i++ {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
	}
}

// testDuplicatesOfAllRegions appends entries of full regions again, through processes that know all
// filters, some, or none: each is found where it is.
func testDuplicatesOfAllRegions(t *testing.T, server *pgtest.Server, database string, cfg tlog.Config) {
	store := openStore(t, openDB(t, server.URL(database)), "test")
	admin := server.Connect(t, database)
	identities := make([][32]byte, 0, 100)
	for i := 0; i < 2*region+100; i += 1313 {
		identities = append(identities, logtest.Numbered(i).Identity())
	}
	check := func(what string, s *pgstore.Store, filters int) {
		t.Helper()
		found, err := s.Find(t.Context(), identities)
		if err != nil || len(found) != len(identities) {
			t.Errorf("%s: %d of %d found, %v", what, len(found), len(identities), err)
		}
		log := logtest.Open(t, s, cfg)
		for i := range identities {
			r, err := log.Append(t.Context(), logtest.Numbered(i*1313))
			if err != nil || !r.Duplicate || r.Leaf.Index != found[identities[i]].Index {
				t.Errorf("%s: entry %d: %+v, %v", what, i*1313, r.Leaf.Index, err)
			}
		}
		if n, err := pgstore.Learn(t.Context(), s); err != nil || n != filters {
			t.Errorf("%s: %d filters, %v", what, n, err)
		}
	}
	check("a new process", store, 2)
	exec(t, admin, "SET session_replication_role = replica")
	exec(t, admin, "DELETE FROM tlog.tlog_filter WHERE region = 1")
	check("where a filter is gone", openStore(t, openDB(t, server.URL(database)), "test"), 2)
	exec(t, admin, "DELETE FROM tlog.tlog_filter")
	check("where all are", openStore(t, openDB(t, server.URL(database)), "test"), 2)
	var n int
	if err := admin.QueryRow(t.Context(), "SELECT count(*) FROM tlog.tlog_filter").Scan(&n); err != nil || n != 2 {
		t.Errorf("%d filters are stored, %v", n, err)
	}
	if _, err := tlog.Fsck(t.Context(), store, tlog.Audit{Verifier: cfg.Signer.Verifier()}); err != nil {
		t.Error(err)
	}
}

// testRegionsRolledBack: a process knows the filter of a region that the database has no more, since it was
// turned back and holds other entries now. They are found.
func testRegionsRolledBack(t *testing.T, server *pgtest.Server, database string) {
	copied := backup(t, server, database)
	store := openStore(t, openDB(t, server.URL(copied)), "test")
	if n, err := pgstore.Learn(t.Context(), store); err != nil || n != 2 {
		t.Fatalf("%d filters, %v", n, err)
	}
	other := logtest.Entry("of another history").Identity()
	admin := server.Connect(t, copied)
	exec(t, admin, "SET session_replication_role = replica")
	exec(t, admin, "DELETE FROM tlog.tlog_leaf WHERE idx >= 100000")
	exec(t, admin, "UPDATE tlog.tlog_head SET size = 100000")
	exec(t, admin, fmt.Sprintf(`UPDATE tlog.tlog_leaf SET identity = '\x%x' WHERE idx = 99999`, other))
	wanted := [][32]byte{other, logtest.Numbered(3).Identity(), logtest.Numbered(70000).Identity()}
	for name, asked := range map[string][][32]byte{"what was wanted": wanted, "something else": wanted[:2]} {
		err := store.Update(t.Context(), wanted, func(tx tlog.Tx) (*tlog.Batch, error) {
			found, err := tx.Find(t.Context(), asked)
			if err != nil || len(found) != len(asked) || found[other].Index != 99999 {
				t.Errorf("%s: %v, %v", name, found, err)
			}
			return nil, nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// testDamagedRegions: a filter that would let an entry in twice stops the log, and fsck names what is
// wrong; so it does for an entry that got in twice.
func testDamagedRegions(t *testing.T, server *pgtest.Server, database string, cfg tlog.Config) {
	for name, c := range map[string]struct {
		sql          string
		append, fsck string
	}{
		"a filter with a flipped bit": {"UPDATE tlog.tlog_filter SET identities = set_bit(identities, 400000, 1 - get_bit(identities, 400000)) WHERE region = 1",
			"", "tlog_filter of log"},
		"a filter of keys with a flipped bit": {"UPDATE tlog.tlog_filter SET keys = set_bit(keys, 200, 1 - get_bit(keys, 200)) WHERE region = 1",
			"", "tlog_filter of log"},
		"the filter of another region": {"UPDATE tlog.tlog_filter f SET identities = o.identities, keys = o.keys, sha256 = o.sha256 FROM tlog.tlog_filter o WHERE f.region = 1 AND o.region = 0",
			"", "tlog_filter of log"},
		"an entry in two regions": {"UPDATE tlog.tlog_leaf SET identity = (SELECT identity FROM tlog.tlog_leaf WHERE idx = 3) WHERE idx = 131075",
			"", "leaf 131075 is not found by its identity"},
		"a region with a hole": {"DELETE FROM tlog.tlog_filter WHERE region = 1; DELETE FROM tlog.tlog_leaf WHERE idx = 70000",
			"it has 65535 leaves", "leaf 70000 is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			copied := backup(t, server, database)
			admin := server.Connect(t, copied)
			for _, q := range strings.Split("SET session_replication_role = replica; "+c.sql, ";") {
				exec(t, admin, q)
			}
			store := openStore(t, openDB(t, server.URL(copied)), "test")
			if _, err := tlog.Fsck(t.Context(), store, tlog.Audit{Verifier: cfg.Signer.Verifier()}); !errors.Is(err, tlog.ErrCorrupt) || !strings.Contains(err.Error(), c.fsck) {
				t.Errorf("fsck: %v", err)
			}
			store = openStore(t, openDB(t, server.URL(copied)), "test")
			if _, err := store.Head(t.Context()); err != nil {
				t.Fatal(err)
			}
			err := store.Update(t.Context(), nil, func(tlog.Tx) (*tlog.Batch, error) { return nil, nil })
			switch {
			case c.append == "" && err != nil, c.append != "" && (!errors.Is(err, tlog.ErrCorrupt) || !strings.Contains(err.Error(), c.append)):
				t.Errorf("append: %v", err)
			}
			if strings.Contains(c.sql, "tlog_filter SET") || strings.Contains(c.sql, "tlog_filter f SET") {
				testWithoutFilter(t, server, copied, cfg, store)
			}
		})
	}
}

// testWithoutFilter: where the filter of region 1 is damaged, nothing gets in twice, nothing is hidden, and
// the log says what is wrong.
func testWithoutFilter(t *testing.T, server *pgtest.Server, database string, cfg tlog.Config, known *pgstore.Store) {
	if n := pgstore.Filters(known); n != 2 {
		t.Errorf("%d filters are known", n)
	}
	for _, i := range []int{region, region + 77, 2*region - 41} {
		found, err := known.Search(t.Context(), [][]byte{[]byte("e")}, false, int64(i)+1, 1)
		if err != nil || len(found) != 1 || found[0] != int64(i) {
			t.Errorf("a search for entry %d finds %v, %v", i, found, err)
		}
	}
	var said bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&said, nil))
	store := openStore(t, openDB(t, server.URL(database)), "test")
	if _, err := store.Head(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := store.Prepare(t.Context(), cfg.Logger); err != nil || !strings.Contains(said.String(), "filter is damaged") || !strings.Contains(said.String(), "region 1") {
		t.Errorf("prepare: %v; it says: %s", err, &said)
	}
	log := logtest.Open(t, store, cfg)
	for _, i := range []int{region, region + 77, 2*region - 41} {
		if r, err := log.Append(t.Context(), logtest.Numbered(i)); err != nil || !r.Duplicate || r.Leaf.Index != int64(i) {
			t.Errorf("entry %d again: duplicate %v at %d, %v", i, r.Duplicate, r.Leaf.Index, err)
		}
	}
}

// testPrepare: a log without filters, also one that is frozen, gets them while it runs, and says so.
func testPrepare(t *testing.T, server *pgtest.Server, database string, cfg tlog.Config) {
	for _, frozen := range []bool{false, true} {
		copied := backup(t, server, database)
		admin := server.Connect(t, copied)
		exec(t, admin, "SET session_replication_role = replica")
		exec(t, admin, "DELETE FROM tlog.tlog_filter")
		if frozen {
			exec(t, admin, "UPDATE tlog.tlog SET state = 'frozen'")
		}
		var said bytes.Buffer
		cfg.Logger = slog.New(slog.NewTextHandler(&said, nil))
		store := openStore(t, openDB(t, server.URL(copied)), "test")
		log, err := tlog.Open(t.Context(), store, cfg)
		if err != nil {
			t.Fatal(err)
		}
		stop := logtest.Start(t, log)
		for range 600 {
			if pgstore.Filters(store) == 2 {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if n := pgstore.Filters(store); n != 2 || !strings.Contains(said.String(), "filters=2") {
			t.Errorf("frozen %v: %d filters are known; it says: %s", frozen, n, &said)
		}
		var n int
		if err := admin.QueryRow(t.Context(), "SELECT count(*) FROM tlog.tlog_filter").Scan(&n); err != nil || n != 2 {
			t.Errorf("frozen %v: %d filters are stored, %v", frozen, n, err)
		}
		// What is there is said by nobody.
		said.Reset()
		again := openStore(t, openDB(t, server.URL(copied)), "test")
		if _, err := again.Head(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := again.Prepare(t.Context(), cfg.Logger); err != nil || pgstore.Filters(again) != 2 || said.Len() > 0 {
			t.Errorf("frozen %v: a second process knows %d filters, %v, and says: %s", frozen, pgstore.Filters(again), err, &said)
		}
	}
}

// testFirstBadRow: what is looked at a region at a time, or at the end, is not named after what is
// noticed earlier and lies behind it.
func testFirstBadRow(t *testing.T, server *pgtest.Server, database string, cfg tlog.Config) {
	const twice = "UPDATE tlog.tlog_leaf SET identity = (SELECT identity FROM tlog.tlog_leaf WHERE idx = 3) WHERE idx = 70003; "
	for name, c := range map[string]struct{ sql, want string }{
		"an entry twice, then a damaged leaf":                      {twice + "UPDATE tlog.tlog_leaf SET data = '' WHERE idx = 131080", "leaf 70003 is not found by its identity"},
		"an entry twice, then a missing search key":                {twice + "DELETE FROM tlog.tlog_key WHERE idx = 70004", "leaf 70003 is not found by its identity"},
		"a missing search key, then an entry twice":                {twice + "DELETE FROM tlog.tlog_key WHERE idx = 70002", "a search key of leaf 70002 is missing"},
		"a missing search key, then a bad leaf of the next region": {"DELETE FROM tlog.tlog_key WHERE idx = 65000; UPDATE tlog.tlog_leaf SET data = '' WHERE idx = 65900", "a search key of leaf 65000 is missing"},
		"a search key twice, then one that is missing":             {"INSERT INTO tlog.tlog_key SELECT * FROM tlog.tlog_key WHERE idx = 70001; DELETE FROM tlog.tlog_key WHERE idx = 70002", "leaf 70001 is found under a search key that it does not have, or twice"},
		"a filter that denies all keys":                            {"UPDATE tlog.tlog_filter SET keys = decode(repeat('00', 24), 'hex'), sha256 = sha256(int8send(log_id) || int8send(region) || identities || decode(repeat('00', 24), 'hex')) WHERE region = 1", "is denied by the filter of region 1"},
		"the search key of another entry":                          {"DELETE FROM tlog.tlog_filter; UPDATE tlog.tlog_key SET key = 'f', slot = (1::bigint << 40) + (('x' || left(encode(sha256('f'), 'hex'), 6))::bit(24)::bigint << 16) + (idx & 65535) WHERE idx = 70002", "a search key of leaf 70002 is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			copied := backup(t, server, database)
			admin := server.Connect(t, copied)
			for _, q := range strings.Split("SET session_replication_role = replica; "+c.sql, ";") {
				exec(t, admin, q)
			}
			_, err := tlog.Fsck(t.Context(), openStore(t, openDB(t, server.URL(copied)), "test"), tlog.Audit{
				Verifier: cfg.Signer.Verifier(),
				Keys:     func(l tlog.Leaf) ([][]byte, error) { return logtest.Entry(l.Data).Keys(), nil },
			})
			if !errors.Is(err, tlog.ErrCorrupt) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// testSearchesOfAllRegions searches for keys of entries of all regions through processes that know all
// filters, or none.
func testSearchesOfAllRegions(t *testing.T, server *pgtest.Server, database string) {
	const size, step = 2*region + 100, 1313
	copied := backup(t, server, database)
	admin := server.Connect(t, copied)
	for i := int64(0); i < size; i += step {
		key := fmt.Sprintf("number %d", i)
		exec(t, admin, "INSERT INTO tlog.tlog_key (log_id, idx, slot, key) SELECT id, $1, $2, $3 FROM tlog.tlog", i, i>>16<<40+pgstore.KeyHash([]byte(key))+i&65535, []byte(key))
	}
	exec(t, admin, "SET session_replication_role = replica")
	exec(t, admin, "DELETE FROM tlog.tlog_filter")
	for _, filters := range []int{0, 2} {
		store := openStore(t, openDB(t, server.URL(copied)), "test")
		if _, err := store.Head(t.Context()); err != nil { // tells how large the log is
			t.Fatal(err)
		}
		if filters > 0 {
			if _, err := pgstore.Learn(t.Context(), store); err != nil {
				t.Fatal(err)
			}
		}
		for i := int64(0); i < size; i += step {
			for _, c := range []struct {
				keys  string
				and   bool
				found bool
			}{{"number %d", false, true}, {"number %d|e", true, true}, {"absent %d", false, false}, {"absent %d|e", true, false}, {"number %d|number 1", true, false}} {
				var keys [][]byte
				for _, k := range strings.Split(c.keys, "|") {
					keys = append(keys, []byte(strings.ReplaceAll(k, "%d", fmt.Sprint(i))))
				}
				found, err := store.Search(t.Context(), keys, c.and, size, 10)
				if err != nil || (len(found) == 1 && found[0] == i) != c.found || len(found) > 1 {
					t.Fatalf("%d filters: search for %q (all: %v): %v, %v", filters, keys, c.and, found, err)
				}
			}
		}
		if n := pgstore.Filters(store); n != filters {
			t.Errorf("%d filters are known, want %d", n, filters)
		}
	}
}

// testEarlierFilters: a database with the filters of an earlier build is refused until it is migrated, and
// then has new ones made.
func testEarlierFilters(t *testing.T, server *pgtest.Server, database string, cfg tlog.Config) {
	name := server.Database(t)
	if err := migrate(server.URL(name)); err != nil {
		t.Fatal(err)
	}
	copyRows(t, server, database, name)
	admin := server.Connect(t, name)
	exec(t, admin, "DROP TABLE tlog.tlog_filter")
	exec(t, admin, "CREATE TABLE tlog.tlog_filter (log_id integer, region integer, bits bytea, sha256 bytea, PRIMARY KEY (log_id, region))")
	exec(t, admin, "ALTER TABLE tlog.tlog_filter OWNER TO sigbox_tlog_owner")
	exec(t, admin, "INSERT INTO tlog.tlog_filter SELECT id, 0, '', '' FROM tlog.tlog")
	exec(t, admin, "DELETE FROM tlog.schema_version WHERE version_id > 3")
	if db, err := pg.Open(t.Context(), pg.Config{URL: asWriter(server.URL(name)), Schema: "tlog"}); err == nil || !strings.Contains(err.Error(), "run sigbox migrate") {
		t.Errorf("it is opened: %v", err)
		if err == nil {
			db.Close()
		}
	}
	if err := migrate(server.URL(name)); err != nil {
		t.Fatal(err)
	}
	store := openStore(t, openDB(t, server.URL(name)), "test")
	log := logtest.Open(t, store, cfg)
	for _, i := range []int{5, region + 5, 2*region + 5} {
		// Those that two processes appended at the end are not in the order of their numbers.
		if r, err := log.Append(t.Context(), logtest.Numbered(i)); err != nil || !r.Duplicate || r.Leaf.Index != int64(i) && i < 2*region-40 {
			t.Errorf("entry %d again: %v at %d, %v", i, r.Duplicate, r.Leaf.Index, err)
		}
	}
	if n, err := pgstore.Learn(t.Context(), store); err != nil || n != 2 {
		t.Errorf("%d filters are known, %v", n, err)
	}
	if _, err := tlog.Fsck(t.Context(), store, tlog.Audit{Verifier: cfg.Signer.Verifier()}); err != nil {
		t.Error(err)
	}
}
