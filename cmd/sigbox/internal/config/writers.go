package config

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/sigbox/sigbox/internal/quota"
)

// Writers is who may write to a log. Everybody else is refused with 403 (gRPC: PERMISSION_DENIED) and
// the reason, and leaves nothing in the log. Of an entry with several signatures every one must be by
// somebody who may write. Reading is open to everybody.
//
// Name at least one of certificates, issuers and keys. Who is named by any of them may write.
type Writers struct {
	// Whether everybody may write who has a certificate of tlog.authorities that is valid when the entry
	// arrives and for code signing. Its chain is verified; that it is in a certificate transparency log is
	// left to those who verify the signature.
	Certificates bool `yaml:"certificates"`
	// The OpenID Connect issuers whose identities may write, with certificates as above: what the issuer
	// extension of the certificate says, which is looked at once its chain has been verified.
	Issuers []IssuerURL `yaml:"issuers"`
	// Files with one public key each that may write without a certificate: PEM (PUBLIC KEY), or PGP, SSH,
	// minisign or the root of a TUF repository in the form in which clients send it; a PGP keyring or a TUF
	// root counts as a whole. A certificate for such a key does not count: nobody stands for the names in it.
	Keys []File `yaml:"keys"`
}

// Quotas is how often one client may do what leaves something behind. A quota is a number of requests
// and a period, such as 600/1m: as many at once, and one more whenever a part of the period has passed.
// What is beyond is answered 429 (gRPC: RESOURCE_EXHAUSTED) with Retry-After. A request that is
// answered 5xx is not counted. What is not written has no limit.
//
// Each process counts for itself: with n replicas, a client that reaches all of them may do n times as
// much.
type Quotas struct {
	// Of a client address; of an IPv6 address, its network of 64 bits. Behind trusted_proxies it is the
	// address that they say. Requests of an identity that is vouched for count for that one instead, where
	// there is a quota for identities, so that those behind one address do not starve each other.
	Address Rate `yaml:"address"`
	// Of an identity: of a token once it has been verified, of a certificate of tlog.authorities, or of
	// the key that has signed. What a log holds already counts for the address that sends it again. New keys
	// cost nothing to make, so that a key that is not listed in writers counts for its address too.
	Identity Rate `yaml:"identity"`
	// Of all identities of one OpenID Connect issuer together.
	Issuer Rate `yaml:"issuer"`
}

// AddressQuotas is how often one client may ask, as in ca.quotas.
type AddressQuotas struct {
	// Of a client address, as ca.quotas.address.
	Address Rate `yaml:"address"`
}

// writers lists who may write by the key of the section.
func (t *TLog) writers() map[string]*Writers {
	out := map[string]*Writers{}
	if t.RekorV1 != nil && t.RekorV1.Writers != nil {
		out["tlog.rekor_v1.writers"] = t.RekorV1.Writers
	}
	if t.RekorV2 != nil && t.RekorV2.Writers != nil {
		out["tlog.rekor_v2.writers"] = t.RekorV2.Writers
	}
	return out
}

func checkWriters(t *TLog, p *problems, where func(string) position, key string, w *Writers) {
	certificates := w.Certificates || len(w.Issuers) > 0
	switch {
	case p.about(key):
	case !certificates && len(w.Keys) == 0:
		p.add(where(key), key, "names nobody, so that nobody could write: name certificates, issuers or keys, or remove the section to let everybody write")
	case w.Certificates && len(w.Issuers) > 0:
		p.add(where(key+".issuers"), key+".issuers", "lets in the identities of some issuers, and certificates those of all: remove one of them")
	case certificates && t.Authorities == "":
		p.add(where(key), key, "goes by certificates, and there is nobody whose certificates count: set tlog.authorities")
	}
}

var rateForm = regexp.MustCompile(`^([1-9][0-9]{0,6})/([0-9a-z.]+)$`)

func (r *Rate) parse(text, _ string) error {
	m := rateForm.FindStringSubmatch(text)
	if m == nil {
		return fmt.Errorf("%q is not a rate: want a number from 1 to 9999999, a slash and a period, such as 600/1m", text)
	}
	var per Duration
	if err := per.parse(m[2], ""); err != nil {
		return fmt.Errorf("%q has no period: %w", text, err)
	}
	if d := time.Duration(per); d < time.Second || d > 24*time.Hour {
		return fmt.Errorf("%q: the period is %s, want 1s to 24h", text, per)
	}
	*r = Rate(text)
	return nil
}

// Quota returns the rate, no limit for "".
func (r Rate) Quota() quota.Rate {
	m := rateForm.FindStringSubmatch(string(r))
	if m == nil {
		return quota.Rate{}
	}
	count, _ := strconv.ParseInt(m[1], 10, 64) // parse took it
	per, _ := time.ParseDuration(m[2])
	return quota.Rate{Count: count, Per: per}
}

// Rates returns the quotas, none for nil.
func (q *Quotas) Rates() quota.Rates {
	if q == nil {
		return quota.Rates{}
	}
	return quota.Rates{Address: q.Address.Quota(), Identity: q.Identity.Quota(), Issuer: q.Issuer.Quota()}
}

// Rates returns the quotas, none for nil.
func (q *AddressQuotas) Rates() quota.Rates {
	if q == nil {
		return quota.Rates{}
	}
	return quota.Rates{Address: q.Address.Quota()}
}
