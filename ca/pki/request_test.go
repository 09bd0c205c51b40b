package pki_test

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/ca/pki"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
)

var purposes = []pki.Purpose{pki.CA, pki.TSA}

// TestSign: the offline root answers a request, and Check and the clients take the answer.
func TestSign(t *testing.T) {
	for _, curve := range []string{"p256", "p384"} {
		rootKey, root, err := pki.NewRoot(clock.System{}, "Example Corp", curve)
		if err != nil {
			t.Fatal(err)
		}
		if years := root.NotAfter.Sub(root.NotBefore).Hours() / 24 / 365; years < 9.9 || years > 10.1 {
			t.Errorf("the root is valid for %.1f years", years)
		}
		for _, p := range purposes {
			key := signer(t)
			request, err := pki.Request(key, p, pki.Subject(p, "Example Corp"))
			if err != nil {
				t.Fatal(err)
			}
			asked, err := pki.ParseRequest(request)
			if err != nil || asked.Purpose != p {
				t.Fatalf("%s: %+v %v", p, asked, err)
			}
			chain, err := pki.Sign(clock.System{}, asked, []*x509.Certificate{root}, rootKey)
			if err == nil {
				chain, err = pki.ParseChain(append([]byte("subject=...\n"), pki.ChainPEM(chain)...))
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := pki.Check(p, chain, key, clock.System{}); err != nil {
				t.Error(err)
			}
			clientsTake(t, p, chain, key)
		}
	}
}

// TestSignedNoLongerThanItsIssuer: a root in its last year issues for that year.
func TestSignedNoLongerThanItsIssuer(t *testing.T) {
	now := time.Now()
	rootKey, root, err := pki.NewRoot(clock.NewManual(now.AddDate(-9, 0, 0)), "Example Corp", "p256")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range purposes {
		asked := request(t, p, signer(t))
		chain, err := pki.Sign(clock.NewManual(now), asked, []*x509.Certificate{root}, rootKey)
		if err != nil || !chain[0].NotAfter.Equal(root.NotAfter) {
			t.Errorf("%s: %v", p, err)
		}
		if _, err := pki.Sign(clock.NewManual(now.AddDate(2, 0, 0)), asked, []*x509.Certificate{root}, rootKey); err == nil || !strings.Contains(err.Error(), "cannot sign now") {
			t.Errorf("%s: a root that has expired signs: %v", p, err)
		}
		if _, err := pki.Sign(clock.NewManual(now), asked, []*x509.Certificate{root}, signer(t)); err == nil || !strings.Contains(err.Error(), "not that of the certificate") {
			t.Errorf("%s: another key than the root's: %v", p, err)
		}
		if _, err := pki.Sign(clock.NewManual(now), request(t, p, rootKey), []*x509.Certificate{root}, rootKey); err == nil || !strings.Contains(err.Error(), "root's own key") {
			t.Errorf("%s: the root's key gets a certificate: %v", p, err)
		}
	}
}

func request(t *testing.T, p pki.Purpose, key crypto.Signer) pki.Asked {
	t.Helper()
	text, err := pki.Request(key, p, pki.Subject(p, "Example Corp"))
	if err != nil {
		t.Fatal(err)
	}
	asked, err := pki.ParseRequest(text)
	if err != nil {
		t.Fatal(err)
	}
	return asked
}

func TestRequestRefuses(t *testing.T) {
	name := pki.Subject(pki.CA, "o")
	rsaKey, err := keys.NewRSA()
	if err != nil {
		t.Fatal(err)
	}
	for what, row := range map[string]struct {
		key  crypto.Signer
		name pkix.Name
		want string
	}{
		"an RSA key":      {rsaKey, name, "not ECDSA P-256"},
		"no organization": {signer(t), pkix.Name{CommonName: "c"}, "needs an organization"},
		"no name":         {signer(t), pkix.Name{Organization: []string{"o"}}, "and a common name"},
	} {
		if _, err := pki.Request(row.key, pki.CA, row.name); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, _, err := pki.NewRoot(clock.System{}, "o", "p224"); err == nil || !strings.Contains(err.Error(), "p256 or p384") {
		t.Errorf("%v", err)
	}
	if _, _, err := pki.NewRoot(clock.System{}, "", "p256"); err == nil || !strings.Contains(err.Error(), "organization") {
		t.Errorf("%v", err)
	}
}

func TestParseRequestRefuses(t *testing.T) {
	good, err := pki.Request(signer(t), pki.CA, pki.Subject(pki.CA, "o"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(good)
	of := func(key crypto.Signer, csr x509.CertificateRequest) []byte {
		der, err := x509.CreateCertificateRequest(rand.Reader, &csr, key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	}
	changed := append([]byte(nil), block.Bytes...)
	changed[len(changed)-1] ^= 1
	rsaKey, err := keys.NewRSA()
	if err != nil {
		t.Fatal(err)
	}
	name := pki.Subject(pki.CA, "o")
	for what, row := range map[string]struct {
		text []byte
		want string
	}{
		"nothing":               {nil, "want one PEM block"},
		"a certificate":         {[]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"), "want one PEM block"},
		"two":                   {append(append([]byte(nil), good...), good...), "want one PEM block"},
		"not DER":               {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte{1}}), "is not a certificate signing request"},
		"a changed signature":   {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: changed}), "not signed with its own key"},
		"an RSA key":            {of(rsaKey, x509.CertificateRequest{Subject: name}), "not ECDSA P-256"},
		"no organization":       {of(signer(t), x509.CertificateRequest{Subject: pkix.Name{CommonName: "c"}}), "names no organization"},
		"no purpose":            {of(signer(t), x509.CertificateRequest{Subject: name}), "does not ask for"},
		"a purpose of servers":  {of(signer(t), x509.CertificateRequest{Subject: name, ExtraExtensions: usages(t, false, server)}), "does not ask for"},
		"a purpose and another": {of(signer(t), x509.CertificateRequest{Subject: name, ExtraExtensions: usages(t, false, stamping, server)}), "does not ask for"},
	} {
		if _, err := pki.ParseRequest(row.text); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", what, err, row.want)
		}
	}
}

func TestParseChainRefuses(t *testing.T) {
	_, root, err := pki.NewRoot(clock.System{}, "o", "p256")
	if err != nil {
		t.Fatal(err)
	}
	good := string(pki.ChainPEM([]*x509.Certificate{root}))
	request, err := pki.Request(signer(t), pki.CA, pki.Subject(pki.CA, "o"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := keys.PrivatePEM(signer(t))
	if err != nil {
		t.Fatal(err)
	}
	for what, row := range map[string]struct{ text, want string }{
		"cut off":      {good + good[:len(good)-40], "cut off"},
		"a request":    {string(request), "is the request"},
		"a key":        {good + string(key), "is a private key"},
		"PKCS #7":      {"-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----\n", "is a PKCS #7 bundle"},
		"a public key": {"-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n", `of type "PUBLIC KEY"`},
		"not X.509":    {"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", "cannot be read"},
	} {
		_, err := pki.ParseChain([]byte(row.text))
		var refusal *pki.Refusal
		if !errors.As(err, &refusal) || !strings.Contains(refusal.Cause, row.want) || refusal.Todo == "" {
			t.Errorf("%s: %v, want %q", what, err, row.want)
		}
	}
}

// TestOpenSSL: another PKI answers the requests. openssl ca copies what they ask for, three tiers up.
func TestOpenSSL(t *testing.T) {
	dir := t.TempDir()
	openssl := func(args ...string) {
		t.Helper()
		cmd := exec.Command("openssl", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	openssl("req", "-x509", "-newkey", "rsa:3072", "-nodes", "-keyout", "root.key", "-out", "root.pem", "-days", "3650", "-subj", "/O=Corp/CN=Corp Root",
		"-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
	openssl("req", "-newkey", "rsa:3072", "-nodes", "-keyout", "issuing.key", "-out", "issuing.csr", "-subj", "/O=Corp/CN=Corp Issuing CA",
		"-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
	openssl("x509", "-req", "-in", "issuing.csr", "-CA", "root.pem", "-CAkey", "root.key", "-days", "1825", "-copy_extensions", "copyall", "-out", "issuing.pem")
	for _, p := range purposes {
		key := signer(t)
		request, err := pki.Request(key, p, pki.Subject(p, "Corp"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "own.csr"), request, 0o600); err != nil {
			t.Fatal(err)
		}
		openssl("x509", "-req", "-in", "own.csr", "-CA", "issuing.pem", "-CAkey", "issuing.key", "-days", "1000", "-copy_extensions", "copyall", "-out", "own.pem")
		var text []byte
		for _, name := range []string{"own.pem", "issuing.pem", "root.pem"} {
			raw, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			text = append(text, raw...)
		}
		chain, err := pki.ParseChain(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := pki.Check(p, chain, key, clock.System{}); err != nil {
			t.Errorf("%s: %v", p, err)
			continue
		}
		clientsTake(t, p, chain, key)
	}
}
