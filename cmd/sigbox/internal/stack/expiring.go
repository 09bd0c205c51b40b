package stack

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/expiry"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/statement"
)

// roleItems are the roles of a published set. life is what they are signed for, and renew the steps for
// one that somebody has to sign.
func roleItems(p *tuf.Published, life tuf.Lifetimes, mend func(role string) []string) (items []expiry.Item) {
	for _, r := range []struct {
		role         string
		life, renews time.Duration
		breaks       string
	}{
		{tuf.Root, life.Root, 0, "clients that have not seen a newer root refuse to refresh, and then to verify and to sign"},
		{tuf.Targets, life.Targets, 0, "clients refuse the trust root, and with it to verify and to sign"},
		{tuf.Snapshot, life.Snapshot, life.RenewSnapshot, "clients refuse the whole set, and with it to verify and to sign"},
		{tuf.Timestamp, life.Timestamp, life.RenewTimestamp, "clients refuse the whole set, and with it to verify and to sign"},
	} {
		items = append(items, expiry.Item{
			What: "tuf " + r.role, Detail: fmt.Sprintf("version %d", versionOf(p.Versions(), r.role)), At: p.Expires(r.role).UTC(), Breaks: r.breaks,
			Mend: mend(r.role), Life: r.life, Renews: r.renews,
		})
	}
	return items
}

func versionOf(v tuf.Versions, role string) int64 {
	return map[string]int64{tuf.Root: v.Root, tuf.Targets: v.Targets, tuf.Snapshot: v.Snapshot, tuf.Timestamp: v.Timestamp}[role]
}

// chainItems are the certificates of an authority, of which the first one issues.
func chainItems(purpose string, chain []*x509.Certificate, mend, mendRoot []string) (items []expiry.Item) {
	breaks := map[string]string{"ca": "no certificate is issued, so that nobody can sign", "tsa": "no timestamp is made, so that nobody can sign with Rekor v2"}[purpose]
	for i, cert := range chain {
		item := expiry.Item{What: purpose + " certificate", Detail: cert.Subject.String(), At: afterLast(cert), Breaks: breaks, Mend: mend, Life: lifeOf(cert)}
		if i > 0 {
			item.What, item.Mend = purpose+" issuer", mendRoot
		}
		items = append(items, item)
	}
	return items
}

// afterLast is when a certificate is not valid any more: NotAfter is its last second.
func afterLast(cert *x509.Certificate) time.Time { return cert.NotAfter.Add(time.Second).UTC() }

func lifeOf(cert *x509.Certificate) time.Duration { return cert.NotAfter.Sub(cert.NotBefore) }

// tlsItems are the certificates that are shown to clients.
func tlsItems(chain []*x509.Certificate, mend ...string) (items []expiry.Item) {
	for i, cert := range chain {
		item := expiry.Item{What: "tls certificate", Detail: cert.Subject.String(), At: afterLast(cert), Breaks: "clients do not connect", Mend: mend, Life: lifeOf(cert)}
		if i > 0 {
			item.What = "tls issuer"
		}
		items = append(items, item)
	}
	return items
}

// peerItems are what a service shows to the others, and the authorities that it takes theirs of.
func (m mends) peerItems(service string, id *identity) []expiry.Item {
	leaf, authorities := id.pair.Load().Leaf, *id.trusted.Load()
	renew, replace := m.peers(*id.paths.Load())
	items := []expiry.Item{{
		What: service + " peers certificate", Detail: leaf.Subject.String(), At: afterLast(leaf), Life: lifeOf(leaf), Mend: renew,
		Breaks: "other services refuse " + service + ", so that certificates are not logged or statements not carried",
	}}
	for _, a := range authorities {
		if !leaf.NotAfter.Before(a.NotAfter) && leaf.CheckSignatureFrom(a) == nil {
			items[0].Mend = replace // no certificate lives longer than its authority
		}
		items = append(items, expiry.Item{
			What: service + " peers authority", Detail: a.Subject.String(), At: afterLast(a), Life: lifeOf(a), Mend: replace,
			Breaks: service + " refuses the services with certificates of it",
		})
	}
	return items
}

// recordItems are what the record of trust material says: the newest chain of each authority, and keys
// that are retired although a service still signs with them. inUse are the ids of such keys, as far as
// they are known here.
func (m mends) recordItems(rec record.Record, inUse [][32]byte, now time.Time) (items []expiry.Item) {
	newest, followed := map[statement.Role]record.Key{}, followed(rec, inUse)
	for _, k := range rec.Keys {
		if k.End.IsZero() && k.Chain != nil && !k.Start.Before(newest[k.Role].Start) {
			newest[k.Role] = k
		}
		if k.Adopted {
			continue
		}
		if id := k.ID(); !k.End.IsZero() && (k.End.After(now) && !followed[k.Role] || slices.Contains(inUse, id)) {
			items = append(items, expiry.Item{
				What: string(k.Role) + " key", Detail: fmt.Sprintf("%x", id[:8]), At: k.End.UTC(),
				Breaks: "what it signs after that is trusted by nobody; what it signed before is",
				Mend:   m.successor(rec, k),
			})
		}
	}
	for _, role := range []statement.Role{statement.CA, statement.TSA} {
		if k, ok := newest[role]; ok {
			purpose := strings.ToLower(string(role))
			items = append(items, m.chainItems(purpose, k.Chain)...)
		}
	}
	return append(items, adoptedItems(rec, now)...)
}

// followed are the authorities that sign here with a key that has no end: an older one may end.
func followed(rec record.Record, inUse [][32]byte) map[statement.Role]bool {
	list := map[statement.Role]bool{}
	for _, k := range rec.Keys {
		if !k.Role.Log() && k.End.IsZero() && slices.Contains(inUse, k.ID()) {
			list[k.Role] = true
		}
	}
	return list
}

// adoptedItems are the keys of other instances that are still to sign there.
func adoptedItems(rec record.Record, now time.Time) (items []expiry.Item) {
	for _, k := range rec.Keys {
		if id := k.ID(); k.Adopted && k.End.After(now) {
			items = append(items, expiry.Item{
				What: "adopted " + string(k.Role), Detail: fmt.Sprintf("%x of %.100q", id[:8], k.URL), At: k.End.UTC(), Planned: true,
				Breaks: "what it signs after that is trusted by nobody here; what it signed before is, for ever",
				Mend:   []string{"let everybody who signs there sign here by then: an end does not change"},
			})
		}
	}
	return items
}

// pinnedItem are the keys of an issuer that are read from a file, as long as its last key lasts. They verify
// tokens after that too; but the issuer signs with others by then, which the file does not have.
func pinnedItem(k config.IssuerKeys, last *x509.Certificate) expiry.Item {
	return expiry.Item{
		What: "issuer keys", Detail: string(k.Issuer), At: afterLast(last), Life: lifeOf(last),
		Breaks: "the issuer signs with keys that " + string(k.Keys) + " does not have, so that nobody signs with its tokens",
		Mend:   []string{"replace " + string(k.Keys) + " with the key set that jwks_uri of " + string(k.Issuer) + "/.well-known/openid-configuration serves then: it is taken over without a restart"},
	}
}
