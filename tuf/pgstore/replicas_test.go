package pgstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tuf"
)

// TestReplicas has three processes renew and publish at the same moments. Each renewal is one new
// timestamp, each publication one new set, and each replica shows the newest.
func TestReplicas(t *testing.T) {
	server := pgtest.Shared(t)
	name := newDatabase(t, server)
	o, cfg := newReplicated(t, server.URL(name))
	done := watch(t, cfg)
	replicas := []*child{startChild(t, o), startChild(t, o), startChild(t, o)}
	now, timestamp := cfg.Clock.Now(), 1
	for range 20 { // more than the 15 days after which the snapshot is renewed too
		now, timestamp = now.Add(25*time.Hour), timestamp+1
		for _, c := range replicas {
			c.tell(t, "refresh %d", now.Unix())
		}
		for _, c := range replicas {
			c.want(t, fmt.Sprint("done ", timestamp))
		}
	}
	for i := range 5 {
		replicas[0].tell(t, "publish %d a%d", now.Unix(), i)
		replicas[1].tell(t, "publish %d b%d", now.Unix(), i)
		timestamp += 2
		<-replicas[0].said
		<-replicas[1].said
		replicas[2].tell(t, "refresh %d", now.Unix())
		replicas[2].want(t, fmt.Sprint("done ", timestamp))
	}
	done()
	follow(t, server.Connect(t, name), int64(timestamp), now)
}

// TestDeadReplica kills a process that holds the lock in the middle of a signature. The other one
// does not wait for it.
func TestDeadReplica(t *testing.T) {
	server := pgtest.Shared(t)
	name := newDatabase(t, server)
	o, cfg := newReplicated(t, server.URL(name))
	o.Lock = time.Minute // no timeout frees the lock
	dead, other := startChild(t, o), startChild(t, o)
	now := cfg.Clock.Now()
	for round := range 3 {
		now = now.Add(25 * time.Hour)
		dead.tell(t, "hold")
		dead.tell(t, "refresh %d", now.Unix())
		dead.want(t, "holding")
		other.tell(t, "refresh %d", now.Unix())
		lockWaited(t, server, name)
		dead.kill()
		other.want(t, fmt.Sprint("done ", round+2))
		dead = startChild(t, o)
	}
	follow(t, server.Connect(t, name), 4, now)
}

// TestStoppedReplica stops a process that holds the lock, and goes on with another one. The stopped
// one wakes up later, finds its session gone and nothing left to renew.
func TestStoppedReplica(t *testing.T) {
	server := pgtest.Shared(t)
	name := newDatabase(t, server)
	o, cfg := newReplicated(t, server.URL(name))
	stopped, other := startChild(t, o), startChild(t, o)
	now := cfg.Clock.Now().Add(25 * time.Hour)
	stopped.tell(t, "hold")
	stopped.tell(t, "refresh %d", now.Unix())
	stopped.want(t, "holding")
	stopped.signal(t, syscall.SIGSTOP)
	other.tell(t, "refresh %d", now.Unix())
	other.want(t, "done 2")
	stopped.signal(t, syscall.SIGCONT)
	stopped.tell(t, "go on")
	stopped.want(t, "done 2")
	follow(t, server.Connect(t, name), 2, now)
}

// lockWaited waits until a session waits for the lock.
func lockWaited(t testing.TB, server *pgtest.Server, database string) {
	t.Helper()
	c := server.Connect(t, database)
	deadline := time.Now().Add(time.Minute)
	for waits := false; !waits; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody waits for the lock")
		}
		err := c.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')").Scan(&waits)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestKill ends processes with SIGKILL at random moments while they publish: a replica, one session
// of PostgreSQL (which takes all of them along), or PostgreSQL itself. What was acknowledged is
// there. SIGBOX_KILL_ROUNDS sets the number of rounds; SIGBOX_KILL_SEED repeats their order.
func TestKill(t *testing.T) {
	rounds, seed := number("SIGBOX_KILL_ROUNDS", 8), number("SIGBOX_KILL_SEED", time.Now().UnixNano())
	t.Logf("SIGBOX_KILL_SEED=%d", seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	server := pgtest.Start(t)
	name := newDatabase(t, server)
	o, cfg := newReplicated(t, server.URL(name))
	var acked []string
	await := func(c *child) {
		t.Helper()
		select {
		case line := <-c.said:
			acked = append(acked, strings.TrimPrefix(line, "published "))
		case <-time.After(time.Minute):
			t.Fatal("nothing is published within a minute")
		}
	}
	drain := func(c *child) {
		for line := range c.said {
			acked = append(acked, strings.TrimPrefix(line, "published "))
		}
	}
	var replicas [3]*child
	start := func(i int, round int64) {
		replicas[i] = startChild(t, o)
		replicas[i].tell(t, "work %d replica%d.round%d", cfg.Clock.Now().Unix(), i, round)
	}
	for i := range replicas {
		start(i, 0)
	}
	kills := make(map[string]int)
	for round := int64(1); round <= rounds; round++ {
		for range 1 + random.IntN(5) {
			await(replicas[random.IntN(3)])
		}
		time.Sleep(time.Duration(random.IntN(20_000)) * time.Microsecond)
		switch random.IntN(3) {
		case 0:
			i := random.IntN(3)
			replicas[i].kill()
			drain(replicas[i])
			start(i, round)
			kills["replica"]++
		case 1:
			server.KillSession(t)
			up(t, server)
			kills["session"]++
		case 2:
			server.Kill(t)
			server.Restart(t)
			kills["PostgreSQL"]++
		}
	}
	for _, c := range replicas {
		await(c)
		c.kill()
		drain(c)
	}
	contents := follow(t, server.Connect(t, name), 0, cfg.Clock.Now())
	for _, content := range acked {
		if !contents[content] {
			t.Errorf("%s was acknowledged and never was in a set", content)
		}
	}
	t.Logf("%d rounds, killed %v; %d publications acknowledged of %d that were ever visible", rounds, kills, len(acked), len(contents)-2)
}

// up waits until the server has recovered.
func up(t testing.TB, server *pgtest.Server) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		c, err := pgx.Connect(t.Context(), server.URL("postgres"))
		if err == nil {
			_ = c.Close(t.Context())
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func number(variable string, otherwise int64) int64 {
	if n, err := strconv.ParseInt(os.Getenv(variable), 10, 64); err == nil {
		return n
	}
	return otherwise
}

// watch reads the repository all the time, until done is called: every reading must be whole.
func watch(t testing.TB, cfg tuf.Config) (done func()) {
	stop, ended := make(chan bool), make(chan int)
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				ended <- n
				return
			case <-time.After(5 * time.Millisecond):
			}
			if err := tuf.New(cfg).Open(context.Background()); err != nil {
				t.Errorf("a reader: %v", err)
			}
		}
	}()
	return func() {
		close(stop)
		t.Logf("%d readings, each whole", <-ended)
	}
}

// follow is a client that goes from each set that was ever visible to the next, by the database's
// rows, and a new client at each: every timestamp is one, from 1 to the current one, which must be
// want if that is not 0. It returns every content that a set ever had.
func follow(t testing.TB, c *pgx.Conn, want int64, now time.Time) map[string]bool {
	t.Helper()
	get := func(role string, version int64) []byte {
		var b []byte
		if err := c.QueryRow(t.Context(), "SELECT bytes FROM tuf.tuf_metadata WHERE role = $1 AND version = $2", role, version).Scan(&b); err != nil {
			t.Fatalf("%s version %d: %v", role, version, err)
		}
		return b
	}
	var v tuf.Versions
	var rows int64
	if err := c.QueryRow(t.Context(), "SELECT root, targets, snapshot, timestamp, (SELECT count(*) FROM tuf.tuf_metadata) FROM tuf.tuf_current").
		Scan(&v.Root, &v.Targets, &v.Snapshot, &v.Timestamp, &rows); err != nil {
		t.Fatal(err)
	}
	if want != 0 && v.Timestamp != want {
		t.Errorf("timestamp version %d, want %d", v.Timestamp, want)
	}
	if rows != v.Root+v.Targets+v.Snapshot+v.Timestamp {
		t.Errorf("%d files of %+v: some were written that never were visible", rows, v)
	}
	contents := make(map[string]bool)
	root := get(tuf.Root, 1)
	var held *trustedmetadata.TrustedMetadata
	for n := int64(1); n <= v.Timestamp; n++ {
		fresh, err := trustedmetadata.New(root)
		if err != nil {
			t.Fatal(err)
		}
		fresh.RefTime = now.AddDate(-1, 0, 0) // what has expired since was visible once
		if err := step(fresh, nil, get, n); err != nil {
			t.Fatalf("a new client at timestamp version %d: %v", n, err)
		}
		if held == nil {
			held = fresh
		} else if held, err = restarted(root, held, get, n); err != nil {
			t.Fatalf("a client at timestamp version %d: %v", n, err)
		}
		for name, target := range held.Targets[tuf.Targets].Signed.Targets {
			var content []byte
			if err := c.QueryRow(t.Context(), "SELECT content FROM tuf.tuf_content WHERE name = $1 AND sha256 = $2", name, []byte(target.Hashes["sha256"])).Scan(&content); err != nil {
				t.Fatalf("target %s at timestamp version %d: %v", name, n, err)
			}
			contents[string(content)] = true
		}
	}
	return contents
}

// restarted is a client that starts again with the files it has kept, and updates.
func restarted(root []byte, kept *trustedmetadata.TrustedMetadata, get func(string, int64) []byte, n int64) (*trustedmetadata.TrustedMetadata, error) {
	timestamp, err := kept.Timestamp.ToBytes(false)
	if err != nil {
		return nil, err
	}
	snapshot, err := kept.Snapshot.ToBytes(false)
	if err != nil {
		return nil, err
	}
	tm, err := trustedmetadata.New(root)
	if err != nil {
		return nil, err
	}
	tm.RefTime = kept.RefTime
	if _, err := tm.UpdateTimestamp(timestamp); err != nil {
		return nil, fmt.Errorf("the timestamp it has kept: %w", err)
	}
	return tm, step(tm, snapshot, get, n)
}

// step updates a client to a timestamp and what follows from it.
func step(tm *trustedmetadata.TrustedMetadata, snapshot []byte, get func(string, int64) []byte, n int64) error {
	if _, err := tm.UpdateTimestamp(get(tuf.Timestamp, n)); err != nil {
		return err
	}
	if snapshot != nil {
		if _, err := tm.UpdateSnapshot(snapshot, true); err != nil && !errors.Is(err, &metadata.ErrRepository{}) {
			return fmt.Errorf("the snapshot it has kept: %w", err)
		}
	}
	if _, err := tm.UpdateSnapshot(get(tuf.Snapshot, tm.Timestamp.Signed.Meta["snapshot.json"].Version), false); err != nil {
		return err
	}
	targets := get(tuf.Targets, tm.Snapshot.Signed.Meta["targets.json"].Version)
	if _, err := tm.UpdateTargets(targets); err != nil {
		return err
	}
	if !bytes.Contains(targets, []byte(`"a"`)) {
		return errors.New("a target is missing")
	}
	return nil
}
