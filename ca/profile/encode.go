package profile

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/netip"
	"net/url"
	"strings"

	"github.com/sigbox/sigbox/oidc"
)

// arc returns 1.3.6.1.4.1.57264.1.n.
func arc(n int) asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, n} }

// Numbers below the arc that are not keys of a configuration.
const (
	numIssuer    = 1
	numOtherName = 7
	numIssuerV2  = 8
	numSubject   = 24
)

// numbers gives every configurable extension its number below the arc.
var numbers = map[string]int{
	"github-workflow-trigger": 2, "github-workflow-sha": 3, "github-workflow-name": 4,
	"github-workflow-repository": 5, "github-workflow-ref": 6,
	"build-signer-uri": 9, "build-signer-digest": 10, "runner-environment": 11,
	"source-repository-uri": 12, "source-repository-digest": 13, "source-repository-ref": 14,
	"source-repository-identifier": 15, "source-repository-owner-uri": 16,
	"source-repository-owner-identifier": 17, "build-config-uri": 18, "build-config-digest": 19,
	"build-trigger": 20, "run-invocation-uri": 21,
	"source-repository-visibility-at-signing": 22, "deployment-environment": 23,
}

// render writes the extensions in the order of their numbers. Those up to .6 hold the bare string, as
// they always have; the others a DER UTF8String.
func render(issuer, subject string, values map[string]string) ([]pkix.Extension, error) {
	byNumber := [numSubject + 1]string{numIssuer: issuer, numIssuerV2: issuer, numSubject: subject}
	for name, value := range values {
		byNumber[numbers[name]] = value // 0, which is none, for a name that is none
	}
	var out []pkix.Extension
	for n := numIssuer; n <= numSubject; n++ {
		v := byNumber[n]
		if v == "" {
			continue
		}
		der := []byte(v)
		if n > numOtherName {
			var err error
			if der, err = asn1.MarshalWithParams(v, "utf8"); err != nil {
				return nil, err
			}
		}
		out = append(out, pkix.Extension{Id: arc(n), Value: der})
	}
	return out, nil
}

// GeneralName tags of RFC 5280 section 4.2.1.6.
const (
	tagEmail = 1
	tagURI   = 6
)

// san encodes the one name. It is critical because the certificate's subject is empty.
func (n names) san() (pkix.Extension, string, error) {
	name := asn1.RawValue{Class: asn1.ClassContextSpecific}
	text := n.email
	switch {
	case n.email != "":
		name.Tag, name.Bytes = tagEmail, []byte(n.email)
	case n.uri != "":
		if err := checkURI(n.uri); err != nil {
			return pkix.Extension{}, "", err
		}
		text = n.uri
		name.Tag, name.Bytes = tagURI, []byte(n.uri)
	case n.other != "":
		text = n.other
		der, err := otherName(n.other)
		if err != nil {
			return pkix.Extension{}, "", err
		}
		name = asn1.RawValue{FullBytes: der}
	default:
		return pkix.Extension{}, "", oidc.Refuse(oidc.ReasonSAN, "the token yields no name")
	}
	der, err := asn1.Marshal([]asn1.RawValue{name})
	if err != nil {
		return pkix.Extension{}, "", err
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: der}, text, nil
}

// otherName encodes a name of OID .7: [0] { OID, [0] EXPLICIT UTF8String }.
func otherName(s string) ([]byte, error) {
	value, err := asn1.MarshalWithParams(s, "utf8")
	if err != nil {
		return nil, err
	}
	return asn1.MarshalWithParams(struct {
		TypeID asn1.ObjectIdentifier
		Value  asn1.RawValue
	}{arc(numOtherName), asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: value}}, "tag:0")
}

// checkURI refuses a name that two readers could read differently.
func checkURI(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.String() != s:
		return oidc.Refuse(oidc.ReasonSAN, "URI %q does not read back as itself", clip(s))
	case u.Scheme == "" || u.Host == "" || u.Hostname() == "" || u.User != nil || u.Opaque != "":
		return oidc.Refuse(oidc.ReasonSAN, "URI %q has no scheme, no host, or user information", clip(s))
	case !ascii(s) || len(s) > 4<<10:
		return oidc.Refuse(oidc.ReasonSAN, "URI %q is not ASCII or too long", clip(s))
	case !plainHost(u.Hostname()):
		return oidc.Refuse(oidc.ReasonSAN, "URI %q has a host that is neither a name nor an address", clip(s))
	}
	return nil
}

// plainHost says whether a host is one that every X.509 library parses: Go's refuses the whole
// certificate for another.
func plainHost(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Zone() == ""
	}
	for _, l := range strings.Split(host, ".") {
		if l == "" || len(l) > 63 || strings.Trim(strings.ToLower(l), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
	}
	return len(host) <= 253
}

// join appends path elements to a base as upstream does, and refuses what that would rewrite into
// another name: dot segments and empty ones are cleaned away, a broken escape drops the whole path.
func join(base string, elements ...string) (string, error) {
	u, err := url.Parse(base)
	if err != nil {
		return "", oidc.Refuse(oidc.ReasonSAN, "%q is not a URL", clip(base))
	}
	for _, e := range elements {
		for _, segment := range strings.Split(e, "/") {
			if segment == "" || segment == "." || segment == ".." {
				return "", oidc.Refuse(oidc.ReasonSAN, "path %q holds an empty or a dot segment", clip(e))
			}
		}
	}
	out := u.JoinPath(elements...).String()
	for _, e := range elements {
		if strings.Contains(e, "%") && !strings.Contains(out, e) {
			return "", oidc.Refuse(oidc.ReasonSAN, "path %q holds a %% that is no escape", clip(e))
		}
	}
	return out, nil
}
