package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/keys"
)

// halfMade is an instance of --production as far as it gets without a database: keys and configuration.
func halfMade(t *testing.T) (dir, root string) {
	t.Helper()
	dir, root = filepath.Join(t.TempDir(), "sigbox"), filepath.Join(t.TempDir(), "root")
	_, stderr, code := run(t, "init", "--production", "--dir", dir, "--url", "https://sigstore.example.com", "--behind-proxy", "--guard", "none",
		"--database", "postgres://postgres@127.0.0.1:1/sigbox")
	if code != 1 || !strings.Contains(stderr, "name such a user in --database") {
		t.Fatalf("init: %d\n%s", code, stderr)
	}
	good(t, "ca", "root", "--out", root, "--organization", "Example Corp")
	return dir, root
}

// good runs the program, which must do what it is told, and returns what it prints.
func good(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, code := run(t, args...)
	if code != 0 {
		t.Fatalf("sigbox %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// chainFor asks for the certificate of a key and has the root sign it.
func chainFor(t *testing.T, root, key, purpose string) string {
	t.Helper()
	dir := t.TempDir()
	csr, chain := filepath.Join(dir, "csr"), filepath.Join(dir, "chain.pem")
	good(t, "ca", "csr", "--key", key, "--for", purpose, "--organization", "Example Corp", "--out", csr)
	good(t, "ca", "sign-csr", csr, "--root", root, "--out", chain)
	return chain
}

// TestCAChains: the way of a chain from the request to where serve reads it, and what is not put there.
func TestCAChains(t *testing.T) {
	dir, root := halfMade(t)
	config, caKey, tsaKey := filepath.Join(dir, "sigbox.yaml"), filepath.Join(dir, "ca", "ca.key"), filepath.Join(dir, "ca", "tsa.key")
	stranger := filepath.Join(t.TempDir(), "stranger.key")
	key, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Save(stranger, key); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	writeText(t, empty, "nothing\n")
	caChain, again := chainFor(t, root, caKey, "ca"), chainFor(t, root, caKey, "ca")
	for _, row := range []struct{ name, chain, want string }{
		{"for another instance", chainFor(t, root, stranger, "ca"), "no certificate in it is for a key of this instance"},
		{"for the other purpose", chainFor(t, root, caKey, "tsa"), "is not a CA"},
		{"the TSA's, for issuing", chainFor(t, root, tsaKey, "ca"), "a timestamp authority must not be one"},
		{"without a certificate", empty, "has no certificate in it"},
		{"that is a key", caKey, "is a private key"},
	} {
		if _, stderr, code := run(t, "ca", "install-chain", row.chain, "--config", config); code != 1 || !strings.Contains(stderr, row.want) {
			t.Errorf("a chain %s: exit code %d, want %q\n%s", row.name, code, row.want, stderr)
		}
	}
	if files, err := filepath.Glob(filepath.Join(dir, "*", "*.pem")); err != nil || len(files) != 1 { // public/peers.pem
		t.Fatalf("a refused chain was put in place: %v %v", files, err)
	}
	if out := good(t, "ca", "install-chain", caChain, "--config", config); !strings.Contains(out, "written to "+filepath.Join(dir, "ca", "chain.pem")+" and "+filepath.Join(dir, "tlog", "ca-roots.pem")) {
		t.Errorf("%s", out)
	}
	if out := good(t, "ca", "install-chain", chainFor(t, root, tsaKey, "tsa"), "--config", config); !strings.Contains(out, "timestamp authority:") {
		t.Errorf("%s", out)
	}
	before := read(t, filepath.Join(dir, "ca", "chain.pem"))
	if out := good(t, "ca", "install-chain", caChain, "--config", config); !strings.Contains(out, "is in place already") {
		t.Errorf("the same again: %s", out)
	}
	if _, stderr, code := run(t, "ca", "install-chain", again, "--config", config); code != 1 || !strings.Contains(stderr, "holds another chain already") {
		t.Errorf("another one: exit code %d\n%s", code, stderr)
	}
	if read(t, filepath.Join(dir, "ca", "chain.pem")) != before {
		t.Error("a chain was written over")
	}
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestCARefuses: keys and certificates are never written over, and what is no request is not signed.
func TestCARefuses(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	good(t, "ca", "root", "--out", root, "--organization", "Example Corp")
	if st, err := os.Stat(filepath.Join(root, "ca-root.key")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the root's key: %v %v", st, err)
	}
	text, own, csr := filepath.Join(t.TempDir(), "x"), filepath.Join(t.TempDir(), "own.key"), filepath.Join(t.TempDir(), "csr")
	key, err := keys.NewECDSA()
	if err == nil {
		err = keys.Save(own, key)
	}
	if err != nil {
		t.Fatal(err)
	}
	good(t, "ca", "csr", "--key", own, "--for", "ca", "--organization", "o", "--out", csr)
	writeText(t, text, "hello\n")
	for _, row := range []struct {
		name string
		args []string
		want string
	}{
		{"a second root", []string{"root", "--out", root, "--organization", "o"}, "file exists"},
		{"a curve that clients do not take", []string{"root", "--out", t.TempDir(), "--organization", "o", "--curve", "p224"}, "want p256 or p384"},
		{"a purpose that there is not", []string{"csr", "--key", filepath.Join(root, "ca-root.key"), "--for", "web", "--organization", "o"}, "want ca or tsa"},
		{"a P-384 key", []string{"csr", "--key", filepath.Join(root, "ca-root.key"), "--for", "ca", "--organization", "o"}, "not ECDSA P-256"},
		{"what is no request", []string{"sign-csr", text, "--root", root, "--out", text + ".pem"}, "is not a certificate signing request"},
		{"a root that is not there", []string{"sign-csr", csr, "--root", t.TempDir(), "--out", text + ".pem"}, "no such file"},
		{"a configuration that is not there", []string{"install-chain", text, "--config", text + ".yaml"}, "cannot be read"},
	} {
		if _, stderr, code := run(t, append([]string{"ca"}, row.args...)...); code == 0 || !strings.Contains(stderr, row.want) {
			t.Errorf("%s: exit code %d, want %q\n%s", row.name, code, row.want, stderr)
		}
	}
}
