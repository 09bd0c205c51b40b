package oidc

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// check returns what is wrong with the issuer, each as a sentence part that names the key of the
// configuration file.
func (i *Issuer) check() []string {
	var p []string
	add := func(format string, args ...any) { p = append(p, fmt.Sprintf(format, args...)) }
	if len(i.URL) > maxIssuerBytes {
		return append(p, fmt.Sprintf("issuer-url is longer than %d bytes", maxIssuerBytes))
	}
	u, err := url.Parse(strings.ReplaceAll(i.URL, "*", "0"))
	if err != nil || !plainURL(strings.ReplaceAll(i.URL, "*", "0")) {
		add("issuer-url %q is not a plain URL: want https://HOST[/PATH]", clip(i.URL))
		u = nil
	} else if u.Scheme == "http" && !loopback(u.Hostname()) {
		add("issuer-url %q uses http beyond loopback: whoever sits on the way could replace the issuer's keys", clip(i.URL))
	}
	if i.Meta {
		p = append(p, checkPattern(i.URL)...)
	} else if strings.Contains(i.URL, "*") {
		add("issuer-url holds a *: patterns belong under meta-issuers")
	}
	if i.Audience == "" {
		add("client-id is missing or empty")
	}
	switch {
	case i.Type == "":
		add("type is missing: want one of %s", typeList())
	case !slices.Contains(Types(), i.Type):
		add("unknown type %q: want one of %s", clip(string(i.Type)), typeList())
	}
	if len(i.IssuerClaim) > 0 && i.Type != TypeEmail {
		add("issuer-claim is for type email only")
	}
	if i.CACert != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(i.CACert)) {
		add("ca-cert holds no PEM certificate")
	}
	return append(p, i.checkType(u)...)
}

func (i *Issuer) checkType(u *url.URL) []string {
	var p []string
	add := func(format string, args ...any) { p = append(p, fmt.Sprintf(format, args...)) }
	switch i.Type {
	case TypeCIProvider:
		if i.Provider == nil {
			add("type ci-provider needs ci-provider: the name of an entry of ci-issuer-metadata")
		}
	case TypeSPIFFE:
		if i.Meta {
			add("type spiffe cannot be a meta-issuer: many issuers would speak for one trust domain")
		}
		if !ValidTrustDomain(i.SPIFFETrustDomain) {
			add("spiffe-trust-domain %q is missing or not a trust domain", clip(i.SPIFFETrustDomain))
		}
	case TypeURI:
		d, err := url.Parse(i.SubjectDomain)
		switch {
		case err != nil || d.Scheme == "" || d.Hostname() == "" || (d.Path != "" && d.Path != "/") || d.User != nil || d.RawQuery != "" || d.Fragment != "":
			add("subject-domain %q: type uri wants SCHEME://HOST", clip(i.SubjectDomain))
		case u != nil && d.Scheme != u.Scheme:
			add("subject-domain and issuer-url have different schemes")
		case u != nil && !relatedHosts(d.Hostname(), u.Hostname()):
			add("subject-domain %q does not share the issuer's domain", clip(i.SubjectDomain))
		}
	case TypeUsername:
		switch {
		case i.SubjectDomain == "" || strings.ContainsAny(i.SubjectDomain, "/:!@?# "):
			add("subject-domain %q: type username wants a bare host name", clip(i.SubjectDomain))
		case u != nil && !relatedHosts(i.SubjectDomain, u.Hostname()):
			add("subject-domain %q does not share the issuer's domain", clip(i.SubjectDomain))
		}
	}
	return p
}

// checkPattern refuses a pattern that would trust hosts of strangers.
func checkPattern(meta string) []string {
	if !strings.Contains(meta, "*") {
		return []string{"a meta-issuer without * is an issuer: put it under oidc-issuers"}
	}
	scheme, rest, ok := strings.Cut(meta, "://")
	if !ok || strings.Contains(scheme, "*") {
		return []string{"the pattern's scheme must be written out"}
	}
	host, _, _ := strings.Cut(rest, "/")
	name, port := host, ""
	if n := strings.LastIndexByte(host, ':'); n >= 0 && !strings.HasSuffix(host, "]") {
		name, port = host[:n], host[n:]
	}
	labels := strings.Split(name, ".")
	if tail := labels[max(0, len(labels)-2):]; strings.Contains(strings.Join(tail, "."), "*") {
		return []string{"the last two labels of the pattern's host must be written out: a * there trusts hosts of strangers"}
	}
	if strings.Contains(port, "*") && !loopback(name) {
		return []string{"the pattern's port must be written out"}
	}
	return nil
}

// fixedHost returns the host name that the configuration writes out, "" where it holds a *.
func (i *Issuer) fixedHost() string {
	u, err := url.Parse(strings.ReplaceAll(i.URL, "*", "0")) // a digit, so that a port stays a port
	if err != nil {
		return ""
	}
	if !strings.Contains(i.URL[:len(i.URL)-len(u.Path)], "*") || loopback(u.Hostname()) {
		return u.Hostname()
	}
	return ""
}

func typeList() string {
	names := make([]string, 0, len(Types()))
	for _, t := range Types() {
		names = append(names, string(t))
	}
	return strings.Join(names, ", ")
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// relatedHosts is upstream's rule: equal hosts, or the last two labels in common.
func relatedHosts(a, b string) bool {
	if a == b {
		return true
	}
	if net.ParseIP(a) != nil || net.ParseIP(b) != nil {
		return false
	}
	la, lb := strings.Split(a, "."), strings.Split(b, ".")
	return len(la) >= 2 && len(lb) >= 2 && slices.Equal(la[len(la)-2:], lb[len(lb)-2:])
}

// ValidTrustDomain says whether s is a SPIFFE trust domain name (SPIFFE-ID, section 2.1).
func ValidTrustDomain(s string) bool {
	return s != "" && len(s) <= 255 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789.-_") == ""
}
