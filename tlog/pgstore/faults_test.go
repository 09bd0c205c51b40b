package pgstore_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
)

// fault is one way in which PostgreSQL, or the way to it, fails a transaction.
type fault struct {
	name    string
	at      string // the point at which it strikes
	strike  func()
	heal    func() // before the next try
	refuses bool   // the database says no for certain, and trying again at once is of no use
	unknown bool   // COMMIT may have got through
}

// sufferer is a log whose tries to commit meet one fault each, of a plan.
type sufferer struct {
	*victim
	proxy *pgtest.Proxy
	other *pgx.Conn // a session of somebody else
	let   chan error

	plan   []fault
	struck int
	cure   func()
}

// newSufferer makes a log whose table of leaves has a trigger that fails as a table says, and whose
// user can be refused connections, which a superuser cannot.
func newSufferer(t testing.TB, server *pgtest.Server) *sufferer {
	s := &sufferer{proxy: server.Proxy(t), let: make(chan error, 1)}
	s.victim = newVictim(t, server, func(database string) string {
		server.Exec(t, database, "CREATE ROLE app LOGIN IN ROLE sigbox_tlog_writer",
			"CREATE TABLE public.trouble AS SELECT '' AS kind", "CREATE TABLE public.bait ()", "GRANT ALL ON public.trouble, public.bait TO PUBLIC",
			`CREATE FUNCTION public.trouble() RETURNS trigger LANGUAGE plpgsql AS $$
				DECLARE k text := (SELECT kind FROM public.trouble);
				BEGIN
					IF k = 'sleep' THEN PERFORM pg_sleep(60);
					ELSIF k = 'lock' THEN LOCK TABLE public.bait;
					ELSIF k <> '' THEN RAISE EXCEPTION 'trouble' USING ERRCODE = k; END IF;
					RETURN NULL;
				END $$`,
			"CREATE TRIGGER trouble AFTER INSERT ON tlog.tlog_leaf FOR EACH STATEMENT EXECUTE FUNCTION public.trouble()")
		return strings.Replace(s.proxy.URL(database), "postgres@", "app@", 1)
	})
	s.store.UseHook(s.hook)
	return s
}

// hook strikes once in every try, as planned, and heals before the next.
func (s *sufferer) hook(point string) error {
	if point == tlog.PointTxBegin && s.cure != nil {
		s.cure()
		s.cure = nil
	}
	if s.struck < len(s.plan) && s.plan[s.struck].at == point {
		f := s.plan[s.struck]
		s.struck++
		s.cure = f.heal
		f.strike()
	}
	return nil
}

func (s *sufferer) faults(t testing.TB) []fault {
	exec := func(q ...string) func() { return func() { s.server.Exec(t, s.name, q...) } }
	trouble := func(kind string) func() { return exec("UPDATE public.trouble SET kind = '" + kind + "'") }
	network := func(request bool, how pgtest.Verdict) func() {
		return func() {
			s.proxy.Set(func(fromClient bool, _ []byte) pgtest.Verdict {
				if fromClient == request {
					return how
				}
				return pgtest.Forward
			})
		}
	}
	mend := func() { s.proxy.Set(nil) }
	none := func() {}
	return []fault{
		{name: "the connection is cut in the transaction", at: tlog.PointLeafInserted, strike: s.proxy.Close, heal: none},
		{name: "COMMIT is lost", at: tlog.PointTxPrecommit, strike: network(true, pgtest.Cut), heal: mend, unknown: true},
		{name: "the answer to COMMIT is lost", at: tlog.PointTxPrecommit, strike: network(false, pgtest.Cut), heal: mend, unknown: true},
		{name: "COMMIT hangs", at: tlog.PointTxPrecommit, strike: network(true, pgtest.Hold), heal: mend, unknown: true},
		{name: "the session is ended before COMMIT", at: tlog.PointTxPrecommit, strike: func() { terminate(t, s.server, s.name) }, heal: none, unknown: true},
		{name: "the backend is killed before COMMIT", at: tlog.PointTxPrecommit, strike: func() { s.server.KillSession(t) }, heal: func() { s.server.Await(t) }, unknown: true},
		{name: "PostgreSQL is killed before COMMIT", at: tlog.PointTxPrecommit, strike: func() { s.server.Kill(t); s.server.Restart(t) }, heal: none, unknown: true},
		{name: "the wait for the standby is cancelled", at: tlog.PointTxBegin, strike: func() { s.cancelWait(t) }, heal: func() { <-s.let; s.server.SetSync(t, "") }, unknown: true},
		{name: "a deadlock", at: tlog.PointTxBegin, strike: func() { trouble("lock")(); s.cross(t) }, heal: func() { trouble("")(); s.uncross(t) }},
		{name: "a serialization failure", at: tlog.PointTxBegin, strike: trouble("40001"), heal: trouble("")},
		{name: "a statement timeout", at: tlog.PointTxBegin, strike: trouble("sleep"), heal: trouble("")},
		{name: "a lock timeout", at: tlog.PointTxBegin, strike: func() { s.hold(t) }, heal: func() { s.uncross(t) }},
		{name: "idle in transaction for too long", at: tlog.PointLeafInserted, strike: func() { awaitEnded(t, s.server, s.name) }, heal: none},
		{name: "too many connections", at: tlog.PointTxBegin, strike: func() { exec("ALTER ROLE app CONNECTION LIMIT 0")(); s.proxy.Close() }, heal: exec("ALTER ROLE app CONNECTION LIMIT -1")},
		{name: "a read-only database", at: tlog.PointTxBegin, refuses: true, strike: func() { readOnly(t, s.server, "on") }, heal: func() { readOnly(t, s.server, "off") }},
		{name: "a full disk", at: tlog.PointTxBegin, refuses: true, strike: trouble("53100"), heal: trouble("")},
	}
}

// readOnly changes what transactions are, in sessions that are open too.
func readOnly(t testing.TB, server *pgtest.Server, value string) {
	t.Helper()
	server.Exec(t, "postgres", "ALTER SYSTEM SET default_transaction_read_only = "+value, "SELECT pg_reload_conf()")
	c := server.Connect(t, "postgres")
	defer c.Close(t.Context())
	for have := ""; have != value; {
		if err := c.QueryRow(t.Context(), "SELECT current_setting('default_transaction_read_only')").Scan(&have); err != nil {
			t.Fatal(err)
		}
	}
}

// hold locks the head; cross locks what the trigger locks, and then, when the log waits for that,
// asks for the head. uncross lets go.
func (s *sufferer) hold(t testing.TB) {
	s.other = s.server.Connect(t, s.name)
	transaction(t, s.other, "SELECT FROM tlog.tlog_head FOR UPDATE")
	s.let <- nil
}

func (s *sufferer) cross(t testing.TB) {
	s.other = s.server.Connect(t, s.name)
	transaction(t, s.other, "SET LOCAL deadlock_timeout = '1h'", "LOCK TABLE public.bait")
	watch := s.server.Connect(t, s.name)
	go func() {
		for waits := false; !waits; {
			err := watch.QueryRow(t.Context(), "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'app'").Scan(&waits)
			if err != nil {
				s.let <- err
				return
			}
		}
		_, err := s.other.Exec(t.Context(), "SELECT FROM tlog.tlog_head FOR UPDATE")
		s.let <- err
	}()
}

func (s *sufferer) uncross(t testing.TB) {
	if err := <-s.let; err != nil {
		t.Errorf("the other session: %v", err)
	}
	exec(t, s.other, "ROLLBACK")
	_ = s.other.Close(t.Context())
}

// cancelWait takes the synchronous standby away and cancels the wait for it.
func (s *sufferer) cancelWait(t testing.TB) {
	s.server.SetSync(t, "nobody")
	go func() {
		defer func() { s.let <- nil }()
		s.server.Exec(t, "postgres", "SELECT pg_cancel_backend("+awaitSync(t, s.server)+")")
	}()
}

// awaitEnded waits until the server has ended a session that is idle in a transaction.
func awaitEnded(t testing.TB, server *pgtest.Server, database string) {
	t.Helper()
	c := server.Connect(t, "postgres")
	defer c.Close(t.Context())
	for n := 1; n > 0; {
		err := c.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND state = 'idle in transaction'", database).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// suffer appends an entry under a plan of faults, again if it is refused, which it must be for
// certain. It is in the log once then, as a new one.
func (s *sufferer) suffer(t testing.TB, plan ...fault) {
	t.Helper()
	s.plan, s.struck = plan, 0
	h := s.head(t)
	entry := logtest.Numbered(s.next)
	s.next++
	var r tlog.Receipt
	for met, refused := 0, true; refused; {
		refused = false
		for unknown := false; met < len(plan) && !refused; met++ {
			unknown = unknown || plan[met].unknown // then nobody takes no for an answer
			refused = plan[met].refuses && !unknown
		}
		var err error
		r, err = s.log.Append(t.Context(), entry)
		if s.cure != nil {
			s.cure()
			s.cure = nil
		}
		var updates []error
		for len(s.errs) > 0 {
			updates = append(updates, <-s.errs)
		}
		if s.struck != met {
			t.Fatalf("%d faults were met, want %d; updates: %v", s.struck, met, updates)
		}
		if refused {
			s.wantRefused(t, entry, err)
		} else if err != nil {
			t.Fatalf("append: %v; updates: %v", err, updates)
		}
	}
	if err := logtest.CheckReceipt(r); err != nil || r.Duplicate || r.Leaf.Index != h.Size {
		t.Errorf("append: index %d, duplicate %v, %v; want a new entry at %d", r.Leaf.Index, r.Duplicate, err, h.Size)
	}
	if now := s.head(t); now.Size != h.Size+1 {
		t.Errorf("the log has size %d, want %d", now.Size, h.Size+1)
	}
}

// head reads the head row, over a new connection if PostgreSQL was killed.
func (s *sufferer) head(t testing.TB) tlog.Head {
	t.Helper()
	for {
		h, err := s.healthy.Head(t.Context())
		if err == nil {
			return h
		}
		if !errors.Is(err, tlog.ErrTransient) {
			t.Fatal(err)
		}
	}
}

func (s *sufferer) wantRefused(t testing.TB, entry logtest.Entry, err error) {
	t.Helper()
	if !errors.Is(err, tlog.ErrUnavailable) || errors.Is(err, tlog.ErrUnknownOutcome) {
		t.Errorf("append: %v, want ErrUnavailable", err)
	}
	s.head(t)
	found, err := s.healthy.Find(t.Context(), [][32]byte{entry.Identity()})
	if err != nil || len(found) > 0 {
		t.Errorf("an entry that was refused is in the log; %v", err)
	}
}

// TestFaults has every fault alone, and followed by a second one during recovery from the first: by
// two of the others, or by each with SIGBOX_ALL_FAULTS.
func TestFaults(t *testing.T) {
	server := pgtest.Start(t, "recovery_init_sync_method=syncfs", "deadlock_timeout=200ms")
	s := newSufferer(t, server)
	all := s.faults(t)
	for i, first := range all {
		t.Run(first.name, func(t *testing.T) {
			all := s.faults(t)
			s.suffer(t, all[i])
			for j := range all {
				if d := (j - i + len(all)) % len(all); d != 0 && d != 7 && os.Getenv("SIGBOX_ALL_FAULTS") == "" {
					continue
				}
				t.Run("and then "+all[j].name, func(t *testing.T) {
					all := s.faults(t)
					s.suffer(t, all[i], all[j])
				})
			}
		})
	}
	s.done(t)
}
