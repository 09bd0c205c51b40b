package record

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/statement"
)

// maxPending bounds the statements that wait: a peer gone wild fills no database.
const maxPending = 256

// Inbox is where statements wait for a ceremony. It is safe for concurrent use, as its store is.
type Inbox struct {
	Store    tuf.Inbox
	Instance string // id of the instance, of the configuration
	Operator string // Record.Operator of the first record
}

// Received is a statement that waits.
type Received struct {
	tuf.Message
	Statement statement.Statement
}

// Outcome is what became of an envelope that was brought.
type Outcome struct {
	Statement statement.Statement // the zero Statement where it could not be opened
	New       bool                // it waits now; false where it says nothing new
	Err       error               // the reason of a refusal, or of the store
}

// Current parses the record of a set; that of no set is empty.
func (b Inbox) Current(set tuf.Release) (Record, error) {
	if set.Record == nil {
		if set.Created() {
			return Record{}, fmt.Errorf("%w: targets version %d was published without one, so that nothing can be added to it", ErrRecord, set.Targets.Version)
		}
		return New(b.Instance, b.Operator), nil
	}
	r, err := Parse(set.Record)
	if err == nil && r.Instance != b.Instance {
		err = fmt.Errorf("%w: the repository is that of instance %s, and the configuration says %s", ErrRecord, r.Instance, b.Instance)
	}
	return r, err
}

// Receive opens and judges envelopes that sender brought, and keeps the ones that say something new.
// cur is the record of the current set. The outcomes are in the order of the envelopes; err is a
// failure of the store.
func (b Inbox) Receive(ctx context.Context, cur Record, sender string, envelopes [][]byte, now time.Time) (out []Outcome, err error) {
	with, pending, err := b.Pending(ctx, cur, now)
	if err != nil {
		return nil, err
	}
	for _, raw := range envelopes {
		var o Outcome
		next := with
		if o.Statement, o.Err = statement.Open(raw); o.Err == nil {
			next, o.New, o.Err = with.Take(o.Statement, sender, now)
		}
		if o.New && len(pending) >= maxPending {
			o.New, o.Err = false, fmt.Errorf("%w: %d statements wait already: take them in with sigbox tuf request", ErrRefused, len(pending))
		}
		if o.Err == nil && o.New {
			if err := next.Material().LintParts(); err != nil {
				o.New, o.Err = false, fmt.Errorf("%w: %w", ErrRefused, err)
			}
		}
		if o.Err == nil && o.New {
			m := tuf.Message{Sender: sender, At: now.UTC().Truncate(time.Second), Envelope: raw}
			if o.New, err = b.Store.Receive(ctx, m); err != nil {
				return out, err
			}
			with, pending = next, append(pending, Received{m, o.Statement})
		}
		out = append(out, o)
	}
	return out, nil
}

// Pending returns the statements that say something that cur does not, and cur with all of them. What
// is refused by now is left out: a key that was retired since, for example. So is what is about a key of
// without, ids as of [Key.ID].
func (b Inbox) Pending(ctx context.Context, cur Record, now time.Time, without ...[32]byte) (with Record, pending []Received, err error) {
	messages, err := b.Store.Messages(ctx)
	if err != nil {
		return Record{}, nil, err
	}
	with = cur
	for _, m := range messages {
		s, err := statement.Open(m.Envelope)
		if err != nil {
			return Record{}, nil, fmt.Errorf("the inbox is damaged: statement brought by %s at %s: %w", m.Sender, statement.Stamp(m.At), err)
		}
		if slices.Contains(without, s.KeyID()) {
			continue
		}
		next, changed, err := with.Take(s, m.Sender, now)
		if err != nil || !changed {
			continue
		}
		with, pending = next, append(pending, Received{m, s})
	}
	return with, pending, nil
}
