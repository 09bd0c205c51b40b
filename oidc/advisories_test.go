package oidc

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// What others' advisories were about: their inputs, and that they cost nothing here.

// TestDotsCostNothing: a token that is all separators is refused before it is taken apart
// (CVE-2025-66506 of Fulcio, CVE-2025-27144 of go-jose, CVE-2025-30204 of golang-jwt).
func TestDotsCostNothing(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier(t, Options{})
	good := i.token(t, nil)
	for _, tc := range []struct {
		name, raw string
		want      Reason
	}{
		{"1 MiB of dots", strings.Repeat(".", 1<<20), ReasonSize},
		{"64 KiB of dots", strings.Repeat(".", MaxTokenBytes), ReasonMalformed},
		{"dots after a good token", good + strings.Repeat(".", MaxTokenBytes-len(good)), ReasonMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begun := time.Now()
			_, err := v.Verify(t.Context(), tc.raw)
			took := time.Since(begun)
			runtime.ReadMemStats(&after)
			if reasonOf(err) != string(tc.want) {
				t.Errorf("%v, want reason %s", err, tc.want)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
				t.Errorf("%d bytes allocated", n)
			}
			if took > 100*time.Millisecond { // microseconds, where nobody else has the processor
				t.Errorf("took %s", took)
			}
		})
	}
}

// TestIssuersAreComparedByteForByte: another spelling of a configured issuer is another issuer, and
// nobody is called because of it (CVE-2026-22772 of Fulcio: a pattern without anchors).
func TestIssuersAreComparedByteForByte(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	called := make(chan struct{}, 1)
	go func() {
		if c, err := listener.Accept(); err == nil { // ends with the listener
			called <- struct{}{}
			c.Close()
		}
	}()
	here := "http://" + listener.Addr().String()
	const pattern = "https://oidc.eks.*.amazonaws.com/id/*"
	c := config(t,
		Issuer{URL: "https://accounts.example.com"}, Issuer{URL: "https://accounts.example.com/tenant"},
		Issuer{URL: "https://xn--bcher-kva.example.com"}, Issuer{URL: pattern, Meta: true})
	for _, known := range []string{"https://accounts.example.com", "https://xn--bcher-kva.example.com", "https://oidc.eks.us-west-2.amazonaws.com/id/B02C"} {
		if c.find(known) == nil {
			t.Fatalf("%s is not found: the rows below show nothing", known)
		}
	}
	v := NewVerifier(c, Options{HTTP: HTTPPolicy{Timeout: time.Second}})
	for _, tc := range []struct{ name, iss string }{
		{"host in capitals", "https://ACCOUNTS.example.com"},
		{"scheme in capitals", "HTTPS://accounts.example.com"},
		{"http for https", "http://accounts.example.com"},
		{"the port that is meant anyway", "https://accounts.example.com:443"},
		{"a dot escaped", "https://accounts%2eexample.com"},
		{"dot segment", "https://accounts.example.com/x/../tenant"},
		{"query", "https://accounts.example.com?"},
		{"name of international letters", "https://bücher.example.com"},
		{"the same name in capitals", "https://XN--BCHER-KVA.example.com"},
		{"A-label of an ASCII name", "https://xn--accounts-.example.com"},
		{"full-width dots", "https://accounts\uff0eexample\uff0ecom"},
		{"full-width letters", "https://\uff41ccounts.example.com"},
		{"line break at the end", "https://accounts.example.com\n"},
		{"NUL at the end", "https://accounts.example.com\x00"},
		{"an issuer of the pattern in the query", here + "?issuer=https://oidc.eks.us-west-2.amazonaws.com/id/B02C"},
		{"an issuer of the pattern in the path", here + "/redirect/https://oidc.eks.us-west-2.amazonaws.com/id/B02C"},
		{"the pattern's host as user", "https://oidc.eks.us-west-2.amazonaws.com@" + listener.Addr().String() + "/id/B02C"},
		{"an issuer of the pattern after a line", here + "\nhttps://oidc.eks.us-west-2.amazonaws.com/id/B02C"},
		{"a slash for a star", "https://oidc.eks.x/y.amazonaws.com/id/B02C"},
		{"a dot for a star", "https://oidc.eks.a.b.amazonaws.com/id/B02C"},
		{"10 KiB for a star", "https://oidc.eks." + strings.Repeat("-", 10<<10) + ".amazonaws.com/id/B02C"},
		{"http for a pattern of https", "http://oidc.eks.us-west-2.amazonaws.com/id/B02C"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if found := c.find(tc.iss); found != nil {
				t.Errorf("found %q", found.URL)
			}
			claims := map[string]any{"iss": tc.iss, "sub": "s", "aud": "sigstore", "exp": time.Now().Add(time.Minute).Unix()}
			if _, err := v.Verify(t.Context(), sign(t, testKeys().rsa, "RS256", nil, claims)); reasonOf(err) != string(ReasonIssuer) {
				t.Errorf("%v, want reason %s", err, ReasonIssuer)
			}
		})
	}
	begun := time.Now()
	for range 1000 {
		c.find("https://oidc.eks." + strings.Repeat("-", 10<<10) + ".amazonaws.com/id/B02C")
	}
	if took := time.Since(begun); took > time.Second {
		t.Errorf("1,000 long names took %s", took)
	}
	select {
	case <-called:
		t.Error("a host that nobody configured was called")
	default:
	}
}

// TestDiscoverySendsNoCredentials: whoever answers for an issuer gets no secret of ours
// (CVE-2026-49478 of Fulcio: the service account's token went along).
func TestDiscoverySendsNoCredentials(t *testing.T) {
	i := newIssuer(t)
	var got []http.Header
	i.set(func() {
		i.discovery = func(w http.ResponseWriter, r *http.Request) { got = append(got, r.Header); i.document(w, nil) }
		i.keys = func(w http.ResponseWriter, r *http.Request) { got = append(got, r.Header); writeJSON(w, i.jwks()) }
	})
	if _, err := i.verifier(t, Options{}).Verify(t.Context(), i.token(t, nil)); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 {
		t.Fatalf("%d requests, want two", len(got))
	}
	for _, h := range got {
		for name := range h {
			if name != "User-Agent" && name != "Accept-Encoding" && name != "Connection" {
				t.Errorf("%s: %q is sent", name, h.Get(name))
			}
		}
	}
}

// TestTokenIsGoodUntilItExpires: there is no memory of used tokens (docs/design/0005, B-051).
func TestTokenIsGoodUntilItExpires(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier(t, Options{})
	raw := i.token(t, map[string]any{"jti": "once"})
	for n := range 2 {
		if _, err := v.Verify(t.Context(), raw); err != nil {
			t.Errorf("use %d: %v", n+1, err)
		}
	}
}

// TestNamesThatResolveToUs: what counts is the address that is dialled, not how it was written.
func TestNamesThatResolveToUs(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", "localhost:"+port); err != nil {
		t.Fatalf("localhost is not this machine: the rows show nothing: %v", err)
	} else {
		conn.Close()
	}
	for _, tc := range []struct{ name, host string }{
		{"a name", "localhost"}, {"IPv4 in IPv6", "::ffff:127.0.0.1"}, {"decimal", "2130706433"}, {"octal", "0177.0.0.1"}, {"hexadecimal", "0x7f.1"}, {"short", "127.1"}, {"any address", "0.0.0.0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn, err := HTTPPolicy{}.dial("")(t.Context(), "tcp", net.JoinHostPort(tc.host, port))
			if err == nil {
				conn.Close()
				t.Errorf("%s was dialled", tc.host)
			}
		})
	}
}

// jsonSignature is one signature of a JWS in the JSON serialisation.
func jsonSignature(t testing.TB, key crypto.Signer, claims map[string]any) string {
	t.Helper()
	parts := strings.Split(sign(t, key, "RS256", map[string]any{"kid": "rsa"}, claims), ".")
	raw, err := json.Marshal(map[string]string{"protected": parts[0], "signature": parts[2]})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// selfSigned is a certificate as x5c has it.
func selfSigned(t testing.TB, key crypto.Signer) string {
	t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: start, NotAfter: start.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}
