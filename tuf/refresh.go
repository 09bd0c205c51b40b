package tuf

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Intervals of Run.
const (
	checkEvery = time.Minute
	retryMax   = 30 * time.Minute
)

// Run keeps the repository fresh until ctx ends: it checks at once and then every minute, renews
// what is due and shows what other replicas published. A failure is logged, shown by Health and
// tried again, ever more rarely up to every half hour, while the last set stays served. Run
// returns nil when ctx ends.
func (r *Repository) Run(ctx context.Context) error {
	wait := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		err := r.Refresh(ctx)
		if ctx.Err() != nil {
			return nil
		}
		wait = nextCheck(wait, err)
		r.note(ctx, err, wait)
	}
}

// nextCheck doubles the wait with every failure.
func nextCheck(last time.Duration, err error) time.Duration {
	if err == nil {
		return checkEvery
	}
	return min(max(2*last, checkEvery), retryMax)
}

// note keeps the outcome of a check for Health and logs a failure.
func (r *Repository) note(ctx context.Context, err error, wait time.Duration) {
	now := r.cfg.Clock.Now()
	h := &Health{Err: err, Checked: now}
	if err != nil {
		h.Since = now
		if last := r.health.Load(); last != nil && last.Err != nil {
			h.Since = last.Since
		}
		r.cfg.Log.ErrorContext(ctx, "TUF metadata could not be renewed: what is published stays served until it expires",
			"error", err, "failing_since", h.Since, "next_try_in", wait)
	}
	r.health.Store(h)
}

// renewed returns the set that follows cur at the time now, or cur itself if nothing is due. It
// decides by cur and now alone.
func renewed(cur Release, keys Keys, life Lifetimes, now time.Time) (Release, error) {
	switch {
	case snapshotDue(cur, life, now):
		return withSnapshot(cur, keys, life, now)
	case renewalDue(cur, life, now):
		return withTimestamp(cur, keys, life, now)
	}
	return cur, nil
}

func snapshotDue(cur Release, life Lifetimes, now time.Time) bool {
	return life.due(cur.Snapshot, life.Snapshot, life.RenewSnapshot, now)
}

// renewalDue says whether renewed would sign anything.
func renewalDue(cur Release, life Lifetimes, now time.Time) bool {
	return snapshotDue(cur, life, now) || life.due(cur.Timestamp, life.Timestamp, life.RenewTimestamp, now)
}

// due says whether m is to be signed again: because it will soon expire, or because it claims to
// live longer than it may, as one does that was signed under a clock that ran ahead. What lives until
// Until cannot be made to live longer.
func (l Lifetimes) due(m Metadata, life, renew time.Duration, now time.Time) bool {
	left := remaining(m, now)
	if !l.Until.IsZero() {
		if most := l.Until.UTC().Truncate(time.Second).Sub(now); most <= 0 || left == most {
			return false
		} else if left > most {
			return true
		}
	}
	return left < renew || left > life+slack
}

// remaining is how long m is still valid at the time now; a file that does not say is expired.
func remaining(m Metadata, now time.Time) time.Duration {
	at := expiresIn(m)
	if at.IsZero() {
		return 0
	}
	return at.Sub(now)
}

// expiresIn is the zero time for a file that does not say.
func expiresIn(m Metadata) time.Time {
	var raw struct {
		Signed struct {
			Expires time.Time `json:"expires"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(m.Bytes, &raw); err != nil {
		return time.Time{}
	}
	return raw.Signed.Expires
}

// checkClock refuses to sign when the clock contradicts the last publication: before it, or, with
// a limit, so long after it that the service cannot have been running.
func checkClock(cur Release, now time.Time, maxGap time.Duration) error {
	if !cur.Created() {
		return nil
	}
	last := cur.Timestamp.SignedAt
	if now.Before(last.Add(-slack)) {
		return fmt.Errorf("%w: it says %s, but the timestamp was signed at %s", ErrClock, stamp(now), stamp(last))
	}
	if maxGap > 0 && now.After(last.Add(maxGap)) {
		return fmt.Errorf("%w: it says %s, more than %s after the last timestamp of %s", ErrClock, stamp(now), maxGap, stamp(last))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
