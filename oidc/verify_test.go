package oidc

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sigbox/sigbox/internal/clock"
)

func TestVerifyAccepts(t *testing.T) {
	i, k := newIssuer(t), testKeys()
	for _, tc := range []struct{ name, raw string }{
		{"RS256", i.token(t, nil)},
		{"ES256 with the curve's own hash", sign(t, k.p256, "ES256", map[string]any{"kid": "p256"}, i.claims(nil))},
		{"ES384", sign(t, k.p384, "ES384", map[string]any{"kid": "p384"}, i.claims(nil))},
		{"audience as a list of one", i.token(t, map[string]any{"aud": []string{"sigstore"}})},
		{"no iat and no nbf", i.token(t, map[string]any{"iat": nil, "nbf": nil})},
		{"clock of the issuer a little ahead", i.token(t, map[string]any{"iat": start.Unix() + 60, "nbf": start.Unix() + 60})},
		{"fractional times, as some issuers write them", i.token(t, map[string]any{"exp": float64(start.Unix()) + 60.5})},
		{"last second before expiry", i.token(t, map[string]any{"exp": start.Unix()})},
		{"key references in the header are ignored", sign(t, k.rsa, "RS256", map[string]any{"kid": "rsa", "jku": "https://evil.example/keys", "x5u": "https://evil.example/x"}, i.claims(nil))},
		{"nested claims", i.token(t, map[string]any{"kubernetes.io": map[string]any{"namespace": "default"}})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tok, err := i.verifier(t, Options{}).Verify(t.Context(), tc.raw)
			if err != nil {
				t.Fatal(err)
			}
			if tok.IssuerURL != i.URL || tok.Subject != "somebody" || tok.Claims["email"] != "dev@example.com" || tok.Issuer.URL != i.URL {
				t.Errorf("token = %+v", tok)
			}
		})
	}
}

// TestVerifyRefuses has a row for each cause. Every token but the malformed ones is signed with a
// real key, so that nothing but the named cause can refuse it.
func TestVerifyRefuses(t *testing.T) {
	i, k := newIssuer(t), testKeys()
	good := i.token(t, nil)
	head, rest, _ := strings.Cut(good, ".")
	body, sig, _ := strings.Cut(rest, ".")
	rsaPEM := func() []byte {
		der, err := x509.MarshalPKIXPublicKey(k.rsa.Public())
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}()
	rsaDER, _ := x509.MarshalPKIXPublicKey(k.rsa.Public())
	rsaJWK, err := jose.JSONWebKey{Key: k.rsa.Public(), KeyID: "rsa", Algorithm: "RS256", Use: "sig"}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	withPayload := func(s string) string {
		return sign(t, k.rsa, "RS256", map[string]any{"kid": "rsa"}, []byte(s))
	}
	payload := func(format string, args ...any) string { // a good token's claims, then more
		return withPayload(fmt.Sprintf(`{"iss":%q,"sub":"s","aud":"sigstore","exp":%d`, i.URL, start.Unix()+60) + fmt.Sprintf(format, args...))
	}
	unsigned := func(header string) string {
		return b64([]byte(header)) + "." + body + "."
	}
	// The last character of a 256-byte signature carries 4 unused bits; setting one is another
	// spelling of the same bytes.
	loose := good[:len(good)-1] + string(good[len(good)-1]+1)

	for _, tc := range []struct {
		name, raw string
		want      Reason
	}{
		{"empty", "", ReasonSize},
		{"one byte too long", strings.Repeat("a", MaxTokenBytes+1), ReasonSize},
		{"nothing but dots", strings.Repeat(".", 60000), ReasonMalformed},
		{"two parts", head + "." + body, ReasonMalformed},
		{"four parts", good + ".AAAA", ReasonMalformed},
		{"five parts, an encrypted token", good + ".AAAA.AAAA", ReasonMalformed},
		{"JSON serialisation", `{"payload":"` + body + `","signatures":[]}`, ReasonMalformed},
		{"JSON serialisation with two signatures", `{"payload":"` + body + `","signatures":[` + jsonSignature(t, k.other, i.claims(nil)) + `,` + jsonSignature(t, k.rsa, i.claims(nil)) + `]}`, ReasonMalformed},
		{"scheme left in front", "Bearer " + good, ReasonMalformed},
		{"line break inside", head + "." + body[:4] + "\n" + body[4:] + "." + sig, ReasonMalformed},
		{"trailing newline, as from a token file", good + "\n", ReasonMalformed},
		{"padded base64", head + "." + body + "." + sig + "==", ReasonMalformed},
		{"standard base64 alphabet", head + "." + body + "." + strings.Replace(sig, sig[:1], "+", 1), ReasonMalformed},
		{"non-canonical last bits", loose, ReasonMalformed},
		{"empty signature", head + "." + body + ".", ReasonMalformed},
		{"header is no object", signRaw(t, `["RS256"]`, i.claims(nil)), ReasonMalformed},
		{"algorithm twice", signRaw(t, `{"alg":"RS256","ALG":"none"}`, i.claims(nil)), ReasonMalformed},
		{"payload is no object", withPayload(`["iss"]`), ReasonMalformed},
		{"half a surrogate pair", payload(`,"name":"\ud800"}`), ReasonMalformed},
		{"issuer twice", payload(`,"iss":"https://evil.example"}`), ReasonMalformed},
		{"audience twice, in another case", payload(`,"AUD":"other"}`), ReasonMalformed},
		{"subject twice, under Unicode folding", payload(`,"\u017fub":"other"}`), ReasonMalformed},
		{"data after the payload", payload(`}{}`), ReasonMalformed},
		{"payload not UTF-8", payload(",\"x\":\"\xff\"}"), ReasonMalformed},
		{"payload nested deep", payload(`,"x":%s%s}`, strings.Repeat("[", 40), strings.Repeat("]", 40)), ReasonMalformed},
		{"too many members", payload(`,"x":[%s0]}`, strings.Repeat("0,", 2100)), ReasonMalformed},

		{"alg none", unsigned(`{"alg":"none"}`), ReasonAlgorithm},
		{"alg none with capitals", unsigned(`{"alg":"nOnE"}`), ReasonAlgorithm},
		{"alg none with a real signature", signRaw(t, `{"alg":"none","kid":"rsa"}`, i.claims(nil)), ReasonAlgorithm},
		{"alg missing", signRaw(t, `{"kid":"rsa"}`, i.claims(nil)), ReasonAlgorithm},
		{"alg empty", signRaw(t, `{"alg":"","kid":"rsa"}`, i.claims(nil)), ReasonAlgorithm},
		{"alg is a number", signRaw(t, `{"alg":256,"kid":"rsa"}`, i.claims(nil)), ReasonAlgorithm},
		{"HS256 with the public key as PEM", sign(t, rsaPEM, "HS256", map[string]any{"kid": "rsa"}, i.claims(nil)), ReasonAlgorithm},
		{"HS256 with the public key as DER", sign(t, rsaDER, "HS256", map[string]any{"kid": "rsa"}, i.claims(nil)), ReasonAlgorithm},
		{"HS256 with the public key as JWK", sign(t, rsaJWK, "HS256", map[string]any{"kid": "rsa"}, i.claims(nil)), ReasonAlgorithm},
		{"RS1", signRaw(t, `{"alg":"RS1","kid":"rsa"}`, i.claims(nil)), ReasonAlgorithm},
		{"ES256K", signRaw(t, `{"alg":"ES256K","kid":"p256"}`, i.claims(nil)), ReasonAlgorithm},
		{"EdDSA, which the issuer does not advertise", sign(t, k.ed, "EdDSA", map[string]any{"kid": "ed"}, i.claims(nil)), ReasonAlgorithm},
		{"PS256 by a key that says RS256", sign(t, k.rsa, "PS256", map[string]any{"kid": "rsa"}, i.claims(nil)), ReasonKey},
		{"ES256 named for a P-384 key", sign(t, k.p256, "ES256", map[string]any{"kid": "p384"}, i.claims(nil)), ReasonKey},
		{"RS256 named for an EC key", sign(t, k.rsa, "RS256", map[string]any{"kid": "p256"}, i.claims(nil)), ReasonKey},
		{"kid unknown", sign(t, k.rsa, "RS256", map[string]any{"kid": "../../etc/passwd"}, i.claims(nil)), ReasonKey},
		{"kid missing where there are several keys", sign(t, k.rsa, "RS256", nil, i.claims(nil)), ReasonKey},
		{"kid is a number", signRaw(t, `{"alg":"RS256","kid":1}`, i.claims(nil)), ReasonHeader},
		{"kid very long", signRaw(t, `{"alg":"RS256","kid":"`+strings.Repeat("k", 4096)+`"}`, i.claims(nil)), ReasonHeader},
		{"crit", signRaw(t, `{"alg":"RS256","kid":"rsa","crit":["exp"],"exp":1}`, i.claims(nil)), ReasonHeader},
		{"crit of nothing", signRaw(t, `{"alg":"RS256","kid":"rsa","crit":[]}`, i.claims(nil)), ReasonHeader},
		{"crit of a name that nobody knows", signRaw(t, `{"alg":"RS256","kid":"rsa","crit":["x"],"x":1}`, i.claims(nil)), ReasonHeader},
		{"b64 false", signRaw(t, `{"alg":"RS256","kid":"rsa","b64":false}`, i.claims(nil)), ReasonHeader},
		{"zip", signRaw(t, `{"alg":"RS256","kid":"rsa","zip":"DEF"}`, i.claims(nil)), ReasonHeader},

		{"signed by another key of the same kid", sign(t, k.other, "RS256", map[string]any{"kid": "rsa"}, i.claims(nil)), ReasonSignature},
		{"the attacker's key in the header", sign(t, jose.JSONWebKey{Key: k.other, KeyID: "rsa"}, "RS256", map[string]any{"jwk": jose.JSONWebKey{Key: k.other.Public()}}, i.claims(nil)), ReasonSignature},
		{"the attacker's certificate in the header", sign(t, k.other, "RS256", map[string]any{"kid": "rsa", "x5c": []string{selfSigned(t, k.other)}}, i.claims(nil)), ReasonSignature},
		{"claims changed after signing", head + "." + b64([]byte(strings.Replace(decode(t, body), "dev@", "ceo@", 1))) + "." + sig, ReasonSignature},
		{"header changed after signing", b64([]byte(`{"alg":"RS256","kid":"rsa"}`)) + "." + body + "." + sig, ReasonSignature},

		{"issuer missing", i.token(t, map[string]any{"iss": nil}), ReasonIssuer},
		{"issuer under another case only", withPayload(strings.Replace(decode(t, body), `"iss"`, `"ISS"`, 1)), ReasonIssuer},
		{"issuer is a number", i.token(t, map[string]any{"iss": 1}), ReasonIssuer},
		{"issuer unknown", i.token(t, map[string]any{"iss": "https://accounts.google.com"}), ReasonIssuer},
		{"issuer with a slash at the end", i.token(t, map[string]any{"iss": i.URL + "/"}), ReasonIssuer},
		{"issuer with user information", i.token(t, map[string]any{"iss": strings.Replace(i.URL, "://", "://x@", 1)}), ReasonIssuer},
		{"issuer with a fragment", i.token(t, map[string]any{"iss": i.URL + "#"}), ReasonIssuer},
		{"issuer with a dot at the end of its host", i.token(t, map[string]any{"iss": strings.Replace(i.URL, "127.0.0.1", "127.0.0.1.", 1)}), ReasonIssuer},

		{"audience missing", i.token(t, map[string]any{"aud": nil}), ReasonAudience},
		{"audience of somebody else", i.token(t, map[string]any{"aud": "kubernetes"}), ReasonAudience},
		{"audience empty", i.token(t, map[string]any{"aud": ""}), ReasonAudience},
		{"audience is an empty list", i.token(t, map[string]any{"aud": []string{}}), ReasonAudience},
		{"audience is a list of nothing", i.token(t, map[string]any{"aud": []string{""}}), ReasonAudience},
		{"audience ours and another", i.token(t, map[string]any{"aud": []string{"sigstore", "other"}}), ReasonAudience},
		{"audience is a list of 1,000, ours the last", i.token(t, map[string]any{"aud": append(slices.Repeat([]string{"x"}, 999), "sigstore")}), ReasonAudience},
		{"audience is a number", i.token(t, map[string]any{"aud": 1}), ReasonAudience},
		{"audience is a list in a list", i.token(t, map[string]any{"aud": []any{[]string{"sigstore"}}}), ReasonAudience},

		{"expired a second ago", i.token(t, map[string]any{"exp": start.Unix() - 1}), ReasonExpired},
		{"expiry missing", i.token(t, map[string]any{"exp": nil}), ReasonTime},
		{"expiry is a string", i.token(t, map[string]any{"exp": "9999999999"}), ReasonTime},
		{"expired, and signed by another key", sign(t, k.other, "RS256", map[string]any{"kid": "rsa"}, i.claims(map[string]any{"exp": start.Unix() - 1})), ReasonExpired},
		{"expiry is not a number", payload(`,"exp":NaN}`), ReasonMalformed},
		{"expiry negative", i.token(t, map[string]any{"exp": -1}), ReasonTime},
		{"expiry beyond any calendar", withPayload(fmt.Sprintf(`{"iss":%q,"sub":"s","aud":"sigstore","exp":1e308}`, i.URL)), ReasonTime},
		{"expiry beyond a float", withPayload(fmt.Sprintf(`{"iss":%q,"sub":"s","aud":"sigstore","exp":1e400}`, i.URL)), ReasonTime},
		{"expiry more than a day ahead", i.token(t, map[string]any{"exp": start.Add(24*time.Hour + time.Second).Unix()}), ReasonTime},
		{"not before, beyond the leeway", i.token(t, map[string]any{"nbf": start.Unix() + 61}), ReasonNotYet},
		{"not before is a string", i.token(t, map[string]any{"nbf": "soon"}), ReasonTime},
		{"issued in the future", i.token(t, map[string]any{"iat": start.Unix() + 61}), ReasonNotYet},

		{"subject missing", i.token(t, map[string]any{"sub": nil}), ReasonSubject},
		{"subject empty", i.token(t, map[string]any{"sub": ""}), ReasonSubject},
		{"subject is a number", i.token(t, map[string]any{"sub": 7}), ReasonSubject},
		{"subject too long", i.token(t, map[string]any{"sub": strings.Repeat("s", MaxClaimBytes+1)}), ReasonSubject},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := i.verifier(t, Options{}).Verify(t.Context(), tc.raw)
			if reasonOf(err) != string(tc.want) {
				t.Fatalf("got %v, want reason %s", err, tc.want)
			}
			if !errors.Is(err, ErrToken) {
				t.Error("not an ErrToken")
			}
			if sig != "" && strings.Contains(err.Error(), sig) || len(err.Error()) > 600 {
				t.Errorf("error text holds the token or too much of it: %.700q", err)
			}
		})
	}
}

// Only what is configured may be called: everything that can be told without keys comes first.
func TestRefusedWithoutACall(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier(t, Options{})
	for _, over := range []map[string]any{
		{"iss": i.URL + "/"}, {"aud": "other"}, {"exp": start.Unix() - 1}, {"nbf": start.Unix() + 3600}, {"sub": ""},
	} {
		if _, err := v.Verify(t.Context(), i.token(t, over)); err == nil {
			t.Errorf("%v accepted", over)
		}
	}
	if n := i.asked.Load(); n != 0 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

func TestMaxAge(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier(t, Options{MaxAge: time.Minute})
	for iat, want := range map[any]string{start.Unix() - 60: "", start.Unix() - 61: "time", nil: "time"} {
		_, err := v.Verify(t.Context(), i.token(t, map[string]any{"iat": iat}))
		if got := ""; err != nil {
			got = reasonOf(err)
			if got != want {
				t.Errorf("iat %v: %v, want %q", iat, err, want)
			}
		} else if want != "" {
			t.Errorf("iat %v accepted", iat)
		}
	}
}

func TestStaticKeysNeedNoNetwork(t *testing.T) {
	i := newIssuer(t)
	set, err := StaticKeys(testKeys().rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	v := i.verifier(t, Options{Keys: map[string]KeySet{i.URL: set}})
	if _, err := v.Verify(t.Context(), i.token(t, nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), sign(t, testKeys().other, "RS256", map[string]any{"kid": "rsa"}, i.claims(nil))); reasonOf(err) != "signature" {
		t.Errorf("another key: %v", err)
	}
	if n := i.asked.Load(); n != 0 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// The clock that decides is the one given, at signature time too (go-oidc has its own check).
func TestClockIsTheOneGiven(t *testing.T) {
	i, c := newIssuer(t), clock.NewManual(start)
	v := i.verifier(t, Options{Clock: c})
	raw := i.token(t, nil)
	if _, err := v.Verify(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	c.Advance(10*time.Minute + time.Second)
	if _, err := v.Verify(t.Context(), raw); reasonOf(err) != "expired" {
		t.Errorf("after expiry: %v", err)
	}
}

func FuzzDissect(f *testing.F) {
	i := newIssuer(f)
	f.Add(i.token(f, nil))
	f.Add("..")
	f.Add(b64([]byte(`{"alg":"RS256"}`)) + "." + b64([]byte(`{"iss":"a","ISS":"b"}`)) + ".AAAA")
	f.Fuzz(func(t *testing.T, raw string) {
		alg, _, claims, err := dissect(raw)
		if err == nil && (claims == nil || alg == "" || alg == "none" || strings.HasPrefix(alg, "HS")) {
			t.Fatalf("accepted alg %q claims %v", alg, claims)
		}
		if err != nil && !errors.Is(err, ErrToken) {
			t.Fatalf("error of another class: %v", err)
		}
	})
}

func decode(t *testing.T, part string) string {
	t.Helper()
	b, err := b64dec(part)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
