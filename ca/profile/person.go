package profile

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/sigbox/sigbox/oidc"
)

// emailNames is type email: SAN rfc822Name of the verified address.
func emailNames(t *oidc.Token) (names, error) {
	address, ok := t.Claims["email"].(string)
	if !ok {
		return names{}, oidc.Refuse(oidc.ReasonEmail, "claim email is missing or not a string")
	}
	if err := CheckEmail(address); err != nil {
		return names{}, oidc.Refuse(oidc.ReasonEmail, "%w", err)
	}
	if v := t.Claims["email_verified"]; !t.Issuer.SkipEmailVerification && v != true && v != "true" {
		return names{}, oidc.Refuse(oidc.ReasonUnverified, "email_verified is neither true nor \"true\"")
	}
	issuer := ""
	if path := t.Issuer.IssuerClaim; len(path) > 0 {
		v := any(t.Claims)
		for _, member := range path {
			obj, _ := v.(map[string]any)
			v = obj[member]
		}
		s, ok := v.(string)
		if !ok || s == "" || printable("issuer-claim", s) != nil {
			return names{}, oidc.Refuse(oidc.ReasonClaim, "issuer-claim $.%s is missing or not a fit string", strings.Join(path, "."))
		}
		issuer = s
	}
	return names{challenge: address, issuer: issuer, email: address}, nil
}

// CheckEmail says whether an address may be certified: an unquoted local part (RFC 5321 Dot-string)
// and a host name of at least two labels, ASCII, at most 254 bytes. The error says what is wrong,
// without the address.
func CheckEmail(s string) error {
	if len(s) > 254 {
		return fmt.Errorf("the e-mail address is longer than 254 bytes")
	}
	local, domain, ok := strings.Cut(s, "@")
	if !ok || strings.Contains(domain, "@") {
		return fmt.Errorf("an e-mail address has exactly one @")
	}
	if !ascii(s) {
		return fmt.Errorf("the e-mail address holds a space or a character that is not ASCII")
	}
	if local == "" || len(local) > 64 {
		return fmt.Errorf("the part before the @ has 1 to 64 bytes")
	}
	for _, atom := range strings.Split(local, ".") {
		if atom == "" || strings.Trim(strings.ToLower(atom), "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+/=?^_`{|}~-") != "" {
			return fmt.Errorf("the part before the @ holds an empty piece or a character that needs quoting")
		}
	}
	return checkHostName(domain)
}

// checkHostName wants letters, digits and inner hyphens in two labels or more; the last one begins and
// ends with a letter.
func checkHostName(domain string) error {
	labels := strings.Split(strings.ToLower(domain), ".")
	if len(labels) < 2 {
		return fmt.Errorf("the part after the @ is not a full host name")
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || l[0] == '-' || l[len(l)-1] == '-' {
			return fmt.Errorf("the part after the @ is not a host name")
		}
	}
	const digits = "0123456789"
	if tld := labels[len(labels)-1]; len(tld) < 2 || strings.Trim(tld, digits) != tld { // no address, and upstream's rule
		return fmt.Errorf("the part after the @ does not end in a domain")
	}
	return nil
}

// uriNames is type uri: SAN URI equal to the subject, which lives under subject-domain.
func uriNames(t *oidc.Token) (names, error) {
	want, err := url.Parse(t.Issuer.SubjectDomain)
	if err != nil {
		return names{}, oidc.Refuse(oidc.ReasonSAN, "subject-domain: %w", err)
	}
	if err := checkURI(t.Subject); err != nil {
		return names{}, err
	}
	got, err := url.Parse(t.Subject)
	if err != nil || got.Scheme != want.Scheme || got.Host != want.Host {
		return names{}, oidc.Refuse(oidc.ReasonSAN, "subject %q is not under %s", clip(t.Subject), t.Issuer.SubjectDomain)
	}
	return names{uri: t.Subject}, nil
}

// spiffeNames is type spiffe: SAN URI equal to the subject, a SPIFFE ID of the trust domain
// (SPIFFE-ID sections 2.1 to 2.3).
func spiffeNames(t *oidc.Token) (names, error) {
	rest, ok := strings.CutPrefix(t.Subject, "spiffe://")
	if !ok {
		return names{}, oidc.Refuse(oidc.ReasonSAN, "subject %q is not a SPIFFE ID", clip(t.Subject))
	}
	domain, path, hasPath := strings.Cut(rest, "/")
	if domain != t.Issuer.SPIFFETrustDomain {
		return names{}, oidc.Refuse(oidc.ReasonSAN, "subject %q is not of trust domain %s", clip(t.Subject), t.Issuer.SPIFFETrustDomain)
	}
	if hasPath {
		for _, seg := range strings.Split(path, "/") {
			if seg == "" || seg == "." || seg == ".." || strings.Trim(strings.ToLower(seg), "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" {
				return names{}, oidc.Refuse(oidc.ReasonSAN, "subject %q has a path that SPIFFE does not allow", clip(t.Subject))
			}
		}
	}
	return names{uri: t.Subject}, nil
}

// usernameNames is type username: SAN otherName SUB!DOMAIN.
func usernameNames(t *oidc.Token) (names, error) {
	if strings.Contains(t.Subject, "!") {
		return names{}, oidc.Refuse(oidc.ReasonSAN, "user name holds a !")
	}
	if strings.Contains(t.Subject, "@") { // upstream refuses what is an address; so does this, and more
		return names{}, oidc.Refuse(oidc.ReasonSAN, "user name looks like an e-mail address")
	}
	return names{other: t.Subject + "!" + t.Issuer.SubjectDomain}, nil
}

// chainguardNames is type chainguard-identity: SAN URI ISSUER/SUB. Its holders prove possession over
// a verified email claim where there is one, since that is what clients sign.
func chainguardNames(t *oidc.Token) (names, error) {
	n := names{}
	if err := shaped("claim act", t.Claims["act"]); err != nil {
		return names{}, err
	}
	if err := shaped("claim internal", t.Claims["internal"], "service-principal"); err != nil {
		return names{}, err
	}
	if v := t.Claims["email"]; v != nil && v != "" {
		address, ok := v.(string)
		verified := t.Claims["email_verified"]
		if !ok || printable("email", address) != nil || verified != true && verified != "true" {
			return names{}, oidc.Refuse(oidc.ReasonUnverified, "email is not a verified address")
		}
		n.challenge = address
	}
	var err error
	n.uri, err = join(t.IssuerURL, t.Subject)
	return n, err
}
