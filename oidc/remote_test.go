package oidc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sigbox/sigbox/internal/clock"
)

func TestDiscoveryRefuses(t *testing.T) {
	elsewhere := newIssuer(t)
	for _, tc := range []struct {
		name  string
		setup func(i *issuer)
		want  Reason
	}{
		{"another issuer's document", func(i *issuer) {
			i.discovery = func(w http.ResponseWriter, _ *http.Request) {
				i.document(w, map[string]any{"issuer": "https://accounts.google.com"})
			}
		}, ReasonDiscovery},
		{"redirect to another host", func(i *issuer) {
			i.discovery = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusFound)
			}
		}, ReasonDiscovery},
		{"redirect loop", func(i *issuer) {
			i.discovery = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }
		}, ReasonDiscovery},
		{"no content", func(i *issuer) {
			i.discovery = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
		}, ReasonDiscovery},
		{"a web page", func(i *issuer) {
			i.discovery = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>sign in</html>") }
		}, ReasonDiscovery},
		{"a good document of more than a megabyte", func(i *issuer) {
			i.discovery = func(w http.ResponseWriter, _ *http.Request) { pad(w); i.document(w, nil) }
		}, ReasonDiscovery},
		{"good keys of more than a megabyte", func(i *issuer) {
			i.keys = func(w http.ResponseWriter, _ *http.Request) { pad(w); writeJSON(w, i.jwks()) }
		}, ReasonDiscovery},
		{"keys from a file", func(i *issuer) {
			i.discovery = func(w http.ResponseWriter, _ *http.Request) {
				i.document(w, map[string]any{"jwks_uri": "file:///etc/passwd"})
			}
		}, ReasonDiscovery},
		{"keys from a private host that only the document names", func(i *issuer) {
			i.discovery = func(w http.ResponseWriter, _ *http.Request) {
				i.document(w, map[string]any{"jwks_uri": strings.Replace(elsewhere.URL, "127.0.0.1", "127.0.0.2", 1) + "/jwks"})
			}
		}, ReasonDiscovery},
		{"a certificate that nobody vouches for", func(i *issuer) {
			i.Server.Close()
			i.Server = httptest.NewTLSServer(i.Server.Config.Handler)
			i.Server.Config.ErrorLog = log.New(io.Discard, "", 0)
		}, ReasonUnavailable},
		{"keys answer 404", func(i *issuer) { i.keys = http.NotFound }, ReasonDiscovery},
		{"no usable key", func(i *issuer) { i.jwks = func() any { return jose.JSONWebKeySet{} } }, ReasonDiscovery},
		{"nothing listens", func(i *issuer) { i.Server.CloseClientConnections(); i.Server.Listener.Close() }, ReasonUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			i := newIssuer(t)
			i.set(func() { tc.setup(i) })
			_, err := i.verifier(t, Options{}).Verify(t.Context(), i.token(t, nil))
			if reasonOf(err) != string(tc.want) || errors.Is(err, ErrUnavailable) != (tc.want == ReasonUnavailable) {
				t.Errorf("got %v, want reason %s", err, tc.want)
			}
		})
	}
	if elsewhere.asked.Load()+elsewhere.askedKeys.Load() != 0 {
		t.Error("a redirect or a jwks_uri reached a host that nobody configured")
	}
}

// pad writes a megabyte that JSON ignores.
func pad(w http.ResponseWriter) {
	_, _ = w.Write(bytes.Repeat([]byte(" "), maxDocument)) // the client may be gone already
}

func TestKeysComeOverNoWeakerScheme(t *testing.T) {
	for _, tc := range []struct {
		issuer, jwks string
		ok           bool
	}{
		{"https://a.example.com", "https://keys.example.com/x", true},
		{"http://127.0.0.1:1", "http://127.0.0.1:1/x", true},
		{"https://a.example.com", "http://a.example.com/x", false},
		{"https://a.example.com", "file:///etc/passwd", false},
		{"https://a.example.com", "gopher://a.example.com/x", false},
		{"https://a.example.com", "https://u@a.example.com/x", false},
		{"https://a.example.com", "/x", false},
		{"https://a.example.com", "", false},
	} {
		if err := checkJWKSURI(tc.issuer, tc.jwks); (err == nil) != tc.ok {
			t.Errorf("%s for %s: %v", tc.jwks, tc.issuer, err)
		}
	}
}

// A redirect on the same host and keys on another configured name are what real issuers do.
func TestRedirectOnTheSameHost(t *testing.T) {
	i := newIssuer(t)
	i.set(func() {
		i.discovery = func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "" {
				http.Redirect(w, r, r.URL.Path+"?moved", http.StatusFound)
				return
			}
			i.document(w, nil)
		}
	})
	if _, err := i.verifier(t, Options{}).Verify(t.Context(), i.token(t, nil)); err != nil {
		t.Error(err)
	}
}

func TestRedirectRules(t *testing.T) {
	client, err := HTTPPolicy{}.client(&Issuer{URL: "https://a.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	request := func(url string) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	from := []*http.Request{request("https://a.example.com/x")}
	for to, ok := range map[string]bool{
		"https://a.example.com/y": true, "http://a.example.com/y": false, "https://b.example.com/y": false, "https://a.example.com:8443/y": false,
	} {
		if err := client.CheckRedirect(request(to), from); (err == nil) != ok {
			t.Errorf("to %s: %v", to, err)
		}
	}
}

// A dead issuer is asked once in a while, and another issuer is served meanwhile.
func TestDeadIssuerDelaysNobody(t *testing.T) {
	dead, alive, c := newIssuer(t), newIssuer(t), clock.NewManual(start)
	inside, release := make(chan struct{}), make(chan struct{})
	dead.set(func() {
		dead.discovery = func(w http.ResponseWriter, _ *http.Request) {
			close(inside)
			<-release
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	v := NewVerifier(config(t, Issuer{URL: dead.URL}, Issuer{URL: alive.URL}), Options{Clock: c})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := v.Verify(t.Context(), dead.token(t, nil)); err == nil {
			t.Error("the dead issuer's token was accepted")
		}
	})
	<-inside
	// A second caller waits for the same fetch, but no longer than its own context.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.Verify(ctx, dead.token(t, nil)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a waiting caller whose context ended: %v", err)
	}
	if _, err := v.Verify(t.Context(), alive.token(t, nil)); err != nil {
		t.Errorf("the living issuer while the dead one hangs: %v", err)
	}
	close(release)
	wg.Wait()

	dead.set(func() { dead.discovery = nil })
	if _, err := v.Verify(t.Context(), dead.token(t, nil)); err == nil {
		t.Error("the failure was not remembered")
	}
	if n := dead.asked.Load(); n != 1 {
		t.Errorf("asked %d times, want 1", n)
	}
	c.Advance(failureCached)
	if _, err := v.Verify(t.Context(), dead.token(t, nil)); err != nil {
		t.Errorf("after it came back: %v", err)
	}
}

func TestTimeout(t *testing.T) {
	i := newIssuer(t)
	release := make(chan struct{})
	defer close(release)
	i.set(func() { i.keys = func(http.ResponseWriter, *http.Request) { <-release } })
	_, err := i.verifier(t, Options{HTTP: HTTPPolicy{Timeout: 50 * time.Millisecond}}).Verify(t.Context(), i.token(t, nil))
	if reasonOf(err) != "unavailable" {
		t.Errorf("slow issuer: %v", err)
	}
}

func TestKeyRotation(t *testing.T) {
	i, c, k := newIssuer(t), clock.NewManual(start), testKeys()
	v := i.verifier(t, Options{Clock: c})
	next := sign(t, k.other, "RS256", map[string]any{"kid": "next"}, i.claims(map[string]any{"exp": start.Add(2 * time.Hour).Unix()}))
	if _, err := v.Verify(t.Context(), i.token(t, nil)); err != nil {
		t.Fatal(err)
	}
	i.set(func() {
		i.jwks = func() any {
			return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: k.other.Public(), KeyID: "next"}}}
		}
	})
	for range 5 { // unknown kids do not let strangers drive our requests
		if _, err := v.Verify(t.Context(), next); reasonOf(err) != "key" {
			t.Fatalf("within a minute: %v", err)
		}
	}
	if n := i.askedKeys.Load(); n != 1 {
		t.Fatalf("keys fetched %d times, want 1", n)
	}
	c.Advance(refreshSpacing)
	if _, err := v.Verify(t.Context(), next); err != nil {
		t.Fatalf("after a minute: %v", err)
	}
	if _, err := v.Verify(t.Context(), i.token(t, nil)); reasonOf(err) != "key" {
		t.Errorf("the key that the issuer withdrew: %v", err)
	}
	if n := i.askedKeys.Load(); n != 2 {
		t.Errorf("keys fetched %d times, want 2", n)
	}
}

func TestStaleKeysServeWhileTheIssuerIsDown(t *testing.T) {
	i, c := newIssuer(t), clock.NewManual(start)
	v := i.verifier(t, Options{Clock: c, MaxLifetime: 100 * time.Hour})
	raw := i.token(t, map[string]any{"exp": start.Add(99 * time.Hour).Unix()})
	if _, err := v.Verify(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	i.set(func() { i.discovery = http.NotFound })
	c.Advance(keysFresh)
	if _, err := v.Verify(t.Context(), raw); err != nil || i.asked.Load() != 2 {
		t.Errorf("an hour later: %v, asked %d times", err, i.asked.Load())
	}
	c.Advance(keysStale - keysFresh)
	if _, err := v.Verify(t.Context(), raw); err == nil {
		t.Error("keys that nobody confirmed for a day still serve")
	}
}

// TestKeysThatServeAreNotWaitedFor: while one caller asks an issuer that hangs whether its keys are still the same,
// the others go on with those that it had. One whose key is not among them waits for the answer.
func TestKeysThatServeAreNotWaitedFor(t *testing.T) {
	i, c, k := newIssuer(t), clock.NewManual(start), testKeys()
	v := i.verifier(t, Options{Clock: c})
	late := map[string]any{"exp": start.Add(3 * time.Hour).Unix()}
	raw := i.token(t, late)
	if _, err := v.Verify(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	inside, release := make(chan struct{}), make(chan struct{})
	i.set(func() {
		i.discovery = func(w http.ResponseWriter, _ *http.Request) {
			close(inside)
			<-release
			i.document(w, nil)
		}
		i.jwks = func() any {
			return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: k.rsa.Public(), KeyID: "rsa"}, {Key: k.other.Public(), KeyID: "next"}}}
		}
	})
	c.Advance(keysFresh)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := v.Verify(t.Context(), raw); err != nil {
			t.Errorf("who asked: %v", err)
		}
	})
	<-inside
	ended, cancel := context.WithCancel(t.Context())
	cancel() // so that waiting is an error, and not a test that hangs
	for n := range 3 {
		if _, err := v.Verify(ended, raw); err != nil {
			t.Errorf("caller %d beside it: %v", n, err)
		}
	}
	next := sign(t, k.other, "RS256", map[string]any{"kid": "next"}, i.claims(late))
	wg.Go(func() {
		if _, err := v.Verify(t.Context(), next); err != nil {
			t.Errorf("whose key came with the answer: %v", err)
		}
	})
	time.Sleep(20 * time.Millisecond) // it waits by now, or will find the answer
	close(release)
	wg.Wait()
	if n := i.asked.Load(); n != 2 {
		t.Errorf("asked %d times, want 2", n)
	}
}

func TestOneFetchForManyCallers(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier(t, Options{})
	raw := i.token(t, nil)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if _, err := v.Verify(t.Context(), raw); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := i.asked.Load(); n != 1 {
		t.Errorf("discovery asked %d times, want 1", n)
	}
}

// What a pattern matches was chosen by the token: it must not make us call our own network.
func TestMetaIssuerStaysOutOfPrivateNetworks(t *testing.T) {
	policy := HTTPPolicy{Timeout: time.Second}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, tc := range []struct {
		name, pattern, fixed string
	}{
		{"host from the token", "https://*.example.com/x", ""},
		{"path from the token", "https://k8s.example.com/*", "k8s.example.com"},
		{"exact", "https://k8s.example.com", "k8s.example.com"},
		{"loopback port from the token", "http://127.0.0.1:*/", "127.0.0.1"},
		{"IPv6", "https://[::1]:8443", "::1"},
	} {
		i := Issuer{URL: tc.pattern, Meta: strings.Contains(tc.pattern, "*")}
		if got := i.fixedHost(); got != tc.fixed {
			t.Errorf("%s: written-out host %q, want %q", tc.name, got, tc.fixed)
		}
	}
	if _, err := policy.dial("")(t.Context(), "tcp", ln.Addr().String()); !errors.Is(err, errPolicy) {
		t.Errorf("loopback was dialled for a pattern: %v", err)
	}
	if conn, err := policy.dial("127.0.0.1")(t.Context(), "tcp", ln.Addr().String()); err != nil {
		t.Errorf("the configured host: %v", err)
	} else {
		conn.Close()
	}
	policy.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	if conn, err := policy.dial("")(t.Context(), "tcp", ln.Addr().String()); err != nil {
		t.Errorf("an allowed network: %v", err)
	} else {
		conn.Close()
	}
}

func TestPublicAddresses(t *testing.T) {
	for ip, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true,
		"127.0.0.1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false,
		"0.0.0.0": false, "100.64.0.1": false, "198.18.0.1": false, "255.255.255.255": false, "224.0.0.1": false,
		"::1": false, "::": false, "fd00::1": false, "fe80::1": false, "64:ff9b::a9fe:a9fe": false, "2002:7f00:1::": false,
	} {
		if got := public(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: public = %v", ip, got)
		}
	}
	if public(netip.MustParseAddr("::ffff:169.254.169.254").Unmap()) {
		t.Error("IPv4 in IPv6")
	}
}

func TestMetaIssuersAreBounded(t *testing.T) {
	c := clock.NewManual(start)
	i := &Issuer{URL: "https://*.idp.example.com", Meta: true}
	r := newRemote(HTTPPolicy{}, c, nil)
	for n := range metaPerMinute {
		if _, err := r.entry(i, fmt.Sprintf("https://a%d.idp.example.com", n)); err != nil {
			t.Fatal(err)
		}
		c.Advance(time.Millisecond)
	}
	if _, err := r.entry(i, "https://one-more.idp.example.com"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("new meta-issuers in one minute are not bounded: %v", err)
	}
	if _, err := r.entry(i, "https://a0.idp.example.com"); err != nil {
		t.Errorf("a known one: %v", err)
	}
	c.Advance(time.Minute)
	if _, err := r.entry(i, "https://one-more.idp.example.com"); err != nil {
		t.Fatal(err)
	}
	if len(r.entries) != maxMetaIssuers || r.entries["https://a0.idp.example.com"] == nil || r.entries["https://a1.idp.example.com"] != nil {
		t.Errorf("%d entries kept; the least recently used one must go", len(r.entries))
	}
}
