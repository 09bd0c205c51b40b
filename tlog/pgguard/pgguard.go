package pgguard

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
)

const (
	lastSQL = `SELECT size, root FROM guard.guard_mark WHERE origin = $1 FOR UPDATE`
	// A log of size 0 has nothing to lose.
	firstSQL = `INSERT INTO guard.guard_mark AS held (origin, size, root, checkpoint) VALUES ($1, $2, $3, $4) ` +
		`ON CONFLICT (origin) DO UPDATE SET size = EXCLUDED.size, root = EXCLUDED.root, checkpoint = EXCLUDED.checkpoint WHERE held.size = 0`
	moveSQL = `UPDATE guard.guard_mark SET size = $2, root = $3, checkpoint = $4 WHERE origin = $1 AND size = $5 AND root = $6`
)

// Guard is a table of checkpoints. It is safe for concurrent use, by other processes too.
type Guard struct{ db *pg.DB }

// New returns the guard in a database that was opened with the schema "guard".
func New(db *pg.DB) *Guard { return &Guard{db: db} }

// Last implements [tlog.Guard]. It commits: a mark whose commit has not reached the synchronous
// standby is not told before it has.
func (g *Guard) Last(ctx context.Context, origin string) (m tlog.Mark, err error) {
	err = g.db.Update(ctx, func(ctx context.Context, tx *pg.Tx) error {
		m = tlog.Mark{}
		var b pgx.Batch
		b.Queue(lastSQL, origin).Query(func(rows pgx.Rows) error {
			var root []byte
			_, err := pgx.ForEachRow(rows, []any{&m.Size, &root}, func() error {
				if copy(m.Root[:], root) != len(m.Root) {
					return fmt.Errorf("a root of %d bytes", len(root))
				}
				return nil
			})
			return err
		})
		return tx.Once(ctx, &b)
	})
	if err != nil {
		return tlog.Mark{}, fmt.Errorf("guard of %q: %w", origin, err)
	}
	return m, nil
}

// Advance implements [tlog.Guard].
func (g *Guard) Advance(ctx context.Context, from tlog.Mark, to checkpoint.Signed, consistency [][]byte) error {
	if to.Size < from.Size {
		return fmt.Errorf("guard of %q: asked to go back from size %d to %d", to.Origin, from.Size, to.Size)
	}
	var b pgx.Batch
	var moved int64
	count := func(tag pgconn.CommandTag) error { moved = tag.RowsAffected(); return nil }
	if from.Size == 0 {
		b.Queue(firstSQL, to.Origin, to.Size, to.Root[:], to.Note).Exec(count)
	} else {
		err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(from.Size), uint64(to.Size), consistency, from.Root[:], to.Root[:])
		if err != nil {
			return fmt.Errorf("guard of %q: from size %d to %d: %w", to.Origin, from.Size, to.Size, err)
		}
		if from.Size == to.Size {
			return g.holds(ctx, from, to.Origin)
		}
		b.Queue(moveSQL, to.Origin, to.Size, to.Root[:], to.Note, from.Size, from.Root[:]).Exec(count)
	}
	err := g.db.Update(ctx, func(ctx context.Context, tx *pg.Tx) error { return tx.Once(ctx, &b) })
	if err != nil {
		return fmt.Errorf("guard of %q: move from size %d to %d: %w", to.Origin, from.Size, to.Size, err)
	}
	if moved != 1 {
		return fmt.Errorf("guard of %q: %w: it is not at size %d", to.Origin, tlog.ErrGuardMoved, from.Size)
	}
	return nil
}

func (g *Guard) holds(ctx context.Context, want tlog.Mark, origin string) error {
	have, err := g.Last(ctx, origin)
	if err == nil && have != want {
		err = fmt.Errorf("guard of %q: %w: it is at size %d, not %d", origin, tlog.ErrGuardMoved, have.Size, want.Size)
	}
	return err
}
