package stack

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/sigbox/sigbox/expiry"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/ceremony"
	"github.com/sigbox/sigbox/tuf/foreign"
	"github.com/sigbox/sigbox/tuf/record"
)

// Record is that of the current set of the instance.
func (r *Rotations) Record(ctx context.Context) (record.Record, error) {
	_, cur, _, err := r.repository(ctx)
	if err != nil {
		return record.Record{}, err
	}
	return instanceRecord(cur, r.dir.Info)
}

// Change publishes the record that f makes of the current one, and reports whether it is another.
func (r *Rotations) Change(ctx context.Context, f func(record.Record) (record.Record, error)) (changed bool, err error) {
	err = r.change(ctx, func(rec record.Record) (record.Record, error) {
		before, err := rec.Encode()
		if err != nil {
			return rec, err
		}
		next, err := f(rec)
		if err != nil {
			return rec, err
		}
		after, err := next.Encode()
		changed = !bytes.Equal(before, after)
		return next, err
	})
	return changed, err
}

// RequestChange makes the request for the set with the record that f makes of the current one. What waits in the
// inbox goes on waiting.
func (t *TUFRepo) RequestChange(ctx context.Context, goodFor time.Duration, f func(record.Record) (record.Record, error)) (*ceremony.Request, error) {
	cur, rec, err := t.Current(ctx)
	if err != nil {
		return nil, err
	}
	if !cur.Created() {
		return nil, fmt.Errorf("there is no set yet: sigbox tuf init makes the request for the first")
	}
	if rec, err = f(rec); err != nil {
		return nil, err
	}
	return ceremony.New(ceremony.Options{
		Instance: t.Inbox.Instance, Current: cur, Record: rec, Lifetimes: tuf.Production(), GoodFor: goodFor, Now: t.clock.Now(),
	})
}

// foreignItems are the trust roots of others that are served, by what a published set says of them.
func foreignItems(p *tuf.Published, mend func(foreign.Entry) []string) (items []expiry.Item) {
	f, ok := p.Target(foreign.IndexName)
	if !ok {
		return nil
	}
	ix, err := foreign.ReadIndex(f.Bytes)
	if err != nil {
		return nil // of a newer sigbox: what it says is not known here
	}
	for _, e := range ix.Roots {
		item := expiry.Item{
			What: "foreign root", Detail: e.Name, At: e.ExpiresAt(), Mend: mend(e),
			Breaks: "nobody vouches any more that its trust root is the current one: clients that ask for " + e.Path + " go on with what was taken",
		}
		if taken, err := time.Parse(time.RFC3339, e.Taken); err == nil {
			item.Life = item.At.Sub(taken)
		}
		items = append(items, item)
	}
	return items
}

// refresh is how a foreign root is renewed; where names the instance, for example "--data ./sigbox-data".
func refresh(e foreign.Entry, where string) string {
	from := ""
	switch {
	case e.Targets == 0:
		from = " --file NEWER.json"
	case e.Repository == "":
		from = " --repository COPY"
	}
	return fmt.Sprintf("sigbox trust refresh %s%s %s", e.Name, from, where)
}

// foreign is how a foreign root of a configuration is renewed.
func (m mends) foreign(e foreign.Entry) []string {
	out := e.Name + ".json"
	return append([]string{refresh(e, fmt.Sprintf("--out %s --config %s", out, m.file))}, m.ceremony(out)...)
}
