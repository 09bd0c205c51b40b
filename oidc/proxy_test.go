package oidc

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"net/http/httptest"
)

// proxyServer is a proxy that takes everything to one issuer, whatever it is asked for.
type proxyServer struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string // hosts
}

func newProxy(t *testing.T, to string) *proxyServer {
	t.Helper()
	p := &proxyServer{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.asked = append(p.asked, r.Host)
		p.mu.Unlock()
		if r.Method == http.MethodConnect {
			tunnel(w, to)
			return
		}
		req, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+to+r.URL.Path, nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		req.Host = r.Host
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	t.Cleanup(p.Close)
	return p
}

// tunnel joins a CONNECT to an address.
func tunnel(w http.ResponseWriter, to string) {
	there, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	here, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(there, here); there.Close() }()
	go func() { _, _ = io.Copy(here, there); here.Close() }()
}

func (p *proxyServer) hosts() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.asked, " ")
}

// TestProxy: each row is where a request goes, with the proxy or without it, or why it goes nowhere.
func TestProxy(t *testing.T) {
	there := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "issuer") }))
	t.Cleanup(there.Close)
	address := strings.TrimPrefix(there.URL, "http://")
	for _, tc := range []struct {
		name    string
		issuer  string // the configuration's
		url     string
		direct  []string
		private string
		asked   string // of the proxy
		refused bool
	}{
		{"an issuer's host", "https://ci.example.com", "http://ci.example.com/x", nil, "", "ci.example.com", false},
		{"another public host", "https://ci.example.com", "http://keys.example.com/x", nil, "", "keys.example.com", false},
		{"asked directly", there.URL, there.URL, []string{"127.0.0.1"}, "", "", false},
		{"a private address that is written out", "http://10.1.2.3", "http://10.1.2.3/x", nil, "", "10.1.2.3", false},
		{"a private address that is not", "https://ci.example.com", "http://10.1.2.3/x", nil, "", "", true},
		{"a private address of a network that is listed", "https://ci.example.com", "http://10.1.2.3/x", nil, "10.0.0.0/8", "10.1.2.3", false},
		{"the same in IPv6 for IPv4", "https://ci.example.com", "http://[::ffff:10.1.2.3]/x", nil, "10.0.0.0/8", "[::ffff:10.1.2.3]", false},
		{"the metadata of a cloud", "https://ci.example.com", "http://169.254.169.254/latest", nil, "", "", true},
		{"loopback by name", "https://ci.example.com", "http://localhost/x", nil, "", "", true},
		{"loopback in IPv6", "https://ci.example.com", "http://[::1]/x", nil, "", "", true},
		{"loopback by name, in capitals", "https://ci.example.com", "http://LocalHost/x", nil, "", "", true},
		{"loopback by name, with a dot behind it", "https://ci.example.com", "http://localhost./x", nil, "", "", true},
		{"a name below loopback's", "https://ci.example.com", "http://keys.localhost/x", nil, "", "", true},
		{"an address with a dot behind it", "https://ci.example.com", "http://127.0.0.1./x", nil, "", "", true},
		{"an address of two numbers", "https://ci.example.com", "http://127.1/x", nil, "", "", true},
		{"an address as one number", "https://ci.example.com", "http://2130706433/x", nil, "", "", true},
		{"an address in hex", "https://ci.example.com", "http://0x7f000001/x", nil, "", "", true},
		{"no host", "https://ci.example.com", "http://./x", nil, "", "", true},
		{"another public host with a dot behind it", "https://ci.example.com", "http://keys.example.com./x", nil, "", "keys.example.com.", false},
		{"a name with numbers", "https://ci.example.com", "http://10.1.2.3.example.com/x", nil, "", "10.1.2.3.example.com", false},
		{"loopback in IPv6 for IPv4", "https://ci.example.com", "http://[::ffff:127.0.0.1]/x", nil, "", "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newProxy(t, address)
			proxyURL, err := url.Parse(p.URL)
			if err != nil {
				t.Fatal(err)
			}
			policy := HTTPPolicy{Proxy: proxyURL, Direct: tc.direct}
			if tc.private != "" {
				policy.AllowPrivate = []netip.Prefix{netip.MustParsePrefix(tc.private)}
			}
			client, err := policy.client(&Issuer{URL: tc.issuer})
			if err != nil {
				t.Fatal(err)
			}
			body, err := read(t.Context(), client, tc.url)
			if tc.refused {
				if !errors.Is(err, errPolicy) {
					t.Errorf("%v, want it refused", err)
				}
			} else if err != nil || string(body) != "issuer" {
				t.Errorf("%q %v", body, err)
			}
			if p.hosts() != tc.asked {
				t.Errorf("the proxy was asked for %q, want %q", p.hosts(), tc.asked)
			}
		})
	}
}
