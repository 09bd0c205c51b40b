package ctlog_test

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog/ctlog"
)

// authority is a CA of a company's PKI.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// authorityUnder makes a CA below another one, nil for a root.
func (s *stack) authorityUnder(t *testing.T, name string, above *authority) *authority {
	t.Helper()
	key, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	tmpl := s.template(func(c *x509.Certificate) {
		c.Subject, c.EmailAddresses, c.ExtKeyUsage = pkix.Name{CommonName: name}, nil, nil
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	})
	if above == nil {
		return &authority{makeCert(t, tmpl, nil, key.Public(), key), key}
	}
	return &authority{makeCert(t, tmpl, above.cert, key.Public(), above.key), key}
}

// TestSharedRoot: under a company's root, and its issuing CA, others issue too. A log that is told the chain of
// our authority takes nothing of theirs; under a root of which it is told no chain it takes what comes.
func TestSharedRoot(t *testing.T) {
	s := newStack(t)
	root := s.authorityUnder(t, "Corp root", nil)
	issuing := s.authorityUnder(t, "Corp issuing", root)
	ours, others := s.authorityUnder(t, "sigbox", issuing), s.authorityUnder(t, "build farm", issuing)
	below := s.authorityUnder(t, "below sigbox", ours)
	renewed := &authority{makeCert(t, s.template(func(c *x509.Certificate) {
		c.Subject, c.EmailAddresses, c.ExtKeyUsage = pkix.Name{CommonName: "Corp issuing"}, nil, nil
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	}), root.cert, issuing.key.Public(), root.key), issuing.key}
	chain := []*x509.Certificate{ours.cert, issuing.cert, root.cert}
	server, err := ctlog.New(ctlog.Config{
		Log: s.log, Signer: s.key, Roots: []*x509.Certificate{s.ca.Root, root.cert}, Narrow: [][]*x509.Certificate{chain}, Clock: s.clock, Logger: discard(),
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	server.Register(mux)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	company := &stack{url: srv.URL}
	const foreign = "chain is not one of this log's authorities"
	leaf := func(by *authority, extensions ...pkix.Extension) *x509.Certificate {
		key, err := keys.NewECDSA()
		if err != nil {
			t.Fatal(err)
		}
		return makeCert(t, s.template(func(c *x509.Certificate) { c.ExtraExtensions = extensions }), by.cert, key.Public(), by.key)
	}
	for _, tc := range []struct {
		name  string
		chain []*x509.Certificate // without its leaf, where by is one
		by    *authority
		want  string
	}{
		{"ours", chain, ours, ""},
		{"ours without the root", chain[:2], ours, ""},
		{"another CA of the same issuer", []*x509.Certificate{others.cert, issuing.cert, root.cert}, others, foreign},
		{"the issuing CA itself", chain[1:], issuing, foreign},
		{"the root itself", chain[2:], root, foreign},
		{"a CA below ours", append([]*x509.Certificate{below.cert}, chain...), below, foreign},
		{"the issuing CA's certificate renewed", []*x509.Certificate{ours.cert, renewed.cert, root.cert}, ours, foreign},
		{"our certificate", chain, nil, ""},
		{"the issuing CA's certificate", chain[1:], nil, ""},
		{"the root's certificate", chain[2:], nil, ""},
		{"the root itself, after its certificate", chain[2:], root, foreign},
		{"another CA's certificate", []*x509.Certificate{others.cert, issuing.cert, root.cert}, nil, foreign},
		{"the certificate of a CA below ours", append([]*x509.Certificate{below.cert}, chain...), nil, foreign},
		{"a root that has no chain of ours", s.ca.Chain(), &authority{s.ca.Intermediate, s.ca.IntermediateKey}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path, list := "/ct/v1/add-chain", tc.chain
			if tc.by != nil {
				path, list = "/ct/v1/add-pre-chain", append([]*x509.Certificate{leaf(tc.by, poison)}, tc.chain...)
			}
			raw := make([][]byte, len(list))
			for i, c := range list {
				raw[i] = c.Raw
			}
			want := http.StatusOK
			if tc.want != "" {
				want = http.StatusBadRequest
			}
			if status, body := company.post(t, path, chainBody(t, raw)); status != want || !strings.Contains(body, tc.want) {
				t.Errorf("%d %s, want %d %q", status, body, want, tc.want)
			}
		})
	}
	other, err := ca.NewHierarchy(s.clock, "other")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ctlog.New(ctlog.Config{
		Log: s.log, Signer: s.key, Roots: []*x509.Certificate{root.cert}, Narrow: [][]*x509.Certificate{other.Chain()}, Clock: s.clock, Logger: discard(),
	}); err == nil {
		t.Error("a chain of another root is accepted")
	}
}
