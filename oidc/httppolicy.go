package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// HTTPPolicy bounds how issuers' documents are fetched. Always so: 1 MiB a document, at most three
// redirects and only to the same scheme and host, TLS 1.2 or later, no proxy but the one named here.
type HTTPPolicy struct {
	// Timeout bounds discovery and key set together; 10 s if zero.
	Timeout time.Duration
	// AllowPrivate are private networks that issuers known by pattern only may live in. A host that
	// the configuration writes out may always be private; what a pattern or a discovery document
	// names may not, so that a token cannot make us call our own network.
	AllowPrivate []netip.Prefix
	// Proxy is an HTTP proxy that issuers are asked through, nil for none, but for the hosts of Direct. It
	// resolves names and connects: of the addresses only those are refused here that stand in the URL.
	Proxy  *url.URL
	Direct []string
	// Roots replaces the system's certificate roots.
	Roots *x509.CertPool
}

// errPolicy marks what the policy refused; trying again does not help.
var errPolicy = errors.New("refused by policy")

func (p HTTPPolicy) timeout() time.Duration {
	if p.Timeout > 0 {
		return p.Timeout
	}
	return 10 * time.Second
}

// client returns an HTTP client for one fetch of one issuer's documents.
func (p HTTPPolicy) client(issuer *Issuer) (*http.Client, error) {
	roots := p.Roots
	if issuer.CACert != "" {
		if roots == nil {
			roots, _ = x509.SystemCertPool() // nil on failure: then only the issuer's own root counts
		}
		if roots == nil {
			roots = x509.NewCertPool()
		}
		roots = roots.Clone()
		if !roots.AppendCertsFromPEM([]byte(issuer.CACert)) {
			return nil, errors.New("ca-cert holds no PEM certificate")
		}
	}
	return &http.Client{
		Transport: bounded1MiB{&http.Transport{
			Proxy:               p.proxy(issuer.fixedHost()),
			DialContext:         p.dial(issuer.fixedHost()),
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			DisableKeepAlives:   true, // fetches are rare
			TLSHandshakeTimeout: p.timeout(), MaxResponseHeaderBytes: 64 << 10,
		}},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			switch {
			case len(via) > 3:
				return fmt.Errorf("%w: more than 3 redirects", errPolicy)
			case req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme:
				return fmt.Errorf("%w: redirect to another host or scheme", errPolicy)
			}
			return nil
		},
	}, nil
}

// proxy returns the proxy for a request: none where there is none, and for hosts that are asked directly.
func (p HTTPPolicy) proxy(fixed string) func(*http.Request) (*url.URL, error) {
	return func(r *http.Request) (*url.URL, error) {
		host := r.URL.Hostname()
		if p.Proxy == nil || slices.Contains(p.Direct, host) {
			return nil, nil
		}
		if host != fixed && !p.allowsName(host) {
			return nil, fmt.Errorf("%w: %s is not a public address", errPolicy, host)
		}
		return p.Proxy, nil
	}
}

// allowsName says whether a proxy may be asked for a host that the configuration does not write out. It may
// not be for what its resolver reads as an address that we do not: 127.1, 0x7f000001, 127.0.0.1 with a dot
// behind it.
func (p HTTPPolicy) allowsName(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return p.allows(ip)
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	last := host[strings.LastIndexByte(host, '.')+1:] // digits, or none: of an address, and of no name (RFC 3696 2)
	return last != "localhost" && last != "" && (last[0] < '0' || last[0] > '9')
}

// allows says whether an address may be connected to that the configuration does not write out.
func (p HTTPPolicy) allows(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	return public(ip) || slices.ContainsFunc(p.AllowPrivate, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// toProxy says whether an address to dial is the proxy's, which the configuration writes out.
func (p HTTPPolicy) toProxy(address string) bool {
	if p.Proxy == nil {
		return false
	}
	port := p.Proxy.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[p.Proxy.Scheme]
	}
	return address == net.JoinHostPort(p.Proxy.Hostname(), port)
}

// dial connects to the written-out host without conditions, and elsewhere only to public addresses.
// The address is checked after resolution, so a name that changes its answer gains nothing.
func (p HTTPPolicy) dial(fixed string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		d := &net.Dialer{}
		if host, _, err := net.SplitHostPort(address); !p.toProxy(address) && (err != nil || fixed == "" || host != fixed) {
			d.Control = func(_, addr string, _ syscall.RawConn) error {
				ap, err := netip.ParseAddrPort(addr)
				if err != nil {
					return err
				}
				if p.allows(ap.Addr()) {
					return nil
				}
				return fmt.Errorf("%w: %s is not a public address", errPolicy, ap.Addr())
			}
		}
		return d.DialContext(ctx, network, address)
	}
}

// reserved are the blocks that netip's own predicates do not cover (RFC 6890 and successors).
func reserved() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
		netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("2001::/32"),
	}
}

func public(ip netip.Addr) bool {
	return ip.IsGlobalUnicast() && !ip.IsPrivate() && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() &&
		!slices.ContainsFunc(reserved(), func(n netip.Prefix) bool { return n.Contains(ip) })
}

// bounded1MiB cuts every answer off with an error at maxDocument.
type bounded1MiB struct{ next http.RoundTripper }

func (b bounded1MiB) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxDocument}
	return resp, nil
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("%w: larger than %d bytes", errPolicy, maxDocument)
	}
	if len(p) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= n
	return n, err
}
