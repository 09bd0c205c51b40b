package trustroot_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/ca/pki"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tuf/trustroot"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

// B-211: each row is what one reader would misread, and only the linter sees it before clients.
func TestLint(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const url = "https://sigstore.example.com"
	for _, tc := range []struct {
		name string
		do   func(m *trustroot.Material)
		want string // "" is fine
	}{
		{"as it is", func(*trustroot.Material) {}, ""},
		{"no TSA and no v2 log", func(m *trustroot.Material) { m.TSAs, m.RekorV2 = nil, nil }, ""},
		{"a CA that overlaps the one it follows", func(m *trustroot.Material) {
			m.CAs = append(m.CAs, tuftest.Material(t, url, now.Add(time.Hour)).CAs...)
		}, ""},
		{"two v1 logs at two addresses", func(m *trustroot.Material) {
			m.RekorV1 = append(m.RekorV1, tuftest.Material(t, "https://other.example.com", now).RekorV1...)
		}, ""},
		{"two v1 keys at one address, one after the other", func(m *trustroot.Material) {
			next := tuftest.Material(t, url, now.Add(time.Hour)).RekorV1
			m.RekorV1[0].Valid.End = next[0].Valid.Start
			m.RekorV1 = append(m.RekorV1, next...)
		}, ""},
		{"no operator", func(m *trustroot.Material) { m.Operator = "" }, "operator"},
		{"no CA", func(m *trustroot.Material) { m.CAs = nil }, "no certificate authority"},
		{"no v1 log", func(m *trustroot.Material) { m.RekorV1 = nil }, "no Rekor v1 log"},
		{"no CT log", func(m *trustroot.Material) { m.CTLogs = nil }, "no CT log"},
		{"no issuer", func(m *trustroot.Material) { m.Issuers = nil }, "no OIDC issuer"},
		{"a v2 log without a TSA", func(m *trustroot.Material) { m.TSAs = nil }, "without a timestamp authority"},
		{"CA without a start", func(m *trustroot.Material) { m.CAs[0].Valid.Start = time.Time{} }, "CA 1: validity has no start"},
		{"TSA without a start", func(m *trustroot.Material) { m.TSAs[0].Valid.Start = time.Time{} }, "TSA 1: validity has no start"},
		{"log without a start", func(m *trustroot.Material) { m.CTLogs[0].Valid.Start = time.Time{} }, "CT log 1: validity has no start"},
		{"issuer without a start", func(m *trustroot.Material) { m.Issuers[0].Valid.Start = time.Time{} }, "OIDC issuer 1: validity has no start"},
		{"end before start", func(m *trustroot.Material) { m.RekorV2[0].Valid.End = m.RekorV2[0].Valid.Start.Add(-1) }, "ends before it starts"},
		{"end at start", func(m *trustroot.Material) { m.RekorV2[0].Valid.End = m.RekorV2[0].Valid.Start }, "ends before it starts"},
		{"no key in use", func(m *trustroot.Material) { m.RekorV1[0].Valid.End = now.AddDate(1, 0, 0) }, "every Rekor v1 log has an end"},
		{"two keys of one log at a time", func(m *trustroot.Material) {
			m.RekorV1 = append(m.RekorV1, tuftest.Material(t, url, now.Add(time.Hour)).RekorV1...)
		}, "overlaps that of Rekor v1 log 1"},
		{"two v2 logs on two ports of one host", func(m *trustroot.Material) {
			m.RekorV2 = append(m.RekorV2, tuftest.Material(t, "https://sigstore.example.com:8443", now).RekorV2...)
		}, "overlaps that of Rekor v2 log 1, which has the same origin"},
		{"a v2 shard that another one goes on for", func(m *trustroot.Material) {
			m.RekorV2 = append(m.RekorV2, tuftest.Material(t, url, now.Add(time.Hour)).RekorV2...)
			m.RekorV2[0].URL += shardPath(t, m.RekorV2[0])
		}, ""},
		{"a v2 shard that nothing goes on for", func(m *trustroot.Material) { m.RekorV2[0].URL += shardPath(t, m.RekorV2[0]) }, "every Rekor v2 log has an end"},
		{"a v2 shard below the id of another", func(m *trustroot.Material) {
			m.RekorV2 = append(m.RekorV2, tuftest.Material(t, url, now.Add(time.Hour)).RekorV2...)
			m.RekorV2[0].URL += shardPath(t, m.RekorV2[1])
		}, "want no path"},
		{"a v1 log below /shards/", func(m *trustroot.Material) { m.RekorV1[0].URL += shardPath(t, m.RekorV1[0]) }, "want no path"},
		{"one log twice", func(m *trustroot.Material) {
			again := m.CTLogs[0]
			again.URL = "https://elsewhere.example.com"
			m.CTLogs = append(m.CTLogs, again)
		}, "has the log id of CT log 1"},
		{"one CA twice", func(m *trustroot.Material) { m.CAs = append(m.CAs, m.CAs[0]) }, "CA 2 is CA 1 again"},
		{"v1 and v2 share a key", func(m *trustroot.Material) { m.RekorV2[0].Key = m.RekorV1[0].Key }, "Rekor v2 log 1: shares its key with a Rekor v1 log"},
		{"CT and v1 share a key", func(m *trustroot.Material) { m.CTLogs[0].Key = m.RekorV1[0].Key }, "CT log 1: shares its key with a Rekor v1 log"},
		{"one root above CA and TSA", func(m *trustroot.Material) { m.CAs[0].Chain, m.TSAs[0].Chain = oneRoot(t) }, ""},
		{"a log has the key of that root", func(m *trustroot.Material) {
			m.CAs[0].Chain, m.TSAs[0].Chain = oneRoot(t)
			m.CTLogs[0].Key = m.CAs[0].Chain[1].PublicKey
		}, "CT log 1: shares its key with a certificate above an authority"},
		{"the TSA's key is above the CA", func(m *trustroot.Material) {
			m.CAs[0].Chain, m.TSAs[0].Chain = oneRoot(t)
			m.TSAs[0].Chain[0] = m.CAs[0].Chain[1]
		}, "TSA 1: shares its key with a certificate above an authority"},
		{"a log has the CA's key", func(m *trustroot.Material) { m.CTLogs[0].Key = m.CAs[0].Chain[0].PublicKey }, "shares its key with a CA"},
		{"CA and TSA share a root", func(m *trustroot.Material) {
			key, leafKey := tuftest.Key(t), tuftest.Key(t)
			r := tuftest.Issue(t, tuftest.CA("shared", now), nil, key, key)
			leaf := *m.TSAs[0].Chain[0]
			m.CAs[0].Chain = []*x509.Certificate{r}
			m.TSAs[0].Chain = []*x509.Certificate{tuftest.Issue(t, &leaf, r, leafKey, key), r}
		}, "TSA 1: shares its key with a CA"},
		{"a P-384 log", func(m *trustroot.Material) { m.RekorV1[0].Key = p384.Public() }, "not ECDSA P-256"},
		{"an Ed25519 log", func(m *trustroot.Material) { m.RekorV2[0].Key = ed }, "not ECDSA P-256"},
		{"no key", func(m *trustroot.Material) { m.RekorV2[0].Key = nil }, "not ECDSA P-256"},
		{"an empty chain", func(m *trustroot.Material) { m.CAs[0].Chain = nil }, "CA 1: the chain is too short"},
		{"a TSA leaf alone", func(m *trustroot.Material) { m.TSAs[0].Chain = m.TSAs[0].Chain[:1] }, "TSA 1: the chain is too short"},
		{"an intermediate alone", func(m *trustroot.Material) { m.CAs[0].Chain = m.CAs[0].Chain[:1] }, "the last is no root"},
		{"a CA chain from the root", func(m *trustroot.Material) { slices.Reverse(m.CAs[0].Chain) }, "certificate 1 is not signed by the next"},
		{"a TSA chain from the root", func(m *trustroot.Material) { slices.Reverse(m.TSAs[0].Chain) }, "certificate 1 is of the wrong kind: want a leaf"},
		{"chains of two CAs mixed", func(m *trustroot.Material) { m.CAs[0].Chain[1] = tuftest.CAChain(t, now)[1] }, "certificate 1 is not signed by the next"},
		{"a TSA chain for a CA", func(m *trustroot.Material) { m.CAs[0].Chain = tuftest.TSAChain(t, now) }, "certificate 1 is of the wrong kind: want a CA"},
		{"a leaf that is not for timestamping", func(m *trustroot.Material) { m.TSAs[0].Chain = chainOf(t, "TSA", nil) }, "not for timestamping"},
		{"a CA without an organization", func(m *trustroot.Material) {
			template, key := tuftest.CA("root", now), tuftest.Key(t)
			template.Subject = pkix.Name{CommonName: "root"}
			m.CAs[0].Chain = []*x509.Certificate{tuftest.Issue(t, template, nil, key, key)}
		}, "want organization and common name"},
		{"a slash at the end", func(m *trustroot.Material) { m.CAs[0].URL += "/" }, "no slash at the end"},
		{"a CA below a path", func(m *trustroot.Material) { m.CAs[0].URL += "/fulcio" }, "want no path"},
		{"a log below a path", func(m *trustroot.Material) { m.RekorV1[0].URL += "/rekor" }, "want no path"},
		{"no scheme", func(m *trustroot.Material) { m.RekorV1[0].URL = "sigstore.example.com" }, "want http or https"},
		{"another scheme", func(m *trustroot.Material) { m.RekorV1[0].URL = "file:///x" }, "want http or https"},
		{"a password in the URL", func(m *trustroot.Material) { m.Issuers[0].URL = "https://u:p@sigstore.example.com" }, "nothing secret"},
		{"a query", func(m *trustroot.Material) { m.TSAs[0].URL += "?x=y" }, "nothing secret"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := tuftest.Material(t, url, now)
			tc.do(&m)
			targets, err := trustroot.Compose(m)
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, trustroot.ErrMaterial) || !strings.Contains(err.Error(), tc.want) || targets != nil {
				t.Errorf("error %v\nwant one that says %q", err, tc.want)
			}
		})
	}
}

// TestLintSaysItAll: one run names every problem.
func TestLintSaysItAll(t *testing.T) {
	m := tuftest.Material(t, "https://sigstore.example.com", now)
	m.Operator, m.CTLogs, m.RekorV1[0].Valid.Start = "", nil, time.Time{}
	err := m.Lint()
	for _, want := range []string{"operator", "no CT log", "Rekor v1 log 1: validity has no start"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}

func chainOf(t *testing.T, name string, use []x509.ExtKeyUsage) []*x509.Certificate {
	t.Helper()
	rootKey := tuftest.Key(t)
	r := tuftest.Issue(t, tuftest.CA("root", now), nil, rootKey, rootKey)
	leaf := *tuftest.TSAChain(t, now)[0]
	leaf.Subject.CommonName, leaf.ExtKeyUsage = name, use
	return []*x509.Certificate{tuftest.Issue(t, &leaf, r, tuftest.Key(t), rootKey), r}
}

// oneRoot returns the chains of a CA and a TSA that stand below the same root, as in a company's PKI.
func oneRoot(t *testing.T) (ca, tsa []*x509.Certificate) {
	t.Helper()
	rootKey, root, err := pki.NewRoot(clock.System{}, "Example Corp", "p256")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []pki.Purpose{pki.CA, pki.TSA} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		chain, err := pki.Sign(clock.System{}, pki.Asked{Purpose: p, Subject: pki.Subject(p, "Example Corp"), Key: key.Public()}, []*x509.Certificate{root}, rootKey)
		if err != nil {
			t.Fatal(err)
		}
		if p == pki.CA {
			ca = chain
		} else {
			tsa = chain
		}
	}
	return ca, tsa
}

// shardPath is where a shard is that another one goes on for.
func shardPath(t *testing.T, g trustroot.Log) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(g.Key)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("/shards/%x", sha256.Sum256(der))
}

// TestShardIsNotSignedWith: the signing configuration names the shard that takes entries, and the trusted
// root both.
func TestShardIsNotSignedWith(t *testing.T) {
	const url = "https://sigstore.example.com"
	m := tuftest.Material(t, url, now)
	m.RekorV2 = append(m.RekorV2, tuftest.Material(t, url, now.Add(time.Hour)).RekorV2...)
	m.RekorV2[0].URL += shardPath(t, m.RekorV2[0])
	targets, err := trustroot.Compose(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range targets {
		want := 0
		if target.Name == trustroot.TrustedRootName {
			want = 1
		}
		if n := strings.Count(string(target.Content), "/shards/"); n != want {
			t.Errorf("%s names the frozen shard %d times, want %d", target.Name, n, want)
		}
		if target.Name == trustroot.SigningConfigV2Name && strings.Count(string(target.Content), `"majorApiVersion": 2`) != 1 {
			t.Errorf("%s: %s", target.Name, target.Content)
		}
	}
}
