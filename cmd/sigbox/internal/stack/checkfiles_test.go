package stack

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/peertest"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/oidc/devidp"
)

const checkedConfig = `public_url: https://sigstore.example.com
instance: 00112233445566778899aabbccddeeff
tls: {certificate: tls.pem, key: tls-key.pem}
tlog:
  database: {url: "host=db", password: "${file:password}"}
  guard: {database: {url: "host=guard", password: "${env:SIGBOX_TEST_PASSWORD}"}}
  rekor_v1:
    shards:
      - {name: first, tree_id: 1, key: v1.pem}
      - {name: second, tree_id: 2, key: v1.pem}
  rekor_v2: {key: v2.pem}
  ct: {key: "${credential:ct}", roots: roots.pem}
ca:
  database: "${credential:database}"
  key: ca.pem
  chain: chain.pem
  issuers: issuers.yaml
  issuer_keys: [{issuer: "https://issuer.example.com", keys: jwks.json}]
  tsa: {key: tsa.pem, chain: tsachain.pem}
  ct: {address: "tlog:9443", key: ct.pub}
  peers: {listen: "127.0.0.1:9441", certificate: peer-ca.crt, key: peer-ca.key, authorities: peers.pem}
tuf:
  database: "host=tuf"
  snapshot_key: snapshot.pem
  timestamp_key: timestamp.pem
  sources: ["tlog:9443", statements]
  peers: {certificate: peer-tuf.crt, key: peer-tuf.key, authorities: peers.pem}
issuer: {key: issuer.pem}
`

// onToken names a key on a token.
const onToken = "pkcs11:token=a;object=b?module-path=/nowhere/m.so\n"

// checkedSite is a directory with everything that checkedConfig names.
func checkedSite(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	save := func(name string, key crypto.Signer) {
		if err := keys.Save(filepath.Join(dir, name), key); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"v1.pem", "v2.pem", "ct", "snapshot.pem", "timestamp.pem", "spare.pem"} {
		save(name, newKey(t, keys.NewECDSA))
	}
	save("issuer.pem", newKey(t, keys.NewRSA))
	for name, key := range map[string]string{"chain.pem": "ca.pem", "tsachain.pem": "tsa.pem"} {
		h, err := ca.NewHierarchy(clock.System{}, "test")
		if err != nil {
			t.Fatal(err)
		}
		put(t, dir, name, string(chainPEM(h.Chain())), 0o644)
		save(key, h.IntermediateKey)
		if name == "chain.pem" {
			put(t, dir, "roots.pem", string(chainPEM(h.Chain())), 0o644)
			save("root.pem", h.RootKey)
		}
	}
	tls := newKey(t, keys.NewECDSA)
	save("tls-key.pem", tls)
	put(t, dir, "tls.pem", serverCertificate(t, tls, "sigstore.example.com"), 0o644)
	put(t, dir, "other-tls.pem", serverCertificate(t, tls, "other.example.com"), 0o644)
	a := peertest.New(t, "peers")
	a.Write(t, filepath.Join(dir, "peers.pem"))
	peertest.New(t, "others").Write(t, filepath.Join(dir, "others.pem"))
	a.Issue(t, dir, "peer-ca", "ca", func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "tuf.sigbox.internal") })
	a.Issue(t, dir, "peer-tlog", "tlog")
	a.Issue(t, dir, "peer-nobody", "ca", func(c *x509.Certificate) { c.DNSNames = c.DNSNames[1:] })
	a.Issue(t, dir, "peer-tuf", "tuf")
	a.Issue(t, dir, "peer-web", "ca", func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] })
	a.Issue(t, dir, "peer-old", "ca", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = c.NotBefore.AddDate(-1, 0, 0), c.NotBefore })
	for name, key := range map[string]string{"ct.pub": "ct", "other.pub": "spare.pem"} {
		k, err := keys.Load(filepath.Join(dir, key))
		if err != nil {
			t.Fatal(err)
		}
		text, err := keys.PublicPEM(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		put(t, dir, name, string(text), 0o644)
	}
	if err := os.Mkdir(filepath.Join(dir, "statements"), 0o755); err != nil {
		t.Fatal(err)
	}
	idp, err := devidp.New(devidp.Config{Issuer: "https://issuer.example.com", Key: newKey(t, keys.NewRSA)})
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := json.Marshal(idp.JWKS())
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "jwks.json", string(jwks), 0o644)
	put(t, dir, "password", "secret\n", 0o600)
	put(t, dir, "database", "postgres://u:secret@db/ca", 0o400)
	put(t, dir, "issuers.yaml", "oidc-issuers:\n  https://issuer.example.com:\n    issuer-url: https://issuer.example.com\n    client-id: sigstore\n    type: email\n", 0o644)
	return dir
}

func newKey(t *testing.T, kind func() (crypto.Signer, error)) crypto.Signer {
	t.Helper()
	k, err := kind()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func put(t *testing.T, dir, name, text string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func serverCertificate(t *testing.T, key crypto.Signer, host string) string {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// TestCheckFiles: each row breaks one thing, and one line says where and what.
func TestCheckFiles(t *testing.T) {
	dir := checkedSite(t)
	read := func(name string) string {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	roots, chain := read("roots.pem"), read("chain.pem")
	intermediate, root, _ := strings.Cut(roots, "-----END CERTIFICATE-----\n")
	intermediate += "-----END CERTIFICATE-----\n"
	for _, tc := range []struct {
		name       string
		old, new   string   // in the configuration
		also       []string // pairs of old and new beside it
		file, text string   // what is written to a file, "-" to remove it
		mode       os.FileMode
		key, want  string
	}{
		{name: "nothing"},
		{name: "a key that is not there", file: "v2.pem", text: "-", key: "tlog.rekor_v2.key", want: "no such file"},
		{name: "a key that others can read", file: "v2.pem", text: read("v2.pem"), mode: 0o640, key: "tlog.rekor_v2.key", want: "run chmod 600"},
		{name: "a key that is a certificate", file: "v2.pem", text: chain, mode: 0o600, key: "tlog.rekor_v2.key", want: "type PRIVATE KEY"},
		{name: "an RSA key for a log", file: "v2.pem", text: read("issuer.pem"), mode: 0o600, key: "tlog.rekor_v2.key", want: "is not an ECDSA P-256 key"},
		{name: "an ECDSA key for the issuer", file: "issuer.pem", text: read("spare.pem"), mode: 0o600, key: "issuer.key", want: "is not an RSA key"},
		{name: "two logs with one key", file: "v2.pem", text: read("v1.pem"), mode: 0o600, key: "tlog.rekor_v2.key", want: "is the key of tlog.rekor_v1.shards[0].key too"},
		{name: "two roles with one key", file: "timestamp.pem", text: read("snapshot.pem"), mode: 0o600, key: "tuf.timestamp_key", want: "is the key of tuf.snapshot_key too"},
		{name: "the key of the web server for a log", file: "ct", text: read("tls-key.pem"), mode: 0o600, key: "tlog.ct.key", want: "is the key of tls.key too"},
		{name: "the root's key for the CT log", file: "ct", text: read("root.pem"), mode: 0o600, key: "tlog.ct.key", want: `is the key of "CN=test root,O=test"`},
		{name: "a credential that is not there", file: "ct", text: "-", key: "tlog.ct.key", want: "no such file"},
		{name: "roots that are not there", file: "roots.pem", text: "-", key: "tlog.ct.roots", want: "no such file"},
		{name: "roots in the wrong order", file: "roots.pem", text: root + intermediate, mode: 0o644, key: "tlog.ct.roots", want: "whose issuer is missing"},
		{name: "two intermediates in a row", file: "roots.pem", text: intermediate + intermediate + root, mode: 0o644, key: "tlog.ct.roots", want: "is not issued by"},
		{name: "an empty file of roots", file: "roots.pem", mode: 0o644, key: "tlog.ct.roots", want: "no certificate in it"},
		{name: "the key of another chain", file: "ca.pem", text: read("spare.pem"), mode: 0o600, key: "ca.key", want: "is not the key of"},
		{name: "a chain from the root down", file: "chain.pem", text: root + intermediate, mode: 0o644, key: "ca.chain", want: "issuing certificate first"},
		{name: "no issuers", file: "issuers.yaml", text: "-", key: "ca.issuers", want: "no such file"},
		{name: "no rules", old: "issuers: issuers.yaml", new: "issuers: issuers.yaml\n  rules: rules.yaml", key: "ca.rules", want: "no such file"},
		{name: "rules for nobody", old: "issuers: issuers.yaml", new: "issuers: issuers.yaml\n  rules: issuers.yaml", key: "ca.rules", want: "issuer \"oidc-issuers\" is not configured"},
		{name: "issuers that are not Fulcio's file", file: "issuers.yaml", text: "a: b\n", mode: 0o644, key: "ca.issuers", want: "issuers.yaml"},
		{name: "roots for issuers that are none", old: "issuers: issuers.yaml", new: "issuers: issuers.yaml\n  fetch: {certificates: ct.pub}", key: "ca.fetch.certificates", want: "holds no PEM certificate"},
		{name: "an issuer by name that is in the file", old: "issuers: issuers.yaml", new: "issuers: issuers.yaml\n  presets: [{name: keycloak, url: \"https://issuer.example.com\"}]", key: "ca.issuers", want: "is configured twice"},
		{name: "pinned keys that are not there", file: "jwks.json", text: "-", key: "ca.issuer_keys[0].keys", want: "no such file"},
		{name: "pinned keys that are no JWK set", file: "jwks.json", text: "{}", mode: 0o644, key: "ca.issuer_keys[0].keys", want: "jwks.json"},
		{name: "pinned keys of nobody", old: `issuer: "https://issuer.example.com"`, new: `issuer: "https://issuer.example.com/"`, key: "ca.issuer_keys[0].issuer", want: "write it there too"},
		{name: "the development issuer in the file of issuers too", old: `keys: jwks.json}]`, new: `keys: jwks.json, development: true}]`, key: "ca.issuer_keys[0].development", want: "remove it there"},
		{name: "a password that others can read", file: "password", text: "secret", mode: 0o644, key: "tlog.database", want: "password: " + filepath.Join(dir, "password") + " can be read by others"},
		{name: "an empty password", file: "password", text: "\n", mode: 0o600, key: "tlog.database", want: "want one line"},
		{name: "a password of two lines", file: "password", text: "a\nb\n", mode: 0o600, key: "tlog.database", want: "want one line"},
		{name: "a variable that is not set", old: "SIGBOX_TEST_PASSWORD", new: "SIGBOX_TEST_NOTHING", key: "tlog.guard.database", want: "SIGBOX_TEST_NOTHING is not set"},
		{name: "a connection string that is none", file: "database", text: "postgres://u:secret@db:x/ca", mode: 0o600, key: "ca.database", want: "libpq"},
		{name: "a shard whose host the web certificate does not name", old: "rekor_v2: {key: v2.pem}", new: "rekor_v2: {key: v2.pem, shards: [{name: next, host: log2.example.com}]}",
			key: "tlog.rekor_v2.shards[0].host", want: "log2.example.com is not the name of a server in"},
		{name: "a web certificate for another name", old: "certificate: tls.pem", new: "certificate: other-tls.pem", key: "tls.certificate", want: "is not valid for sigstore.example.com"},
		{name: "a web certificate of another key", file: "tls-key.pem", text: read("spare.pem"), mode: 0o600, key: "tls.certificate", want: "private key does not match"},
		{name: "a peer of another authority", old: "key: peer-tuf.key, authorities: peers.pem", new: "key: peer-tuf.key, authorities: others.pem", key: "tuf.peers.certificate", want: "is of none of the authorities"},
		{name: "a peer that is another service", old: "certificate: peer-tuf.crt, key: peer-tuf.key", new: "certificate: peer-tlog.crt, key: peer-tlog.key", key: "tuf.peers.certificate", want: "want the DNS name tuf.sigbox.internal"},
		{name: "two services with one key", old: "certificate: peer-tuf.crt, key: peer-tuf.key", new: "certificate: peer-ca.crt, key: peer-ca.key", key: "tuf.peers.key", want: "is the key of ca.peers.key too"},
		{name: "a certificate of another service", file: "peer-tuf.crt", text: read("peer-ca.crt"), mode: 0o644, key: "tuf.peers.certificate", want: "private key does not match"},
		{name: "a peer without name", old: "certificate: peer-ca.crt, key: peer-ca.key", new: "certificate: peer-nobody.crt, key: peer-nobody.key", key: "ca.peers.certificate", want: "does not name the service"},
		{name: "a peer that can only serve", old: "certificate: peer-ca.crt, key: peer-ca.key", new: "certificate: peer-web.crt, key: peer-web.key", key: "ca.peers.certificate", want: "clientAuth"},
		{name: "a peer whose certificate has expired", old: "certificate: peer-ca.crt, key: peer-ca.key", new: "certificate: peer-old.crt, key: peer-old.key"},
		{name: "authorities that are none", old: "authorities: peers.pem", new: "authorities: peer-ca.crt", key: "ca.peers.authorities", want: "is not an authority"},
		{name: "a peer's key that others can read", file: "peer-tuf.key", text: read("peer-tuf.key"), mode: 0o644, key: "tuf.peers.key", want: "chmod 600"},
		{name: "the key of another log", old: "key: ct.pub", new: "key: other.pub", key: "ca.ct.key", want: "tlog.ct.key is another one"},
		{name: "one key for two CT logs", old: "roots: roots.pem}", new: "roots: roots.pem, next: [{name: ct-2, key: \"${credential:ct}\"}]}", key: "tlog.ct.next[0].key", want: "is the key of tlog.ct.key too"},
		{name: "the key of a CT log for the next one", old: "roots: roots.pem}", new: "roots: roots.pem, next: [{name: ct-2, key: spare.pem}]}", also: []string{"key: ct.pub", "log: ct-2, key: ct.pub"}, key: "ca.ct.key", want: "tlog.ct.next[0].key is another one"},
		{name: "the private key of the log", old: "key: ct.pub", new: "key: v1.pem", key: "ca.ct.key", want: "must not leave its owner"},
		{name: "no directory of statements", old: "statements]", new: "nowhere]", key: "tuf.sources[1]", want: "write HOST:PORT"},
		{name: "writers who are not there", old: "  rekor_v2: {", new: "  rekor_v2: {writers: {keys: [nobody.pub]}, ", key: "tlog.rekor_v2.writers.keys[0]", want: "no such file"},
		{name: "a writer's private key", old: "  rekor_v2: {", new: "  rekor_v2: {writers: {keys: [v1.pem]}, ", key: "tlog.rekor_v2.writers.keys[0]", want: "it is a private key"},
		{name: "a writer's certificate", old: "  rekor_v2: {", new: "  rekor_v2: {writers: {keys: [ct.pub, tls.pem]}, ", key: "tlog.rekor_v2.writers.keys[1]", want: "it is a certificate"},
		{name: "a writer's key in no form", old: "  rekor_v2: {", new: "  rekor_v2: {writers: {keys: [issuers.yaml]}, ", key: "tlog.rekor_v2.writers.keys[0]", want: "want PEM (PUBLIC KEY), PGP, SSH"},
		{name: "no authorities", old: "  rekor_v2: {", new: "  authorities: nobody.pem\n  rekor_v2: {", key: "tlog.authorities", want: "no such file"},
		{name: "authorities without their root", old: "  rekor_v2: {", new: "  authorities: tls.pem\n  rekor_v2: {", key: "", want: ""},
		{name: "a web key on a token", file: "tls-key.pem", text: onToken, mode: 0o600, key: "tls.key", want: "keys of TLS and of peers are files"},
		{name: "a log's key on a token without its module", file: "v2.pem", text: onToken, mode: 0o600, key: "tlog.rekor_v2.key", want: "is installed with the token's software"},
		{name: "a web key that others can read", file: "tls-key.pem", text: read("tls-key.pem"), mode: 0o644, key: "tls.key", want: "chmod 600"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("CREDENTIALS_DIRECTORY", dir)
			t.Setenv("SIGBOX_TEST_PASSWORD", "secret")
			if tc.file != "" {
				before, err := os.Stat(filepath.Join(dir, tc.file))
				if err != nil {
					t.Fatal(err)
				}
				text := read(tc.file)
				t.Cleanup(func() { put(t, dir, tc.file, text, before.Mode()) })
				put(t, dir, tc.file, tc.text, tc.mode)
				if tc.text == "-" {
					if err := os.Remove(filepath.Join(dir, tc.file)); err != nil {
						t.Fatal(err)
					}
				}
			}
			text := checkedConfig
			if tc.old != "" {
				text = strings.NewReplacer(tc.also...).Replace(strings.Replace(text, tc.old, tc.new, 1))
			}
			cfg, err := config.Parse(filepath.Join(dir, "sigbox.yaml"), []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			checkProblem(t, CheckFiles(cfg), tc.key, tc.want)
		})
	}
}

// checkProblem wants one problem, or none where key is "".
func checkProblem(t *testing.T, err error, key, want string) {
	t.Helper()
	if key == "" {
		if err != nil {
			t.Errorf("%v", err)
		}
		return
	}
	var wrong *config.Error
	if !errors.As(err, &wrong) {
		t.Fatalf("%v, want a problem with %s", err, key)
	}
	if p := wrong.Problems[0]; len(wrong.Problems) != 1 || p.Key != key || !strings.Contains(p.Text, want) || p.Line == 0 {
		t.Errorf("%v\nwant one problem, with %s: %q", err, key, want)
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("a secret is quoted: %v", err)
	}
}

func TestInTheClear(t *testing.T) {
	for url, want := range map[string]string{
		"postgres://u@db.example.com/x?sslmode=verify-full":       "",
		"postgres://u@db.example.com/x?sslmode=require":           "",
		"postgres://u@db.example.com/x":                           "db.example.com", // libpq's default is prefer
		"postgres://u@db.example.com/x?sslmode=disable":           "db.example.com",
		"host=/run/postgresql dbname=x":                           "",
		"postgres://u@127.0.0.1/x?sslmode=disable":                "",
		"postgres://u@localhost,db.example.com/x?sslmode=disable": "db.example.com",
	} {
		if got := inTheClear(url); got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
}
