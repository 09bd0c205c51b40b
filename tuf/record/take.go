package record

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sigbox/sigbox/tuf/statement"
)

// File is the sender of a statement that a person carried; the others are services.
const File = "file"

// slack is how far the clocks of services may differ.
const slack = 5 * time.Minute

// Take takes a statement in, which Open of package statement has verified, and returns the record
// that follows. sender is the service whose connection it came over, or File. changed is false where
// the record says all of it already. A refusal wraps ErrRefused and says the reason.
//
// What a statement may change of a key that is there: its URL, the issuers of a CA, and the origin of
// a Rekor v1 log, whose shards share a key.
func (r Record) Take(s statement.Statement, sender string, now time.Time) (next Record, changed bool, err error) {
	if err := r.refuse(s, sender, now); err != nil {
		id := s.KeyID()
		return r, false, fmt.Errorf("%w: %s, key %x: %w", ErrRefused, s.Role, id[:8], err)
	}
	next = r.clone()
	i := r.find(s.Role, s.KeyID())
	if i >= 0 && r.Keys[i].statement(r.Instance).Same(s) {
		return r, false, nil
	}
	if i < 0 {
		next.Keys = append(next.Keys, Key{Role: s.Role, Public: s.Key, Chain: s.Chain, Start: s.ValidFrom})
		i = len(next.Keys) - 1
	}
	k := &next.Keys[i]
	before := k.Issuers
	k.URL, k.Origin, k.Issuers, k.Stated = s.URL, s.Origin, s.Issuers, s.Made
	if s.Role == statement.CA {
		start := s.Made.Add(-time.Hour) // for clients whose clocks are behind
		if len(r.Issuers) == 0 {
			start = s.ValidFrom
		}
		next.openIssuers(s.Issuers, start)
		next.closeIssuers(before, s.Made)
	}
	return next, true, nil
}

// refuse is the table of refusals.
func (r Record) refuse(s statement.Statement, sender string, now time.Time) error {
	if s.Instance != r.Instance {
		return fmt.Errorf("it is about instance %s, and this is instance %s", s.Instance, r.Instance)
	}
	if sender != File && sender != s.Role.Service() {
		return fmt.Errorf("%q brought it, and %s is a role of %q", sender, s.Role, s.Role.Service())
	}
	if s.Made.After(now.Add(slack)) {
		return fmt.Errorf("it was made at %s, which is in the future: the clock of whoever made it, or of this machine, is wrong", statement.Stamp(s.Made))
	}
	if err := r.otherRole(s); err != nil {
		return err
	}
	if err := r.otherKey(s); err != nil {
		return err
	}
	i := r.find(s.Role, s.KeyID())
	if i < 0 {
		return checkStart(s)
	}
	return r.Keys[i].refuse(s)
}

// refuse holds a statement against what is known of its key.
func (k Key) refuse(s statement.Statement) error {
	switch {
	case k.Adopted:
		return errors.New("the key was adopted: it verifies what another instance signed, and signs nothing here")
	case !k.End.IsZero():
		return fmt.Errorf("the key was retired at %s, and a retired key does not come back: make a new one", statement.Stamp(k.End))
	case s.Made.Before(k.Stated):
		return fmt.Errorf("it was made at %s, and one of %s is here: an older statement undoes no newer one", statement.Stamp(s.Made), statement.Stamp(k.Stated))
	case s.Made.Equal(k.Stated) && !k.statement(s.Instance).Same(s):
		return fmt.Errorf("another one that was made at the same time, %s, says something else", statement.Stamp(s.Made))
	case !sameChain(k.Chain, s.Chain):
		return fmt.Errorf("the key is here with another chain: a new certificate needs a new key, since the old chain stays for old signatures")
	case !k.Start.Equal(s.ValidFrom):
		return fmt.Errorf("the key is valid from %s, and the statement says %s: that does not change", statement.Stamp(k.Start), statement.Stamp(s.ValidFrom))
	case k.Origin != s.Origin && s.Role != statement.RekorV1:
		return fmt.Errorf("the key's log has the origin %q, and the statement says %q: a log keeps its origin", k.Origin, s.Origin)
	}
	return nil
}

// otherRole: a signature made in one role must mean nothing in another. A CA and a TSA may stand below
// the same authorities of a company's PKI, which sign for neither.
func (r Record) otherRole(s statement.Statement) error {
	mine := Key{Role: s.Role, Public: s.Key, Chain: s.Chain}.ids()
	for _, k := range r.Keys {
		if k.Role == s.Role {
			continue
		}
		theirs := k.ids()
		for _, id := range theirs {
			if id == mine[0] || id == theirs[0] && slices.Contains(mine, id) {
				return fmt.Errorf("key %x is that of %s already: every role has a key of its own", id[:8], k.Role)
			}
		}
	}
	return nil
}

// otherKey: an origin belongs to one key for ever.
func (r Record) otherKey(s statement.Statement) error {
	if !s.Role.Log() {
		return nil
	}
	for _, k := range r.Keys {
		if k.Role.Log() && strings.EqualFold(k.Origin, s.Origin) && (k.Role != s.Role || k.ID() != s.KeyID()) {
			return fmt.Errorf("the origin %q belongs to another key, %x of %s: what the two sign would contradict each other", s.Origin, idOf(k), k.Role)
		}
	}
	return nil
}

// checkStart: a chain cannot be believed before its first certificate is valid.
func checkStart(s statement.Statement) error {
	if len(s.Chain) > 0 && s.ValidFrom.Before(s.Chain[0].NotBefore) {
		return fmt.Errorf("it is to be valid from %s, and its certificate only is from %s", statement.Stamp(s.ValidFrom), statement.Stamp(s.Chain[0].NotBefore))
	}
	return nil
}
