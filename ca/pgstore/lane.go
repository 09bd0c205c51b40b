package pgstore

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/internal/pg"
)

// errAgain says that the transaction of a row has failed, or may have: it has to be written by itself.
var errAgain = errors.New("not known to be written")

// record is an intent or an outcome.
type record struct {
	intent  *intent
	outcome *outcome
}

// lane writes intents and outcomes together, and tries once: half as many transactions as one for each
// kind. Its errors: errBusy, errAgain, and that of a row that is there already.
type lane struct {
	turns[record]
	db *pg.DB
}

func newLane(db *pg.DB) *lane {
	l := &lane{db: db}
	l.turns.write = l.write
	return l
}

func (l *lane) write(batch []*row[record]) {
	var intents []intent
	var outcomes []outcome
	intended, settled := make(map[serial]bool, len(batch)), make(map[serial]bool, len(batch))
	for _, r := range batch {
		switch i, o := r.value.intent, r.value.outcome; {
		case i != nil && !intended[i.serial]:
			intents, intended[i.serial], r.err = append(intents, *i), true, errAgain
		case i != nil:
			r.err = ca.ErrSerialUsed
		case !settled[o.serial]:
			outcomes, settled[o.serial], r.err = append(outcomes, *o), true, errAgain
		default:
			r.err = errSettled
		}
	}
	clear(intended)
	clear(settled)
	var b pgx.Batch
	if len(intents) > 0 {
		queueIntents(&b, intents, false, intended)
	}
	if len(outcomes) > 0 {
		queueOutcomes(&b, outcomes, false, settled)
	}
	if l.db.Update(context.Background(), func(ctx context.Context, tx *pg.Tx) error { return tx.Once(ctx, &b) }) != nil {
		return // those who wait ask again, and hear of it if that fails too
	}
	for _, r := range batch {
		i, o := r.value.intent, r.value.outcome
		switch {
		case r.err != errAgain:
		case i != nil && !intended[i.serial]:
			r.err = ca.ErrSerialUsed
		case i == nil && !settled[o.serial]:
			r.err = errSettled
		default:
			r.err = nil
		}
	}
}
