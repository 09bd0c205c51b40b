package stack

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/oidc"
)

// CheckFiles looks at everything that a configuration names on this machine: keys, certificates,
// secrets. Its error is a [*config.Error] with every problem. Databases and addresses are not looked
// at.
func CheckFiles(cfg *config.Config) error {
	c := &fileCheck{cfg: cfg, owners: map[[32]byte]keyOwner{}}
	if cfg.TLS != nil {
		c.tls()
	}
	if t := cfg.TLog; t != nil {
		c.tlog(t)
	}
	c.peers()
	if a := cfg.CA; a != nil {
		c.database("ca.database", a.Database)
		c.chain("ca.key", "ca", a.Key, "ca.chain", a.Chain)
		if a.TSA != nil {
			c.chain("ca.tsa.key", "ca.tsa", a.TSA.Key, "ca.tsa.chain", a.TSA.Chain)
		}
		c.issuers(a)
		c.rules(a)
		if a.CT != nil {
			c.ctKey(a.CT)
		}
	}
	if t := cfg.TUF; t != nil {
		c.database("tuf.database", t.Database)
		c.key("tuf.snapshot_key", "tuf.snapshot_key", t.Snapshot, p256)
		c.key("tuf.timestamp_key", "tuf.timestamp_key", t.Timestamp, p256)
		c.sources(t)
	}
	if i := cfg.Issuer; i != nil {
		c.key("issuer.key", "issuer", i.Key, rsaKey)
	}
	return cfg.Err(c.problems)
}

// issuers checks whose tokens are taken, and the keys that are not fetched.
func (c *fileCheck) issuers(a *config.CA) {
	_, file, err := readNamed(a)
	if err != nil {
		c.add("ca.issuers", err)
		return
	}
	if _, _, err := fetchPolicy(a.Fetch); err != nil {
		c.add("ca.fetch.certificates", err)
	}
	for i, k := range a.IssuerKeys {
		key := fmt.Sprintf("ca.issuer_keys[%d]", i)
		if _, err := pinnedKeys([]config.IssuerKeys{k}); err != nil {
			c.add(key+".keys", err)
		}
		named := slices.ContainsFunc(file.Issuers, func(o *oidc.Issuer) bool { return o.URL == string(k.Issuer) && !o.Meta })
		switch {
		case k.Development && named:
			c.add(key+".development", fmt.Errorf("%s is %s too, where the development issuer does not belong: remove it there", k.Issuer, namedIn(a)))
		case !k.Development && !named:
			c.add(key+".issuer", fmt.Errorf("%s is not %s, so that its keys are for nothing: write it there too, in the same form", k.Issuer, namedIn(a)))
		}
	}
}

// namedIn says where issuers are named.
func namedIn(a *config.CA) string {
	switch {
	case len(a.Presets) == 0:
		return "in " + string(a.Issuers)
	case a.Issuers == "":
		return "one of ca.presets"
	}
	return "in " + string(a.Issuers) + " or one of ca.presets"
}

// rules checks the rules on who may sign, where the issuers can be read.
func (c *fileCheck) rules(a *config.CA) {
	known, err := Issuers(c.cfg)
	if err != nil {
		return // issuers says so
	}
	if _, err := readRules(a, known); err != nil {
		c.add("ca.rules", err)
	}
}

// fileCheck collects what is wrong with files.
type fileCheck struct {
	cfg      *config.Config
	problems []config.Problem
	owners   map[[32]byte]keyOwner // by key id
}

// keyOwner is what a key was first seen for.
type keyOwner struct{ role, key string }

func (c *fileCheck) add(key string, err error) {
	var path *fs.PathError
	if errors.As(err, &path) && errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%s cannot be read by this user: %w", path.Path, path.Err)
	}
	// "key: " is the name already.
	c.problems = append(c.problems, c.cfg.Problem(key, "%s", strings.TrimPrefix(err.Error(), "key: ")))
}

func p256(k crypto.Signer) error {
	if pub, ok := k.Public().(*ecdsa.PublicKey); !ok || pub.Curve != elliptic.P256() {
		return errors.New("is not an ECDSA P-256 key, the one kind that every client verifies")
	}
	return nil
}

func rsaKey(k crypto.Signer) error {
	if _, ok := k.Public().(*rsa.PublicKey); !ok {
		return errors.New("is not an RSA key, the one kind that every client takes tokens of")
	}
	return nil
}

func anyKey(crypto.Signer) error { return nil }

// key loads the key of a role; it returns nil where there is a problem.
func (c *fileCheck) key(key, role string, file config.KeyFile, kind func(crypto.Signer) error) crypto.Signer {
	path, err := file.Path()
	if err != nil {
		c.add(key, err)
		return nil
	}
	k, err := keys.Load(path)
	if err == nil {
		if err = kind(k); err != nil {
			err = fmt.Errorf("%s %w", path, err)
		}
	}
	if err != nil {
		c.add(key, err)
		return nil
	}
	c.own(key, role, k.Public())
	return k
}

// own notes whose key it is: roles share none.
func (c *fileCheck) own(key, role string, pub crypto.PublicKey) {
	id, err := keys.ID(pub)
	if err != nil {
		c.add(key, err)
		return
	}
	first, taken := c.owners[id]
	if !taken {
		c.owners[id] = keyOwner{role, key}
	} else if first.role != role {
		c.add(key, fmt.Errorf("is the key of %s too: every role needs one of its own, since what is signed for one could be shown for the other", first.key))
	}
}

func (c *fileCheck) tls() {
	t := c.cfg.TLS
	pair, where, err := loadPair(t.Certificate, t.Key)
	if err != nil {
		c.add("tls."+where, err)
		return
	}
	c.own("tls.key", "tls", pair.PrivateKey.(crypto.Signer).Public())
	seen := map[string]bool{}
	for _, service := range c.cfg.Services() {
		host := c.cfg.URL(service).URL().Hostname()
		if !seen[host] && pair.Leaf.VerifyHostname(host) != nil {
			c.add("tls.certificate", fmt.Errorf("%s is not valid for %s, the host of the public_url of %s", t.Certificate, host, service))
		}
		seen[host] = true
	}
	if c.cfg.TLog == nil {
		return
	}
	for i, sh := range c.cfg.TLog.NextShards() {
		if pair.Leaf.VerifyHostname(string(sh.Host)) != nil {
			c.add(fmt.Sprintf("tlog.rekor_v2.shards[%d].host", i), fmt.Errorf("%s is not the name of a server in %s: get a certificate for it too", sh.Host, t.Certificate))
		}
	}
}

func (c *fileCheck) tlog(t *config.TLog) {
	c.database("tlog.database", t.Database)
	if t.Guard.Database != nil {
		c.database("tlog.guard.database", t.Guard.Database)
	}
	c.writers(t)
	for _, l := range t.Logs() {
		role := "tlog." + l.Face
		if l.Path != "" { // shards share a key, CT logs do not
			role = l.Section
		}
		k := c.key(l.Section+".key", role, l.Key, p256)
		if l.Face != config.FaceCT {
			continue
		}
		chains, err := readChains(string(l.Roots))
		if err != nil && l.Path == "" {
			c.add(l.Section+".roots", err)
		}
		for _, chain := range chains {
			for _, cert := range chain {
				if k != nil && keys.Equal(k.Public(), cert.PublicKey) {
					c.add(l.Section+".key", fmt.Errorf("is the key of %q in %s too: every role needs one of its own", cert.Subject, l.Roots))
				}
			}
		}
	}
}

// chain checks a key with the chain of its certificate.
func (c *fileCheck) chain(key, role string, file config.KeyFile, chainKey string, chain config.File) {
	k := c.key(key, role, file, anyKey)
	certs, err := readChain(string(chain))
	if err == nil {
		err = checkIssued(certs)
	}
	if err != nil {
		c.add(chainKey, err)
		return
	}
	if k != nil && !keys.Equal(k.Public(), certs[0].PublicKey) {
		c.add(key, fmt.Errorf("%s is not the key of %q, the first certificate in %s", file, certs[0].Subject, chain))
	}
}

// checkIssued checks that each certificate is issued by the next one.
func checkIssued(certs []*x509.Certificate) error {
	for i, cert := range certs[:len(certs)-1] {
		if err := cert.CheckSignatureFrom(certs[i+1]); err != nil {
			return fmt.Errorf("%q is not issued by %q, which follows it: want the issuing certificate first, then its issuers, the root last", cert.Subject, certs[i+1].Subject)
		}
	}
	return nil
}

// database checks that a connection string can be had and read. Those of migrate are not looked at:
// serve need not have them.
func (c *fileCheck) database(key string, d *config.Database) {
	text, err := d.ConnString()
	if err != nil {
		c.add(key, err)
		return
	}
	if _, err := pgconn.ParseConfig(text); err != nil { // never quoted: it may hold a password
		c.add(key, errors.New("the connection string is not one that libpq would take"))
	}
}

// writers checks who may write.
func (c *fileCheck) writers(t *config.TLog) {
	if t.Authorities != "" && (t.CT == nil || t.Authorities != t.CT.Roots) { // which says so itself
		if _, err := readChains(string(t.Authorities)); err != nil {
			c.add("tlog.authorities", err)
		}
	}
	check := func(key string, w *config.Writers) {
		if w == nil {
			return
		}
		for i, file := range w.Keys {
			if _, err := readFingerprint(string(file)); err != nil {
				c.add(fmt.Sprintf("%s.keys[%d]", key, i), err)
			}
		}
	}
	if t.RekorV1 != nil {
		check("tlog.rekor_v1.writers", t.RekorV1.Writers)
	}
	if t.RekorV2 != nil {
		check("tlog.rekor_v2.writers", t.RekorV2.Writers)
	}
}
