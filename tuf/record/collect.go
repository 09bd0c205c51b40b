package record

import (
	"time"

	"github.com/sigbox/sigbox/tuf/statement"
)

// Collect takes envelopes that a person has at hand (files, say) into a record, and
// returns those that said something new. The first that is refused ends it.
func (r Record) Collect(envelopes [][]byte, now time.Time) (next Record, taken [][]byte, err error) {
	next = r
	for _, raw := range envelopes {
		s, err := statement.Open(raw)
		if err != nil {
			return r, nil, err
		}
		with, changed, err := next.Take(s, File, now)
		if err != nil {
			return r, nil, err
		}
		if changed {
			next, taken = with, append(taken, raw)
		}
	}
	return next, taken, nil
}

// State takes in what a holder of all keys says about one of them, signed or not: where it says
// something new, it is said now, or as soon after the last word about the key as can be told apart.
func (r Record) State(s statement.Statement, now time.Time) (Record, error) {
	s.Made = now.UTC().Truncate(time.Second)
	if i := r.find(s.Role, s.KeyID()); i >= 0 {
		if said := r.Keys[i]; said.statement(r.Instance).Same(s) {
			return r, nil
		} else if !s.Made.After(said.Stated) {
			s.Made = said.Stated.Add(time.Second)
			now = s.Made
		}
	}
	next, _, err := r.Take(s, File, now)
	return next, err
}
