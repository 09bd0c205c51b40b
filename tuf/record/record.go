package record

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/foreign"
	"github.com/sigbox/sigbox/tuf/statement"
	"github.com/sigbox/sigbox/tuf/trustroot"
)

// Errors of the package: what is refused wraps one of them and says the reason.
var (
	ErrRefused = errors.New("trust statement refused")
	ErrRecord  = errors.New("record of trust material")
)

// Key is one key or chain of the trust root.
type Key struct {
	Role   statement.Role
	URL    string
	Origin string              // of a log
	Public crypto.PublicKey    // of a log
	Chain  []*x509.Certificate // of a CA or TSA, as in statement.Statement

	Issuers []string // that a CA names

	Start time.Time
	End   time.Time // zero while the key is in use
	// Stated is when the newest statement about it was made, or when it was adopted.
	Stated time.Time
	// Adopted says that it is of another instance, and only verifies: see [Record.Adopt].
	Adopted bool
}

// Issuer is an OpenID Connect issuer that clients may ask for a token.
type Issuer struct {
	URL        string
	Start, End time.Time // a zero End: still
}

// Record is everything that the trust root of one instance is composed of. Methods that change it
// return a new one.
type Record struct {
	Instance string // id of the instance
	Operator string // who runs it, for example its host name
	Keys     []Key  // in the order in which they were taken in
	Issuers  []Issuer
	Foreign  []foreign.Root // served beside ours, by name
}

// New returns the record of an instance before its first statement.
func New(instance, operator string) Record { return Record{Instance: instance, Operator: operator} }

// statement returns what the newest statement about the key says.
func (k Key) statement(instance string) statement.Statement {
	return statement.Statement{
		Instance: instance, Role: k.Role, URL: k.URL, Origin: k.Origin, Key: k.Public, Chain: k.Chain, Issuers: k.Issuers,
		ValidFrom: k.Start, Made: k.Stated,
	}
}

// ID is SHA-256 of the key's SPKI; of a chain, of the first certificate's.
func (k Key) ID() [32]byte { return k.statement("").KeyID() }

// ids are those of all keys in it, the first one's first.
func (k Key) ids() (list [][32]byte) {
	if k.Chain == nil {
		return [][32]byte{k.ID()}
	}
	for _, c := range k.Chain {
		list = append(list, sha256.Sum256(c.RawSubjectPublicKeyInfo))
	}
	return list
}

// find returns the index of a key among those of a role, -1 if it is not there.
func (r Record) find(role statement.Role, id [32]byte) int {
	return slices.IndexFunc(r.Keys, func(k Key) bool { return k.Role == role && k.ID() == id })
}

// Find returns the key of a role and an id (of [Key.ID]), nil if it is not there.
func (r Record) Find(role statement.Role, id [32]byte) *Key {
	i := r.find(role, id)
	if i < 0 {
		return nil
	}
	k := r.Keys[i]
	return &k
}

// clone returns a copy whose lists can be changed.
func (r Record) clone() Record {
	r.Keys, r.Issuers, r.Foreign = slices.Clone(r.Keys), slices.Clone(r.Issuers), slices.Clone(r.Foreign)
	return r
}

// Retire gives a key an end: signatures made before it verify for ever, later ones never. id is that
// of [Key.ID].
func (r Record) Retire(id [32]byte, end time.Time) (Record, error) {
	end = end.UTC().Truncate(time.Second)
	next := r.clone()
	for i, k := range next.Keys {
		if k.ID() != id {
			continue
		}
		if !k.End.IsZero() {
			return r, fmt.Errorf("%w: key %x of %s was retired at %s already", ErrRecord, id[:8], k.Role, k.End.Format(time.RFC3339))
		}
		if !end.After(k.Start) {
			return r, fmt.Errorf("%w: key %x of %s would end at %s, before it begins", ErrRecord, id[:8], k.Role, end.Format(time.RFC3339))
		}
		next.Keys[i].End = end
		next.closeIssuers(k.Issuers, end)
		return next, nil
	}
	return r, fmt.Errorf("%w: there is no key %x: ids are SHA-256 of the SPKI, as sigbox tuf status prints them", ErrRecord, id[:8])
}

// closeIssuers ends those of the issuers that no CA in use names any more.
func (r *Record) closeIssuers(named []string, end time.Time) {
	for i, s := range r.Issuers {
		still := slices.ContainsFunc(r.Keys, func(k Key) bool { return k.End.IsZero() && slices.Contains(k.Issuers, s.URL) })
		if s.End.IsZero() && slices.Contains(named, s.URL) && !still {
			if !end.After(s.Start) {
				end = s.Start.Add(time.Second)
			}
			r.Issuers[i].End = end
		}
	}
}

// openIssuers begins those that are not there.
func (r *Record) openIssuers(urls []string, start time.Time) {
	for _, u := range urls {
		if !slices.ContainsFunc(r.Issuers, func(s Issuer) bool { return s.URL == u && s.End.IsZero() }) {
			r.Issuers = append(r.Issuers, Issuer{URL: u, Start: start.UTC().Truncate(time.Second)})
		}
	}
}

// WithIssuer adds an issuer that no CA names, or gives back r if it is there.
func (r Record) WithIssuer(url string, start time.Time) Record {
	next := r.clone()
	next.openIssuers([]string{url}, start)
	return next
}

// Material is what the targets are composed from.
func (r Record) Material() trustroot.Material {
	m := trustroot.Material{Operator: r.Operator}
	for _, k := range r.Keys {
		valid := k.Window()
		switch k.Role {
		case statement.CA:
			m.CAs = append(m.CAs, trustroot.Authority{URL: k.URL, Chain: k.Chain, Valid: valid, Adopted: k.Adopted})
		case statement.TSA:
			m.TSAs = append(m.TSAs, trustroot.Authority{URL: k.URL, Chain: k.Chain, Valid: valid, Adopted: k.Adopted})
		case statement.RekorV1:
			m.RekorV1 = append(m.RekorV1, trustroot.Log{URL: k.URL, Key: k.Public, Valid: valid})
		case statement.RekorV2:
			m.RekorV2 = append(m.RekorV2, trustroot.Log{URL: k.URL, Key: k.Public, Valid: valid})
		case statement.CT:
			m.CTLogs = append(m.CTLogs, trustroot.Log{URL: k.URL, Key: k.Public, Valid: valid})
		}
	}
	for _, s := range r.Issuers {
		m.Issuers = append(m.Issuers, trustroot.Issuer{URL: s.URL, Valid: trustroot.Window{Start: s.Start, End: s.End}})
	}
	return m
}

// Edition composes the targets, which refuses a record that some client could not read, and returns
// them with the record.
func (r Record) Edition() (tuf.Edition, error) {
	targets, err := trustroot.Compose(r.Material())
	if err != nil {
		return tuf.Edition{}, err
	}
	others, err := r.foreignTargets(targets)
	if err != nil {
		return tuf.Edition{}, err
	}
	raw, err := r.Encode()
	return tuf.Edition{Targets: append(targets, others...), Record: raw}, err
}

// Follows says whether a record may follow prev: everything that was there is there as it was, in the
// same order, but for addresses, issuers and ends that were not set before. A foreign root may go, and be
// replaced by a newer one.
func (r Record) Follows(prev Record) error {
	switch {
	case r.Instance != prev.Instance:
		return fmt.Errorf("%w: it is that of instance %s, not of %s", ErrRecord, r.Instance, prev.Instance)
	case len(r.Keys) < len(prev.Keys), len(r.Issuers) < len(prev.Issuers):
		return fmt.Errorf("%w: it has lost a key or an issuer: old signatures would not verify any more", ErrRecord)
	}
	for i, old := range prev.Keys {
		k := r.Keys[i]
		if k.Role != old.Role || k.ID() != old.ID() || !sameChain(k.Chain, old.Chain) || !k.Start.Equal(old.Start) || k.Adopted != old.Adopted {
			return fmt.Errorf("%w: the %s key %x is not what it was", ErrRecord, old.Role, idOf(old))
		}
		if !old.End.IsZero() && (!k.End.Equal(old.End) || !k.Stated.Equal(old.Stated)) || k.Stated.Before(old.Stated) {
			return fmt.Errorf("%w: the %s key %x was retired, and is changed, or goes back to an older statement", ErrRecord, old.Role, idOf(old))
		}
	}
	for i, old := range prev.Issuers {
		s := r.Issuers[i]
		if s.URL != old.URL || !s.Start.Equal(old.Start) || !old.End.IsZero() && !s.End.Equal(old.End) {
			return fmt.Errorf("%w: issuer %s is not what it was", ErrRecord, old.URL)
		}
	}
	return r.foreignFollows(prev)
}

// Backed wants a statement for every key that the record has and prev has not, and for every newer word
// about one: who signs the record then knows that whoever asks for it has the keys. What is adopted has none: it signs
// nothing here, and has an end.
func (r Record) Backed(prev Record, statements []statement.Statement) error {
	for _, k := range r.Keys {
		if i := prev.find(k.Role, k.ID()); i >= 0 && prev.Keys[i].Stated.Equal(k.Stated) {
			if !prev.Keys[i].statement(r.Instance).Same(k.statement(r.Instance)) {
				return fmt.Errorf("%w: the %s key %x is changed without a statement of its holder", ErrRecord, k.Role, idOf(k))
			}
			continue
		}
		if k.Adopted {
			if k.End.IsZero() || len(k.Issuers) > 0 {
				return fmt.Errorf("%w: the %s key %x is of another instance, and has no end, or names issuers", ErrRecord, k.Role, idOf(k))
			}
			continue
		}
		says := k.statement(r.Instance)
		if !slices.ContainsFunc(statements, func(s statement.Statement) bool { return s.Made.Equal(k.Stated) && s.Same(says) }) {
			return fmt.Errorf("%w: no statement shows that whoever asks has the %s key %x", ErrRecord, k.Role, idOf(k))
		}
	}
	return nil
}

func idOf(k Key) []byte {
	id := k.ID()
	return id[:8]
}

func sameChain(a, b []*x509.Certificate) bool {
	return slices.EqualFunc(a, b, func(x, y *x509.Certificate) bool { return bytes.Equal(x.Raw, y.Raw) })
}
