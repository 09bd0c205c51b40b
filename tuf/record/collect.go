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
