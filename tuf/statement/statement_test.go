package statement_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tsa"
	"github.com/sigbox/sigbox/tuf/statement"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func ofLog(k crypto.Signer) statement.Statement {
	return statement.Statement{
		Instance: "0123456789abcdef", Role: statement.RekorV1, URL: "https://log.example", Origin: "log.example - 7",
		Key: k.Public(), ValidFrom: now.Add(-time.Hour), Made: now,
	}
}

func ofCA(t testing.TB) (statement.Statement, crypto.Signer) {
	t.Helper()
	h, err := ca.NewHierarchy(clock.NewManual(now), "test")
	if err != nil {
		t.Fatal(err)
	}
	return statement.Statement{
		Instance: "0123456789abcdef", Role: statement.CA, URL: "https://ca.example", Chain: h.Chain(),
		Issuers: []string{"https://issuer.example/a"}, ValidFrom: now, Made: now,
	}, h.IntermediateKey
}

func sign(t testing.TB, s statement.Statement, k crypto.Signer) []byte {
	t.Helper()
	raw, err := statement.Sign(s, k)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestRoundTrip(t *testing.T) {
	logKey := newKey(t)
	authority, caKey := ofCA(t)
	c, err := tsa.NewChain(clock.NewManual(now), "test")
	if err != nil {
		t.Fatal(err)
	}
	stamping := statement.Statement{
		Instance: "0123456789abcdef", Role: statement.TSA, URL: "https://ca.example/api/v1/timestamp", Chain: c.Certificates(), ValidFrom: now, Made: now.Add(1),
	}
	for _, tc := range []struct {
		s   statement.Statement
		key crypto.Signer
	}{{ofLog(logKey), logKey}, {authority, caKey}, {stamping, c.Leaf.Key}} {
		got, err := statement.Open(sign(t, tc.s, tc.key))
		if err != nil {
			t.Errorf("%s: %v", tc.s.Role, err)
			continue
		}
		if !got.Same(tc.s) || got.Made.Unix() != tc.s.Made.Unix() || got.URL != tc.s.URL || !got.ValidFrom.Equal(tc.s.ValidFrom) {
			t.Errorf("%s: opened %+v, signed %+v", tc.s.Role, got, tc.s)
		}
		want, err := keys.ID(tc.key.Public())
		if err != nil || got.KeyID() != want {
			t.Errorf("%s: key id %x, want %x", tc.s.Role, got.KeyID(), want)
		}
		later := got
		later.Made = later.Made.Add(time.Hour)
		if !later.Same(got) {
			t.Error("the time it was made tells two statements apart")
		}
		later.URL += "/x"
		if later.Same(got) {
			t.Error("another URL says the same")
		}
	}
}

// TestSignRefuses: nothing that Open would refuse is signed.
func TestSignRefuses(t *testing.T) {
	key := newKey(t)
	small, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	authority, caKey := ofCA(t)
	for _, tc := range []struct {
		name   string
		from   statement.Statement
		key    crypto.Signer
		change func(*statement.Statement)
		want   string
	}{
		{"no instance", ofLog(key), key, func(s *statement.Statement) { s.Instance = "" }, "instance"},
		{"an instance that is no id", ofLog(key), key, func(s *statement.Statement) { s.Instance = "../../etc" }, "instance"},
		{"a role that there is not", ofLog(key), key, func(s *statement.Statement) { s.Role = "root" }, "role \"root\""},
		{"no URL", ofLog(key), key, func(s *statement.Statement) { s.URL = "" }, "url"},
		{"a URL with a password", ofLog(key), key, func(s *statement.Statement) { s.URL = "https://a:b@log.example" }, "url"},
		{"a slash at the end", ofLog(key), key, func(s *statement.Statement) { s.URL += "/" }, "url"},
		{"a log without origin", ofLog(key), key, func(s *statement.Statement) { s.Origin = "" }, "has an origin"},
		{"an origin of two lines", ofLog(key), key, func(s *statement.Statement) { s.Origin = "a\nb" }, "one line"},
		{"a log with a chain", ofLog(key), key, func(s *statement.Statement) { s.Chain = authority.Chain }, "neither chain"},
		{"a log without key", ofLog(key), key, func(s *statement.Statement) { s.Key = nil }, "has a key"},
		{"a P-384 key", ofLog(key), small, func(s *statement.Statement) { s.Key = small.Public() }, "want ECDSA P-256"},
		{"another's key", ofLog(key), newKey(t), func(*statement.Statement) {}, "not with another"},
		{"an authority with an origin", authority, caKey, func(s *statement.Statement) { s.Origin = "x" }, "neither key nor origin"},
		{"an authority without chain", authority, caKey, func(s *statement.Statement) { s.Chain = nil }, "chain of 0"},
		{"a chain that is too long", authority, caKey, func(s *statement.Statement) {
			for len(s.Chain) < 9 {
				s.Chain = append(s.Chain, s.Chain[0])
			}
		}, "chain of 9"},
		{"issuers of a timestamp authority", authority, caKey, func(s *statement.Statement) { s.Role = statement.TSA }, "no issuers"},
		{"an issuer twice", authority, caKey, func(s *statement.Statement) { s.Issuers = append(s.Issuers, s.Issuers[0]) }, "twice"},
		{"an issuer that is no URL", authority, caKey, func(s *statement.Statement) { s.Issuers = []string{"x"} }, "issuer: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := tc.from
			tc.change(&s)
			_, err := statement.Sign(s, tc.key)
			if !errors.Is(err, statement.ErrStatement) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one that says %q", err, tc.want)
			}
		})
	}
}

type envelope struct {
	PayloadType string `json:"payloadType"`
	Payload     string `json:"payload"`
	Signatures  []sig  `json:"signatures"`
}

type sig struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"`
}

// forge signs any payload with a key, as its holder can.
func forge(t testing.TB, typ, payload string, k crypto.Signer) envelope {
	t.Helper()
	digest := sha256.Sum256(dsse.PAE(typ, []byte(payload)))
	b, err := k.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	id, err := keys.ID(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.StdEncoding.EncodeToString
	return envelope{typ, enc([]byte(payload)), []sig{{hex.EncodeToString(id[:]), enc(b)}}}
}

// TestOpenRefuses: each row is one cause; the first is accepted, so that the others cannot fail for
// what they share.
func TestOpenRefuses(t *testing.T) {
	key, other := newKey(t), newKey(t)
	good := payloadOf(t, sign(t, ofLog(key), key))
	refuse := func(old, new string) func() envelope {
		return func() envelope {
			changed := strings.Replace(good, old, new, 1)
			if changed == good {
				t.Fatalf("%q is not in the payload", old)
			}
			return forge(t, statement.PayloadType, changed, key)
		}
	}
	for _, tc := range []struct {
		name string
		make func() envelope
		want string
	}{
		{"good", func() envelope { return forge(t, statement.PayloadType, good, key) }, ""},
		{"signed with another key", func() envelope {
			e := forge(t, statement.PayloadType, good, other)
			e.Signatures[0].KeyID = forge(t, statement.PayloadType, good, key).Signatures[0].KeyID
			return e
		}, "does not have the key"},
		{"another key, under its own id", func() envelope { return forge(t, statement.PayloadType, good, other) }, "key id is not that"},
		{"a changed payload", func() envelope {
			e := forge(t, statement.PayloadType, good, key)
			e.Payload = base64.StdEncoding.EncodeToString([]byte(strings.Replace(good, "https://log.example", "https://evil.example", 1)))
			return e
		}, "does not have the key"},
		{"another payload type", func() envelope { return forge(t, "application/vnd.in-toto+json", good, key) }, "payload type"},
		{"signed for another type", func() envelope {
			e := forge(t, "application/vnd.in-toto+json", good, key)
			e.PayloadType = statement.PayloadType
			return e
		}, "does not have the key"},
		{"no signature", func() envelope {
			e := forge(t, statement.PayloadType, good, key)
			e.Signatures = nil
			return e
		}, "0 signatures"},
		{"two signatures", func() envelope {
			e := forge(t, statement.PayloadType, good, key)
			e.Signatures = append(e.Signatures, e.Signatures[0])
			return e
		}, "2 signatures"},
		{"an unknown field", refuse(`{"instance"`, `{"x":1,"instance"`), `unknown field "x"`},
		{"a field twice", refuse(`{"instance"`, `{"role":"ct","instance"`), "duplicate field"},
		{"another role", refuse(`"rekor-v1"`, `"root"`), "role"},
		{"white space", refuse(`,"url"`, `, "url"`), "form that sigbox writes"},
		{"fields in another order", refuse(`"role":"rekor-v1","url":"https://log.example"`, `"url":"https://log.example","role":"rekor-v1"`), "form that sigbox writes"},
		{"a time with a fraction", refuse(`12:00:00Z`, `12:00:00.5Z`), "whole seconds"},
		{"a time with an offset", refuse(`12:00:00Z`, `12:00:00+00:00`), "YYYY-MM-DD"},
		{"no key", refuse(`"key":"`, `"key":"AAAA`), "not a SubjectPublicKeyInfo"},
		{"a P-384 key", func() envelope {
			k, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			spki := func(k crypto.Signer) string {
				der, err := keys.SPKI(k.Public())
				if err != nil {
					t.Fatal(err)
				}
				return base64.StdEncoding.EncodeToString(der)
			}
			return forge(t, statement.PayloadType, strings.Replace(good, spki(key), spki(k), 1), k)
		}, "want ECDSA P-256"},
		{"null", func() envelope { return forge(t, statement.PayloadType, "null", key) }, "valid_from"},
		{"no JSON", func() envelope { return forge(t, statement.PayloadType, "{", key) }, "payload"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			raw, err := json.Marshal(tc.make())
			if err != nil {
				t.Fatal(err)
			}
			_, err = statement.Open(raw)
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, statement.ErrStatement) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one that says %q", err, tc.want)
			}
		})
	}
	t.Run("too large", func(t *testing.T) {
		raw := append(sign(t, ofLog(key), key), bytes.Repeat([]byte(" "), statement.MaxSize)...)
		if _, err := statement.Open(raw); err == nil || !strings.Contains(err.Error(), "at most 65536") {
			t.Error(err)
		}
	})
}

func payloadOf(t testing.TB, raw []byte) string {
	t.Helper()
	var e envelope
	if err := json.Unmarshal(raw, &e); err != nil {
		t.Fatal(err)
	}
	p, err := base64.StdEncoding.DecodeString(e.Payload)
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// FuzzOpen: whatever opens is signed by its subject, and is what Sign writes.
func FuzzOpen(f *testing.F) {
	key := newKey(f)
	f.Add(sign(f, ofLog(key), key))
	authority, caKey := ofCA(f)
	f.Add(sign(f, authority, caKey))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := statement.Open(raw)
		if err == nil && (s.Instance == "" || s.Role.Service() == "" || s.KeyID() == [32]byte{}) {
			t.Errorf("opened %+v", s)
		}
	})
}
