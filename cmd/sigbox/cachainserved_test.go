//go:build postgres

package main

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sigstore "github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// corporate is a PKI of openssl with a root and an issuing CA, which signs the request of a key of sigbox.
type corporate struct{ dir string }

func (c corporate) openssl(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	cmd.Dir = c.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// sign makes root.pem, issuing.pem and own.pem, the certificate of the request.
func (c corporate) sign(t *testing.T, request string) {
	t.Helper()
	key := []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"}
	c.openssl(t, append([]string{"req", "-x509", "-keyout", "root.key", "-out", "root.pem", "-days", "3650", "-subj", "/O=Corp/CN=Corp Root"}, key...)...)
	c.openssl(t, append([]string{"req", "-keyout", "issuing.key", "-out", "issuing.csr", "-subj", "/O=Corp/CN=Corp Issuing CA"}, key...)...)
	c.openssl(t, "x509", "-req", "-in", "issuing.csr", "-CA", "root.pem", "-CAkey", "root.key", "-days", "1825", "-copy_extensions", "copyall", "-out", "issuing.pem")
	c.openssl(t, "x509", "-req", "-in", request, "-CA", "issuing.pem", "-CAkey", "issuing.key", "-days", "1000", "-copy_extensions", "copyall", "-out", "own.pem")
}

// file writes certificates after each other, by name, and returns the path.
func (c corporate) file(t *testing.T, names ...string) string {
	t.Helper()
	text := ""
	for _, name := range names {
		text += read(t, filepath.Join(c.dir, name+".pem"))
	}
	path := filepath.Join(c.dir, strings.Join(names, "-")+"-chain.pem")
	writeText(t, path, text)
	return path
}

func (c corporate) certificate(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(read(t, filepath.Join(c.dir, name+".pem"))))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// TestThreeTiers: the certificate of an issuing CA below a corporate root is asked for, installed and served;
// the trust root publishes the corporate root as the anchor, and a certificate that the authority issues
// verifies with what is published.
func TestThreeTiers(t *testing.T) {
	s, pki := newTrio(t), corporate{t.TempDir()}
	file := s.config(t, "roots: chain.pem", "roots: roots.pem")
	chain, roots, request := filepath.Join(s.dir, "chain.pem"), filepath.Join(s.dir, "roots.pem"), filepath.Join(pki.dir, "own.csr")
	if err := os.Remove(chain); err != nil {
		t.Fatal(err)
	}
	good(t, "ca", "csr", "--key", filepath.Join(s.dir, "ca.pem"), "--for", "ca", "--organization", "Corp", "--out", request)
	pki.sign(t, request)
	for _, row := range []struct {
		name  string
		chain []string
		want  string
	}{
		{"the issuing CA after the root", []string{"own", "root", "issuing"}, "certificate 1 (CN=Corp intermediate,O=Corp) is issued by CN=Corp Issuing CA,O=Corp, and CN=Corp Root,O=Corp follows: write the chain in order"},
		{"the root first", []string{"root", "issuing", "own"}, "is that of the key here and does not come first"},
		{"the issuing CA first", []string{"issuing", "own", "root"}, "is that of the key here and does not come first"},
		{"no issuing CA", []string{"own", "root"}, "is issued by CN=Corp Issuing CA,O=Corp, which is not in the chain"},
		{"no root", []string{"own", "issuing"}, "certificate 2 (CN=Corp Issuing CA,O=Corp) is the last, and is issued by CN=Corp Root,O=Corp"},
		{"the certificate alone", []string{"own"}, "is the last, and is issued by CN=Corp Issuing CA,O=Corp"},
		{"no certificate of the key", []string{"issuing", "root"}, "no certificate in it is for a key of this instance"},
		{"the issuing CA twice", []string{"own", "issuing", "issuing", "root"}, "is there twice"},
	} {
		if _, stderr, code := run(t, "ca", "install-chain", pki.file(t, row.chain...), "--config", file); code != 1 || !strings.Contains(stderr, row.want) {
			t.Errorf("%s: exit code %d, want %q\n%s", row.name, code, row.want, stderr)
		}
		for _, path := range []string{chain, roots} {
			if _, err := os.Stat(path); err == nil {
				t.Fatalf("%s: %s was written", row.name, path)
			}
		}
	}
	if out := good(t, "ca", "install-chain", pki.file(t, "own", "issuing", "root"), "--config", file); !strings.Contains(out, "written to "+chain+" and "+roots) {
		t.Errorf("%s", out)
	}

	s.serve(t, file)
	status, text, _ := s.sign(t, s.client(t, 1), 0)
	if status != http.StatusOK {
		t.Fatalf("no certificate: %d %s", status, text)
	}
	s.trustRootAppears(t, file)
	pki.verified(t, text, get(t, "http://"+s.at["tuf"]+"/trust/trusted_root.json"))
}

// verified holds what was published to the PKI, and what was issued to what was published.
func (c corporate) verified(t *testing.T, issued, published string) {
	t.Helper()
	trusted, err := sigstore.NewTrustedRootFromJSON([]byte(published))
	if err != nil {
		t.Fatal(err)
	}
	list := trusted.FulcioCertificateAuthorities()
	if len(list) != 1 {
		t.Fatalf("%d authorities are published", len(list))
	}
	authority, ok := list[0].(*sigstore.FulcioCertificateAuthority)
	if !ok || !authority.Root.Equal(c.certificate(t, "root")) || len(authority.Intermediates) != 2 ||
		!authority.Intermediates[0].Equal(c.certificate(t, "own")) || !authority.Intermediates[1].Equal(c.certificate(t, "issuing")) {
		t.Errorf("published: %+v", authority)
	}
	var answer struct {
		Embedded struct {
			Chain struct{ Certificates []string }
		} `json:"signedCertificateEmbeddedSct"`
	}
	if err := json.Unmarshal([]byte(issued), &answer); err != nil || len(answer.Embedded.Chain.Certificates) != 4 {
		t.Fatalf("%v: want a certificate and a chain of three: %s", err, issued)
	}
	var chain []*x509.Certificate
	for _, text := range answer.Embedded.Chain.Certificates {
		block, _ := pem.Decode([]byte(text))
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, cert)
	}
	paths, err := verify.VerifyLeafCertificate(time.Now(), chain[0], trusted)
	if err != nil || len(paths) != 1 || len(paths[0]) != 4 || !paths[0][3].Equal(c.certificate(t, "root")) {
		t.Fatalf("the certificate, with what is published: %v, %d paths", err, len(paths))
	}
	if err := verify.VerifySignedCertificateTimestamp(paths, 1, trusted); err != nil {
		t.Errorf("its SCT: %v", err)
	}
}
