package compose

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/instance"
)

const (
	domain     = "sigstore.test"
	nobody     = 65532 // user and group of the containers
	proxyGroup = 99
)

var replicas = []string{"postgres", "guard", "ca-1", "ca-2", "tlog-1", "tlog-2", "tuf-1", "tuf-2"}

// TestProduction goes through deploy/README.md: offline keys in a directory that no container has, signatures
// brought back, and then TLS, two replicas of each service, kills.
func TestProduction(t *testing.T) {
	dir, offline := filepath.Join(t.TempDir(), "srv"), t.TempDir()
	authority, certificate := makeTLS(t)
	names(t)
	issuer := startIssuer(t)

	p := clone(t, plugin)
	p.files = []string{"-p", "sigbox-production", "-f", "deploy/compose.production.yml"}
	p.env = append(p.env, "SIGBOX_DIR="+newDir(t, dir), "SIGBOX_TLS="+certificate, "SIGBOX_DOMAIN="+domain)
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	p.do("build", "init")
	p.do("up", "--detach", "postgres", "guard")
	p.healthy("postgres", "guard")
	ceremony(t, p, dir, offline, issuer)
	p.do("up", "--detach")
	p.healthy(replicas...)
	confined(t, p.containers())
	sees(t, p, dir, offline)

	v := visit(t, "https://tuf."+domain+"/tuf", issuer.URL, "SSL_CERT_FILE="+authority)
	v.script("production: cosign 3 signs and verifies on both logs through TLS and the proxy", quick, "N=first")
	v.script("production: what is for the inside stays there", `
for path in /readyz /healthz /metrics; do
	for host in ca tlog tuf; do
		test "$(curl -sS -o /dev/null -w '%{http_code}' "https://$host.`+domain+`$path")" = 404
	done
done
test "$(curl -sS -o /dev/null -w '%{http_code}' "https://other.`+domain+`/")" = 421
`, "SSL_CERT_FILE="+authority, "CURL_CA_BUNDLE="+authority)
	for _, s := range replicas[2:] {
		p.do("kill", s) // and the engine leaves it so
		v.script("production: cosign 3 signs and verifies on both logs while "+s+" is away", quick, "N="+s)
		p.do("start", s)
		fmt.Printf("production: %s is healthy again after %.1f s\n", s, p.healthy(replicas...).Seconds())
	}
	p.do("restart", "proxy", "postgres", "guard")
	p.healthy(replicas...)
	v.script("production: cosign 3 signs and verifies after a restart of proxy, database and guard", quick, "N=restarted")
}

// ceremony makes the instance, with init in its container and the holders of offline keys outside.
func ceremony(t *testing.T, p *project, dir, offline string, issuer *instance.Instance) {
	t.Helper()
	off := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(world.sigbox, args...)
		cmd.Dir = offline
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("sigbox %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	// move copies a file between the two worlds, as on a stick; what goes in belongs to the containers' user.
	move := func(from, to string) {
		t.Helper()
		raw, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(to, dir) {
			if err := os.Chown(to, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
	}
	initWaits(t, p, "the chains of the authorities")
	off("ca", "root", "--out", "root", "--organization", "Example Corp")
	for _, a := range []string{"ca", "tsa"} {
		move(filepath.Join(dir, "requests", a+".csr"), filepath.Join(offline, a+".csr"))
		off("ca", "sign-csr", a+".csr", "--root", "root", "--out", a+"-chain.pem")
		move(filepath.Join(offline, a+"-chain.pem"), filepath.Join(dir, "requests", a+"-chain.pem"))
		p.do("run", "--rm", "init", "ca", "install-chain", "--config", "/etc/sigbox/sigbox.yaml", "/etc/sigbox/requests/"+a+"-chain.pem")
	}
	addIssuer(t, dir, issuer)
	initWaits(t, p, "the public keys of those who sign the trust root")
	off("tuf", "key", "--out", "root-1.key")
	off("tuf", "key", "--out", "targets-1.key")
	for _, k := range []string{"root-1.key.pub", "targets-1.key.pub"} {
		move(filepath.Join(offline, k), filepath.Join(dir, "requests", k))
	}
	said := initWaits(t, p, "signatures of the trust root", "init", "--dir=/etc/sigbox",
		"--tuf-root-key=/etc/sigbox/requests/root-1.key.pub", "--tuf-root-threshold=1",
		"--tuf-targets-key=/etc/sigbox/requests/targets-1.key.pub", "--tuf-targets-threshold=1")
	request := filepath.Join(dir, "requests", "tuf.json")
	move(request, filepath.Join(offline, "tuf.json"))
	id := regexp.MustCompile(`request's id is ([0-9a-f]{16})`).FindStringSubmatch(said)
	if id == nil {
		t.Fatalf("init names no request:\n%s", said)
	}
	for _, k := range []string{"root-1.key", "targets-1.key"} {
		off("tuf", "sign", "tuf.json", "--key", k, "--approve", id[1])
	}
	move(filepath.Join(offline, "tuf.json"), request)
	if out := p.do("run", "--rm", "init"); !strings.Contains(out, "published the first trust root") {
		t.Fatalf("init did not publish:\n%s", out)
	}
}

// initWaits runs init, which must stop and wait for what is named: exit code 3.
func initWaits(t *testing.T, p *project, what string, args ...string) string {
	t.Helper()
	cmd := p.cmd(t.Context(), append([]string{"run", "--rm", "init"}, args...)...)
	out, _ := cmd.CombinedOutput() // the code is what is looked at
	if code := cmd.ProcessState.ExitCode(); code != 3 || !strings.Contains(string(out), "waiting for "+what) {
		t.Fatalf("init: exit code %d, want 3 and %q\n%s", code, what, tail(string(out), 60))
	}
	fmt.Printf("ok production: init waits for %s\n", what)
	return string(out)
}

// sees: replicas see their own keys, nobody sees another's, and the offline keys are nowhere.
func sees(t *testing.T, p *project, dir, offline string) {
	t.Helper()
	for service, c := range p.containers() {
		kind, _, replica := strings.Cut(service, "-")
		if !replica {
			continue
		}
		root := fmt.Sprintf("/proc/%d/root/etc/sigbox", c.State.Pid)
		entries, err := os.ReadDir(root)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != "sigbox.yaml" && e.Name() != "public" && e.Name() != kind {
				inside, err := os.ReadDir(filepath.Join(root, e.Name()))
				if err != nil || len(inside) > 0 {
					t.Errorf("%s sees %s: %v", service, e.Name(), err)
				}
			}
		}
	}
	for _, name := range []string{"root/ca-root.key", "root-1.key", "targets-1.key"} {
		key, err := os.ReadFile(filepath.Join(offline, name))
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("grep", "-rlF", strings.Split(string(key), "\n")[1], dir).CombinedOutput()
		var nowhere *exec.ExitError
		if !errors.As(err, &nowhere) || nowhere.ExitCode() != 1 { // 0 is somewhere, 2 that grep could not look
			t.Errorf("looking for the offline key %s: %v %s", name, err, out)
		}
	}
}

// startIssuer runs a development issuer outside: to this instance, one of a company's own. It is a `sigbox up`,
// whose other services are not used.
func startIssuer(t *testing.T) *instance.Instance {
	t.Helper()
	dir := t.TempDir()
	i, err := instance.Start(context.Background(), instance.Options{
		Binary: world.sigbox, Data: filepath.Join(dir, "data"), Env: []string{"HOME=" + dir, "PATH=/usr/bin:/bin"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Stop(); err != nil {
			t.Error(err)
		}
	})
	return i
}

// addIssuer names the issuer in the authority's list, with its keys in a file, since the containers cannot reach
// an address of this machine's loopback.
func addIssuer(t *testing.T, dir string, issuer *instance.Instance) {
	t.Helper()
	jwks, err := exec.Command("curl", "-sSf", issuer.URL+"/keys").Output()
	if err != nil {
		t.Fatalf("keys of the issuer: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "public", "issuer-jwks.json"), jwks, 0o644); err != nil {
		t.Fatal(err)
	}
	list := fmt.Sprintf("oidc-issuers:\n  %[1]s:\n    issuer-url: %[1]s\n    client-id: sigstore\n    type: email\n", issuer.URL)
	if err := os.WriteFile(filepath.Join(dir, "ca", "issuers.yaml"), []byte(list), 0o644); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "sigbox.yaml")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.Replace(string(raw), "  issuers: ca/issuers.yaml\n", fmt.Sprintf("  issuers: ca/issuers.yaml\n  issuer_keys:\n    - issuer: %s\n      keys: public/issuer-jwks.json\n", issuer.URL), 1)
	if edited == string(raw) {
		t.Fatal("the configuration has no line for the issuers")
	}
	if err := os.WriteFile(file, []byte(edited), 0o644); err != nil {
		t.Fatal(err)
	}
}

// makeTLS makes the certificate of an authority, which clients trust, and the file that the proxy has:
// certificate and key.
func makeTLS(t *testing.T) (authority, proxy string) {
	t.Helper()
	dir := t.TempDir()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	rootKey, leafKey := key(), key()
	now := time.Now()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "TLS of the test"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, 2),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: root.NotBefore, NotAfter: root.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: []string{"*." + domain},
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	if err != nil {
		t.Fatal(err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, leafKey.Public(), rootKey)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	proxy = filepath.Join(dir, "proxy.pem")
	if err := os.WriteFile(proxy, append(block("CERTIFICATE", leafDER), block("PRIVATE KEY", private)...), 0o440); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(proxy, 0, proxyGroup); err != nil {
		t.Fatal(err)
	}
	authority = filepath.Join(dir, "root.pem")
	if err := os.WriteFile(authority, block("CERTIFICATE", rootDER), 0o644); err != nil {
		t.Fatal(err)
	}
	return authority, proxy
}

// names has the hosts of the domain on loopback, in this mount namespace alone.
func names(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hosts")
	text := "127.0.0.1 localhost ca." + domain + " tlog." + domain + " tuf." + domain + " other." + domain + "\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "--bind", file, "/etc/hosts").CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "/etc/hosts").CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
}
