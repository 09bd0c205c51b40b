package trustroot

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/sigbox/sigbox/tlog/shardpath"
)

// ErrMaterial says that the material must not be published.
var ErrMaterial = errors.New("trust material")

// linter collects what is wrong, all of it.
type linter struct {
	errs []error
	keys map[[32]byte]string // SPKI digest: the role that has it
	logs map[[32]byte]string
}

func (l *linter) say(format string, args ...any) {
	l.errs = append(l.errs, fmt.Errorf("%w: %w", ErrMaterial, fmt.Errorf(format, args...)))
}

// Lint reports everything for which some client would refuse the material, or believe more than
// was meant. Each error wraps ErrMaterial.
func (m Material) Lint() error {
	l := newLinter()
	l.complete(m)
	l.parts(m)
	l.overlaps("Rekor v1 log", m.RekorV1, sameURL)
	l.overlaps("Rekor v2 log", m.RekorV2, sameHost)
	l.overlaps("CT log", m.CTLogs, sameURL)
	return errors.Join(l.errs...)
}

// LintParts is Lint without what adding or ending something else can mend: what is not there yet, and
// two keys of one address at one time.
func (m Material) LintParts() error {
	l := newLinter()
	l.parts(m)
	return errors.Join(l.errs...)
}

func newLinter() *linter {
	return &linter{keys: map[[32]byte]string{}, logs: map[[32]byte]string{}}
}

// complete wants everything that a client needs to load the trust root and to sign.
func (l *linter) complete(m Material) {
	for _, need := range []struct {
		what string
		n    int
	}{{"certificate authority", len(m.CAs)}, {"Rekor v1 log", len(m.RekorV1)}, {"CT log", len(m.CTLogs)}, {"OIDC issuer", len(m.Issuers)}} {
		if need.n == 0 {
			l.say("no %s: there are clients that do not load such a trust root", need.what)
		}
	}
	if len(m.RekorV2) > 0 && len(m.TSAs) == 0 {
		l.say("a Rekor v2 log without a timestamp authority: no client could sign with it")
	}
	l.inUse(m)
}

// parts looks at each authority, log and issuer.
func (l *linter) parts(m Material) {
	if m.Operator == "" || len(m.Operator) > 255 {
		l.say("operator: want 1 to 255 bytes: python clients require it")
	}
	for i, a := range m.CAs {
		l.authority(fmt.Sprintf("CA %d", i+1), "CA", a, false)
	}
	for i, a := range m.TSAs {
		l.authority(fmt.Sprintf("TSA %d", i+1), "TSA", a, true)
	}
	l.duplicates("CA", m.CAs)
	l.duplicates("TSA", m.TSAs)
	l.logList("Rekor v1 log", m.RekorV1)
	l.logList("Rekor v2 log", m.RekorV2)
	l.logList("CT log", m.CTLogs)
	for i, s := range m.Issuers {
		what := fmt.Sprintf("OIDC issuer %d", i+1)
		l.window(what, s.Valid)
		l.url(what, s.URL, true)
	}
}

// inUse wants something to sign with in every role that has anything.
func (l *linter) inUse(m Material) {
	windows := map[string][]Window{}
	for role, as := range map[string][]Authority{"certificate authority": m.CAs, "timestamp authority": m.TSAs} {
		for _, a := range as {
			windows[role] = append(windows[role], a.Valid)
		}
	}
	for role, logs := range map[string][]Log{"Rekor v1 log": m.RekorV1, "Rekor v2 log": m.RekorV2, "CT log": m.CTLogs} {
		for _, g := range logs {
			valid := g.Valid
			if g.isShard() { // nobody signs there
				valid.End = valid.Start
			}
			windows[role] = append(windows[role], valid)
		}
	}
	for _, role := range slices.Sorted(maps.Keys(windows)) {
		if !slices.ContainsFunc(windows[role], Window.open) {
			l.say("every %s has an end: clients could not sign", role)
		}
	}
}

func (l *linter) window(what string, w Window) {
	if w.Start.IsZero() {
		l.say("%s: validity has no start", what)
	}
	if !w.open() && !w.End.After(w.Start) {
		l.say("%s: validity ends before it starts", what)
	}
}

// url wants a URL that clients can append paths to; some drop a path of the base.
func (l *linter) url(what, raw string, path bool) {
	u, err := url.Parse(raw)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.User != nil, u.RawQuery != "", u.Fragment != "":
		l.say("%s: URL %q: want http or https, a host, and nothing secret", what, raw)
	case strings.HasSuffix(raw, "/"):
		l.say("%s: URL %q: want no slash at the end", what, raw)
	case !path && u.Path != "":
		l.say("%s: URL %q: want no path: some clients drop it", what, raw)
	}
}

// key keeps each key to one role: a signature made in one must mean nothing in another.
func (l *linter) key(what, role string, pub crypto.PublicKey) (id [32]byte, ok bool) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		l.say("%s: key: %v", what, err)
		return id, false
	}
	id = sha256.Sum256(der)
	if other, taken := l.keys[id]; taken && other != role {
		l.say("%s: shares its key with a %s", what, other)
		return id, false
	}
	l.keys[id] = role
	return id, true
}

func (l *linter) authority(what, role string, a Authority, leafFirst bool) {
	l.window(what, a.Valid)
	l.url(what, a.URL, leafFirst)
	if len(a.Chain) == 0 || leafFirst && len(a.Chain) < 2 {
		l.say("%s: the chain is too short", what)
		return
	}
	for i, c := range a.Chain {
		leaf := leafFirst && i == 0
		if i == 0 {
			l.key(what, role, c.PublicKey)
		} else { // a PKI may stand above both kinds of authorities
			l.key(what, "certificate above an authority", c.PublicKey)
		}
		if c.IsCA == leaf {
			l.say("%s: certificate %d is of the wrong kind: want %s", what, i+1, map[bool]string{true: "a leaf", false: "a CA"}[leaf])
		}
		if !a.Adopted && (len(c.Subject.Organization) == 0 || c.Subject.CommonName == "") {
			l.say("%s: certificate %d: want organization and common name in its subject", what, i+1)
		}
		issuer := a.Chain[min(i+1, len(a.Chain)-1)] // the root signs itself
		if err := c.CheckSignatureFrom(issuer); err != nil || !bytes.Equal(c.RawIssuer, issuer.RawSubject) {
			l.say("%s: certificate %d is not signed by the next, or the last is no root", what, i+1)
		}
	}
	if leafFirst && !slices.Contains(a.Chain[0].ExtKeyUsage, x509.ExtKeyUsageTimeStamping) {
		l.say("%s: the leaf is not for timestamping", what)
	}
}

// duplicates: authorities of one role may overlap, since a new one is published before it is
// used, but each is listed once.
func (l *linter) duplicates(role string, as []Authority) {
	for i, a := range as {
		for j, b := range as[:i] {
			if len(a.Chain) > 0 && len(b.Chain) > 0 && a.Chain[0].Equal(b.Chain[0]) {
				l.say("%s %d is %s %d again", role, i+1, role, j+1)
			}
		}
	}
}

func sameURL(a, b string) bool { return a == b }

// sameHost: the origin of a v2 log is its host, whatever the port. A shard that another one goes on for has
// a path of its own, which says that the host is shared on purpose: clients tell shards by their keys.
func sameHost(a, b string) bool {
	if shardpath.In(a) || shardpath.In(b) {
		return a == b
	}
	x, errX := url.Parse(a)
	y, errY := url.Parse(b)
	return errX == nil && errY == nil && strings.EqualFold(x.Hostname(), y.Hostname())
}

// logList: a log has a key of its own, P-256.
func (l *linter) logList(role string, logs []Log) {
	for i, g := range logs {
		what := fmt.Sprintf("%s %d", role, i+1)
		l.window(what, g.Valid)
		l.url(what, g.URL, role == "CT log" || role == "Rekor v2 log" && g.isShard())
		if pub, ok := g.Key.(*ecdsa.PublicKey); !ok || pub.Curve != elliptic.P256() {
			l.say("%s: the key is not ECDSA P-256: some client does not take it", what)
		} else if id, ok := l.key(what, role, pub); ok {
			if other, taken := l.logs[id]; taken {
				l.say("%s: has the log id of %s", what, other)
			}
			l.logs[id] = what
		}
	}
}

// overlaps: a log has one key for life, so at any time one key may speak for one address.
func (l *linter) overlaps(role string, logs []Log, same func(a, b string) bool) {
	for i, g := range logs {
		for j, o := range logs[:i] {
			if same(g.URL, o.URL) && g.Valid.overlaps(o.Valid) {
				l.say("%s %d: its validity overlaps that of %s %d, which has the same origin", role, i+1, role, j+1)
			}
		}
	}
}
