package stack

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/sqlstore"
)

// Adopt takes keys and chains of other instances into the trust root of an instance of sigbox up, which signs it
// itself, and has the process that runs show it: see [record.Record.Adopt]. It takes all of them or none, and reports
// which said something new. database is as in Options; d must not be locked.
func Adopt(ctx context.Context, d *instance.Dir, database string, list []record.Key, c clock.Clock) (taken []record.Key, err error) {
	r, err := OpenRotations(ctx, d, database, c)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	err = r.change(ctx, func(rec record.Record) (record.Record, error) {
		rec, taken, err = adoptAll(rec, list, c)
		return rec, err
	})
	if err != nil {
		return nil, err
	}
	if err := journalFile(d).Touch(); err != nil { // again too: one that was killed may not have come so far
		return nil, err
	}
	return taken, r.taken(ctx)
}

func adoptAll(rec record.Record, list []record.Key, c clock.Clock) (_ record.Record, taken []record.Key, err error) {
	for _, k := range list {
		next, changed, err := rec.Adopt(k, c.Now())
		if err != nil {
			return rec, nil, err
		}
		if changed {
			taken = append(taken, next.Keys[len(next.Keys)-1])
		}
		rec = next
	}
	return rec, taken, nil
}

// InstanceTrust returns the record of what an instance of sigbox up has published. d need not be locked.
func InstanceTrust(ctx context.Context, d *instance.Dir) (_ record.Record, err error) {
	if _, err := os.Stat(d.File("sigbox.db")); err != nil { // opening would make it
		return record.Record{}, fmt.Errorf("database: %w", err)
	}
	db, err := sqlite.Open(ctx, d.File("sigbox.db"))
	if err != nil {
		return record.Record{}, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return publishedRecord(ctx, sqlstore.New(db))
}
