package trustroot

import (
	"cmp"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"net/url"
	"slices"
	"time"

	"github.com/sigbox/sigbox/tlog/shardpath"
)

// Window is the time in which a key is believed. A zero End means that the key is in use.
type Window struct {
	Start, End time.Time
}

func (w Window) open() bool { return w.End.IsZero() }

// compare orders windows: those that have an end before those that have none, then by their starts.
func (w Window) compare(o Window) int {
	if w.open() != o.open() {
		if o.open() {
			return -1
		}
		return 1
	}
	return w.Start.Compare(o.Start)
}

func (w Window) overlaps(o Window) bool {
	return (w.open() || o.Start.Before(w.End)) && (o.open() || w.Start.Before(o.End))
}

// Authority is a certificate authority or a timestamp authority.
type Authority struct {
	URL   string              // CA: base URL; TSA: the full URL that requests are posted to
	Chain []*x509.Certificate // CA: intermediates, then the root; TSA: the leaf first, then the same
	Valid Window
	// Adopted says that it is of another instance, whose certificates are as they are.
	Adopted bool
}

func (a Authority) open() bool { return a.Valid.open() }

// Log is a transparency log.
type Log struct {
	URL   string           // base URL; its host is the log's origin
	Key   crypto.PublicKey // ECDSA P-256
	Valid Window
}

func (g Log) open() bool { return g.Valid.open() }

// isShard says that the log is a shard of Rekor v2 that another one goes on for at the same host: it is read
// at its own path, and takes no entries.
func (g Log) isShard() bool {
	u, err := url.Parse(g.URL)
	if err != nil {
		return false
	}
	der, err := marshalKey(g.Key)
	return err == nil && u.Path == shardpath.Of(sha256.Sum256(der))
}

// Issuer is an OpenID Connect issuer that clients may ask for identity tokens.
type Issuer struct {
	URL   string
	Valid Window
}

// Material is everything public that clients of one instance need.
type Material struct {
	Operator string // who runs it, for example the host name; clients take one service per operator

	CAs     []Authority
	TSAs    []Authority // may be empty
	RekorV1 []Log
	RekorV2 []Log // may be empty
	CTLogs  []Log
	Issuers []Issuer
}

// oldestFirst returns a sorted copy, so that the order of the input does not matter: what has an end, then what has
// none. Clients that take "the last" entry then take the newest that signs.
func oldestFirst(as []Authority) []Authority {
	out := slices.Clone(as)
	slices.SortStableFunc(out, func(a, b Authority) int {
		return cmp.Or(a.Valid.compare(b.Valid), cmp.Compare(a.URL, b.URL))
	})
	return out
}

func oldestLogFirst(ls []Log) []Log {
	out := slices.Clone(ls)
	slices.SortStableFunc(out, func(a, b Log) int {
		return cmp.Or(a.Valid.compare(b.Valid), cmp.Compare(a.URL, b.URL))
	})
	return out
}

func newestFirst[T any](list []T, oldestFirst func([]T) []T) []T {
	out := oldestFirst(list)
	slices.Reverse(out)
	return out
}
