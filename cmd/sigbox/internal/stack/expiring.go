package stack

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sigbox/sigbox/expiry"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/statement"
)

// mends are the steps that prevent what ends, for one configuration file. A step that begins with
// "sigbox" is a command that there is; what no command does is said in words.
type mends struct{ file string }

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

// role is how a role of the repository of a configuration is renewed.
func (m mends) role(role string) []string {
	switch role {
	case tuf.Root, tuf.Targets:
		out := role + ".json"
		return append([]string{fmt.Sprintf("sigbox tuf request --renew-%s --out %s --config %s", role, out, m.file)}, m.ceremony(out)...)
	}
	return []string{
		"sigbox serve --config " + m.file,
		"which renews it while it runs: where it does run, its log lines say why it cannot",
	}
}

// ceremony is what follows a request.
func (m mends) ceremony(out string) []string {
	return []string{
		fmt.Sprintf("sigbox tuf sign %s --key KEY    (each signer, until enough have signed)", out),
		fmt.Sprintf("sigbox tuf publish %s --config %s", out, m.file),
	}
}

// authority is how the chain of the CA ("ca") or of the TSA ("tsa") is replaced. The old chain stays
// for what was signed with it.
func (m mends) authority(purpose string, chain []*x509.Certificate) []string {
	section := map[string]string{"ca": "ca", "tsa": "ca.tsa"}[purpose]
	organization := ""
	if o := chain[0].Subject.Organization; len(o) > 0 {
		organization = o[0]
	}
	steps := []string{
		"sigbox ca key --out NEW.key",
		fmt.Sprintf("sigbox ca csr --key NEW.key --for %s --organization %s --out %s.csr", purpose, shellQuote(organization), purpose),
		fmt.Sprintf("sigbox ca sign-csr %s.csr --root ROOT --out %s-chain.pem    (where the root is kept; or your own PKI)", purpose, purpose),
		fmt.Sprintf("copy %s to NEXT.yaml beside it, with NEW.key as %s.key and a file that is not there yet as %s.chain", m.file, section, section),
		fmt.Sprintf("sigbox ca install-chain %s-chain.pem --config NEXT.yaml", purpose),
		"sigbox ca statements --config NEXT.yaml --out STATEMENTS",
		fmt.Sprintf("sigbox tuf request --statements STATEMENTS --out %s.json --config %s", purpose, m.file),
	}
	steps = append(steps, m.ceremony(purpose+".json")...)
	return append(steps, fmt.Sprintf("after a day, when clients have refreshed, move NEXT.yaml to %s and start serve again", m.file))
}

// root is how the root above an authority is replaced: with a chain under another one.
func (m mends) root(purpose string, chain []*x509.Certificate) []string {
	return append([]string{`sigbox ca root --out ROOT --organization NAME    (offline; or a new root of your own PKI)`}, m.authority(purpose, chain)...)
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

// peers is how a certificate that services show each other is renewed, and how its authority is replaced.
func (m mends) peers(p identityPaths) (renew, replace []string) {
	const live = "it is taken over without a restart"
	dir := initDir(m.file)
	if dir == "" {
		return []string{fmt.Sprintf("replace %s with a new certificate for its key, of one of the authorities in %s: %s", p.certificate, p.authorities, live)},
			[]string{fmt.Sprintf("add a new authority to %s at every service, then replace the certificates, then remove the old one: each is taken over without a restart", p.authorities)}
	}
	remove := "rm " + shellQuote(filepath.Join(dir, "peers", "ca.key")) + " " + shellQuote(filepath.Join(dir, "public", "peers.pem"))
	for _, service := range []string{"ca", "tlog", "tuf"} {
		remove += " " + shellQuote(filepath.Join(dir, service, "peer.crt"))
	}
	again := " && sigbox init --dir " + shellQuote(dir)
	return []string{"rm " + shellQuote(string(p.certificate)) + again, live},
		[]string{remove + again, "bring public/peers.pem, and its own peer.crt, to where each service runs: " + live}
}

// initDir is the directory of an instance that sigbox init made, by its configuration file; "" where
// that is not such a one, or not on this machine.
func initDir(file string) string {
	dir := filepath.Dir(file)
	for _, name := range []string{"init.json", filepath.Join("peers", "ca.key")} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return ""
		}
	}
	return dir
}

// recordItems are what the record of trust material says: the newest chain of each authority, and keys
// that are retired although a service still signs with them. inUse are the ids of such keys, as far as
// they are known here.
func (m mends) recordItems(rec record.Record, inUse [][32]byte, now time.Time) (items []expiry.Item) {
	newest := map[statement.Role]record.Key{}
	for _, k := range rec.Keys {
		if k.End.IsZero() && k.Chain != nil && !k.Start.Before(newest[k.Role].Start) {
			newest[k.Role] = k
		}
		if k.Adopted {
			continue
		}
		if id := k.ID(); !k.End.IsZero() && (k.End.After(now) || slices.Contains(inUse, id)) {
			items = append(items, expiry.Item{
				What: string(k.Role) + " key", Detail: fmt.Sprintf("%x", id[:8]), At: k.End.UTC(),
				Breaks: "what it signs after that is trusted by nobody; what it signed before is",
				Mend:   m.successor(k.Role),
			})
		}
	}
	for _, role := range []statement.Role{statement.CA, statement.TSA} {
		if k, ok := newest[role]; ok {
			purpose := strings.ToLower(string(role))
			items = append(items, chainItems(purpose, k.Chain, m.authority(purpose, k.Chain), m.root(purpose, k.Chain))...)
		}
	}
	return append(items, adoptedItems(rec, now)...)
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

// successor is what follows a key that was retired.
func (m mends) successor(role statement.Role) []string {
	if !role.Log() {
		return []string{fmt.Sprintf("let the service sign with the key that follows it (%s names it), before then", m.file)}
	}
	steps := []string{
		fmt.Sprintf("name the log that follows it in %s, with a key, a name and an origin of its own", m.file),
		"sigbox log create NAME --config " + m.file,
		"start serve again: it says what the new key is",
		fmt.Sprintf("sigbox tuf request --out log.json --config %s", m.file),
	}
	return append(steps, m.ceremony("log.json")...)
}
