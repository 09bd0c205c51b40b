package pgstore_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/internal/record"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/pgstore"
)

// TestKill kills under load, again and again, at random moments and in turn: a replica with SIGKILL,
// the PostgreSQL process of one of its sessions with SIGTERM and with SIGKILL (which takes all
// sessions along), and PostgreSQL itself. A quarter of the kills is followed by a second one while
// everybody recovers. With one replica the guard is its own, a file; several share one.
//
// SIGBOX_KILL_ROUNDS sets the number of rounds; SIGBOX_KILL_SEED repeats their order.
func TestKill(t *testing.T) {
	started := time.Now()
	rounds, seed := number("SIGBOX_KILL_ROUNDS", 50), number("SIGBOX_KILL_SEED", time.Now().UnixNano())
	var runs [3]map[string]any
	t.Run("at once", func(t *testing.T) { // they wait for disks most of the time
		for i := range runs {
			t.Run(fmt.Sprintf("replicas=%d", i+1), func(t *testing.T) {
				t.Parallel()
				runs[i] = kill(t, i+1, rounds, seed)
			})
		}
	})
	if err := record.Write("kill-postgres", t.Name(), started, map[string]any{"seed": seed, "rounds": rounds, "runs": runs}); err != nil {
		t.Error(err)
	}
}

func number(variable string, otherwise int64) int64 {
	if n, err := strconv.ParseInt(os.Getenv(variable), 10, 64); err == nil {
		return n
	}
	return otherwise
}

// killer is a log under load, and what is done to it.
type killer struct {
	server   *pgtest.Server
	orders   orders
	witness  *witness
	replicas []*child
	random   *rand.Rand
	kills    map[string]int
}

func (k *killer) start(t testing.TB, i int) {
	k.orders.Prefix = fmt.Sprintf("replica%d", i)
	k.witness.resume(&k.orders)
	k.replicas[i] = startChild(t, k.orders, k.witness)
}

const (
	killServer     = "server"
	endBackend     = "PostgreSQL backend, terminated"
	killBackend    = "PostgreSQL backend"
	killPostgreSQL = "PostgreSQL"
)

var targets = []string{killServer, endBackend, killBackend, killPostgreSQL}

func (k *killer) strike(t testing.TB, target string) {
	switch target {
	case killServer:
		i := k.random.IntN(len(k.replicas))
		k.replicas[i].kill()
		k.start(t, i)
	case endBackend:
		k.server.EndSession(t)
	case killBackend:
		k.server.KillSession(t)
	case killPostgreSQL:
		k.server.Kill(t)
		k.server.Restart(t)
	}
	k.kills[target]++
}

// round lets some entries through and strikes; it returns how long it took until entries were
// acknowledged again that were appended after that.
func (k *killer) round(t testing.TB, target string) time.Duration {
	k.witness.await(t, 1+k.random.IntN(200))
	time.Sleep(time.Duration(k.random.IntN(20_000)) * time.Microsecond) // the point is not to know when
	began := time.Now()
	k.strike(t, target)
	if k.random.IntN(4) == 0 {
		time.Sleep(time.Duration(k.random.IntN(200_000)) * time.Microsecond)
		// Those two need no session of ours, which PostgreSQL may not be ready for.
		k.strike(t, []string{killServer, killPostgreSQL}[k.random.IntN(2)])
		k.kills["of these, while others recovered"]++
	}
	// All but one may have been on their way before.
	k.witness.await(t, len(k.replicas)*k.orders.Workers+1)
	return time.Since(began)
}

// kill runs the rounds and returns the raw counts.
func kill(t *testing.T, replicas int, rounds, seed int64) map[string]any {
	started := time.Now()
	t.Logf("SIGBOX_KILL_SEED=%d", seed)
	k := &killer{
		server: pgtest.Start(t, "recovery_init_sync_method=syncfs"), witness: newWitness(), replicas: make([]*child, replicas),
		random: rand.New(rand.NewPCG(uint64(seed), uint64(replicas))), kills: make(map[string]int),
	}
	var store *pgstore.Store
	var cfg tlog.Config
	k.orders, store, cfg = newReplicated(t, k.server)
	if replicas == 1 {
		k.orders.Guard, k.orders.GuardDir = "", filepath.Join(t.TempDir(), "guard")
	}
	for i := range k.replicas {
		k.start(t, i)
	}
	var slowest time.Duration
	var turn []string
	for range rounds {
		if len(turn) == 0 {
			turn = slices.Clone(targets)
			k.random.Shuffle(len(turn), func(i, j int) { turn[i], turn[j] = turn[j], turn[i] })
		}
		slowest = max(slowest, k.round(t, turn[0]))
		turn = turn[1:]
	}
	for _, c := range k.replicas {
		c.stop(t)
	}
	k.server.Await(t)
	k.witness.check(t, store, cfg)
	size := checkRows(t, k.server, databaseOf(t, k.orders.URL))
	k.witness.checkNumbers(t)
	w := k.witness
	if !t.Failed() {
		fmt.Printf("kill -9 on PostgreSQL, %d replica(s): %d rounds in %s, killed %v; acknowledged and found: %d of %d (%d of them by a second try); "+
			"%d heads, each a prefix of the last; slowest return to work after a kill %s\n",
			replicas, rounds, time.Since(started).Round(time.Second), k.kills, w.count(), size, w.known, len(w.heads), slowest.Round(time.Millisecond))
	}
	return map[string]any{
		"replicas": replicas, "seconds": time.Since(started).Seconds(), "kills": k.kills, "acknowledged_and_found": w.count(), "found_by_second_try": w.known, "size": size,
		"heads": len(w.heads), "slowest_return_ms": float64(slowest.Microseconds()) / 1000, "failed": t.Failed(),
	}
}

// checkRows counts the rows without a line of ours in between: no index is missing or there twice,
// no entry is there twice, and no search key is missing, of which each of these entries has one. It
// returns the size of the log.
func checkRows(t testing.TB, server *pgtest.Server, database string) (size int64) {
	t.Helper()
	var leaves, indexes, entries, last, keys, keyed int64
	c := server.Connect(t, database)
	err := c.QueryRow(t.Context(), `SELECT h.size, count(*), count(DISTINCT idx), count(DISTINCT data), max(idx), `+
		`(SELECT count(*) FROM tlog.tlog_key), (SELECT count(*) FROM tlog.tlog_key k JOIN tlog.tlog_leaf l USING (log_id, idx) WHERE k.key = substr(l.data, 1, 1)) `+
		`FROM tlog.tlog_head h JOIN tlog.tlog_leaf USING (log_id) GROUP BY h.size`).Scan(&size, &leaves, &indexes, &entries, &last, &keys, &keyed)
	if err != nil {
		t.Fatal(err)
	}
	if leaves != size || indexes != size || entries != size || last != size-1 || keys != size || keyed != size {
		t.Errorf("the head says %d; there are %d leaves with %d indexes up to %d and %d entries, and %d search keys of which %d belong to their leaf",
			size, leaves, indexes, last, entries, keys, keyed)
	}
	return size
}

// checkNumbers makes sure that no worker left an entry behind: what was in its hands when it was
// killed was appended again.
func (w *witness) checkNumbers(t testing.TB) {
	t.Helper()
	all := 0
	for n := range maps.Values(w.next) {
		all += n
	}
	if all != len(w.acks) {
		t.Errorf("%d entries are acknowledged, the workers have come to %d", len(w.acks), all)
	}
}
