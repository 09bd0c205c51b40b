package pg

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Tx is a transaction of [DB.Update]. It is for one goroutine.
type Tx struct {
	db        *DB
	conn      *pgxpool.Conn
	begun     bool
	committed bool
}

// beginSettings are what a transaction of ours relies on, whatever the server, the database or the
// role is set to. remote_apply is stronger than on, and stays.
func beginSettings(cfg Config) string {
	return fmt.Sprintf(`SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true), `+
		`set_config('lock_timeout', '%s', true), set_config('statement_timeout', '%s', true), set_config('idle_in_transaction_session_timeout', '%s', true)`,
		milliseconds(cfg.LockTimeout), milliseconds(cfg.StatementTimeout), milliseconds(cfg.IdleTimeout))
}

// Update runs f on a writing connection. f sends a first batch with [Tx.Begin], which begins the
// transaction, and ends it with [Tx.Commit]; if it does not, everything is rolled back. ctx counts
// until f is called with a context of its own, which no caller can cancel.
//
// If f could not get a lock in time, Update ends sessions of ours, of this role and database, that
// have waited in a transaction for their own process for longer than the idle timeout: it stalled,
// and the server ends it only if it stalled between two commands.
func (d *DB) Update(ctx context.Context, f func(context.Context, *Tx) error) error {
	conn, err := d.write.Acquire(ctx)
	if err != nil {
		return Fault("connect to the database", err)
	}
	tx := &Tx{db: d, conn: conn}
	defer conn.Release()
	// Every statement has its timeout on the server. This one is for a server that is gone.
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.cfg.LockTimeout+2*d.cfg.StatementTimeout+d.cfg.IdleTimeout)
	defer cancel()
	err = f(work, tx)
	if err == nil && !tx.committed {
		err = errors.New("a transaction was neither committed nor refused")
	}
	if err == nil {
		return nil
	}
	tx.rollback(ctx)
	if tx.Conn().IsClosed() || stale(Code(err)) {
		d.write.Reset() // the other connections are as old as this one
	}
	if Code(err) == lockNotAvailable {
		err = errors.Join(err, d.endStalled(context.WithoutCancel(ctx)))
	}
	return err
}

// Conn returns the connection, for queries inside of the transaction.
func (t *Tx) Conn() *pgx.Conn { return t.conn.Conn() }

// Begin begins the transaction with a batch of statements: one round trip for all.
func (t *Tx) Begin(ctx context.Context, b *pgx.Batch) error {
	return t.Send(ctx, t.begin(b))
}

func (t *Tx) begin(b *pgx.Batch) *pgx.Batch {
	t.begun = true
	begin := &pgx.Batch{}
	begin.Queue("BEGIN ISOLATION LEVEL READ COMMITTED")
	begin.Queue(t.db.begin)
	begin.QueuedQueries = append(begin.QueuedQueries, b.QueuedQueries...)
	return begin
}

// Once runs a whole transaction in one round trip. A statement that must not be committed has to
// fail in the server.
func (t *Tx) Once(ctx context.Context, b *pgx.Batch) error {
	return t.Commit(ctx, t.begin(b))
}

// Send runs a batch of statements in one round trip.
func (t *Tx) Send(ctx context.Context, b *pgx.Batch) error {
	return Fault("transaction", t.Conn().SendBatch(ctx, b).Close())
}

// Commit runs a last batch of statements and COMMIT, in one round trip. A statement that must not
// be committed has to fail in the server: when its result is known here, COMMIT is on its way.
func (t *Tx) Commit(ctx context.Context, b *pgx.Batch) error {
	c := t.Conn().PgConn()
	delete(c.CustomData(), lastWarning)
	var sent bool
	var tag pgconn.CommandTag
	var err error
	last := &pgx.Batch{QueuedQueries: b.QueuedQueries[:len(b.QueuedQueries):len(b.QueuedQueries)]}
	// The statement before COMMIT is the last that the server can refuse for certain.
	last.Queue("COMMIT").Fn = func(br pgx.BatchResults) error {
		sent = true
		tag, err = br.Exec()
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.db.cfg.CommitTimeout)
	defer cancel()
	err = t.Conn().SendBatch(ctx, last).Close()
	warning, _ := c.CustomData()[lastWarning].(*pgconn.PgError)
	switch {
	case err == nil && warning != nil:
		return fmt.Errorf("%w: COMMIT was answered with a warning: %w", ErrUnknownOutcome, warning)
	case err == nil && tag.String() != "COMMIT":
		return fmt.Errorf("COMMIT was answered with %s: the transaction had failed before", tag)
	case err == nil:
		t.committed = true
		return nil
	case refused(err, sent):
		return Fault("commit", err)
	}
	return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
}

// rollback ends a transaction that is not committed. Where it cannot, the connection is closed,
// which comes to the same.
func (t *Tx) rollback(ctx context.Context) {
	c := t.Conn()
	if !t.begun || c.IsClosed() || c.PgConn().TxStatus() == 'I' {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.db.cfg.IdleTimeout)
	defer cancel()
	if _, err := c.Exec(ctx, "ROLLBACK"); err != nil {
		_ = c.Close(ctx)
	}
}

// endStalled ends our writing sessions whose transaction has waited for too long for its process to
// send or to read. No timeout of the server ends one that stalled inside of COPY or of a pipeline,
// and a process that is stopped keeps its connection alive for ever.
func (d *DB) endStalled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.StatementTimeout)
	defer cancel()
	return pgx.BeginFunc(ctx, d.read, func(tx pgx.Tx) error {
		// A session may be looked at, and ended, by the user who logged in for it.
		if _, err := tx.Exec(ctx, "SET LOCAL ROLE NONE"); err != nil {
			return fmt.Errorf("look for stalled sessions: %w", err)
		}
		// The first part must be done before the second: a condition may be evaluated in any order.
		rows, err := tx.Query(ctx, `WITH stalled AS MATERIALIZED (SELECT pid, extract(epoch FROM clock_timestamp() - state_change)::float8 AS age FROM pg_stat_activity `+
			`WHERE datname = current_database() AND usename = session_user AND application_name = $1 AND xact_start IS NOT NULL `+
			`AND wait_event IN ('ClientRead', 'ClientWrite') AND state_change < clock_timestamp() - $2 * interval '1 ms') `+
			`SELECT pid, age FROM stalled WHERE pg_terminate_backend(pid)`, application, d.cfg.IdleTimeout.Milliseconds())
		if err != nil {
			return fmt.Errorf("end stalled sessions: %w", err)
		}
		var pid int32
		var age float64
		_, err = pgx.ForEachRow(rows, []any{&pid, &age}, func() error {
			d.cfg.Logger.WarnContext(ctx, "ended a stalled writer, which may have held a lock", "backend", pid, "seconds", age)
			return nil
		})
		if err != nil {
			return fmt.Errorf("end stalled sessions: %w", err)
		}
		return nil
	})
}
