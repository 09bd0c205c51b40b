package keys_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sigbox/sigbox/keys"
)

func TestSaveAndLoad(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func() (crypto.Signer, error)
		is   func(crypto.Signer) bool
	}{
		{"ECDSA P-256", keys.NewECDSA, func(k crypto.Signer) bool {
			ec, ok := k.(*ecdsa.PrivateKey)
			return ok && ec.Curve == elliptic.P256()
		}},
		{"RSA 2048", keys.NewRSA, func(k crypto.Signer) bool {
			r, ok := k.(*rsa.PrivateKey)
			return ok && r.N.BitLen() == 2048
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			key, err := tc.make()
			if err != nil {
				t.Fatal(err)
			}
			if !tc.is(key) {
				t.Fatalf("made a %T", key)
			}
			dir := filepath.Join(t.TempDir(), "instance", "keys")
			path := filepath.Join(dir, "k.pem")
			if err := keys.Save(path, key); err != nil {
				t.Fatal(err)
			}
			for p, want := range map[string]os.FileMode{path: 0o600, dir: 0o700, filepath.Dir(dir): 0o700} {
				if st, err := os.Stat(p); err != nil || st.Mode().Perm() != want {
					t.Errorf("%s has mode %04o, want %04o (%v)", p, st.Mode().Perm(), want, err)
				}
			}
			loaded, err := keys.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			if !loaded.(interface{ Equal(crypto.PrivateKey) bool }).Equal(key) {
				t.Error("another key came back")
			}
			sum := sha256.Sum256([]byte("message"))
			if _, err := loaded.Sign(rand.Reader, sum[:], crypto.SHA256); err != nil {
				t.Error(err)
			}
			other, err := tc.make()
			if err != nil {
				t.Fatal(err)
			}
			if other.(interface{ Equal(crypto.PrivateKey) bool }).Equal(key) {
				t.Error("the same key was made twice")
			}
		})
	}
}

func TestSaveRefuses(t *testing.T) {
	key, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		key  crypto.Signer
		make func(path string) error // what is there before, and stays
		want string
	}{
		{"file that exists", key, func(p string) error { return os.WriteFile(p, []byte("precious"), 0o600) }, "file exists"},
		{"symbolic link to nowhere", key, func(p string) error { return os.Symlink("elsewhere", p) }, "file exists"},
		{"file for a directory", key, func(p string) error { return os.WriteFile(filepath.Dir(p), nil, 0o600) }, "not a directory"},
		{"signer without a key of its own", remote{key}, func(string) error { return nil }, "encode key"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "k.pem")
			if tc.want == "not a directory" {
				path = filepath.Join(dir, "file", "k.pem")
			}
			if err := tc.make(path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadDir(dir)
			if err := keys.Save(path, tc.key); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if after, _ := os.ReadDir(dir); len(after) != len(before) {
				t.Errorf("files before %v, after %v", before, after)
			}
			if raw, err := os.ReadFile(path); err == nil && string(raw) != "precious" {
				t.Errorf("the file holds %q now", raw)
			}
		})
	}
}

// remote is a signer whose key is elsewhere.
type remote struct{ crypto.Signer }

func TestLoadRefuses(t *testing.T) {
	key, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	pkcs8 := must(x509.MarshalPKCS8PrivateKey(key))
	good := block("PRIVATE KEY", pkcs8)
	x25519 := must(x509.MarshalPKCS8PrivateKey(must(ecdh.X25519().GenerateKey(rand.Reader))))
	public := must(keys.PublicPEM(key.Public()))
	const notOne = "want exactly one PEM block"

	for _, tc := range []struct {
		name    string
		content []byte
		mode    os.FileMode
		want    string // "" where it is loaded
	}{
		{"as Save writes it", good, 0o600, ""},
		{"read-only", good, 0o400, ""},
		{"lines at the end", append(bytes.Clone(good), " \n\r\n"...), 0o600, ""},
		{"Ed25519", block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(must2(ed25519.GenerateKey(rand.Reader))))), 0o600, ""},

		{"group can read", good, 0o640, "can be read by others (mode 0640)"},
		{"group can write", good, 0o620, "can be read by others (mode 0620)"},
		{"everybody can read", good, 0o604, "can be read by others (mode 0604)"},
		{"two keys", append(bytes.Clone(good), good...), 0o600, notOne},
		{"key and public key", append(bytes.Clone(good), public...), 0o600, notOne},
		{"public key and key", append(bytes.Clone(public), good...), 0o600, notOne},
		{"broken block and key", append([]byte("-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n"), good...), 0o600, notOne},
		{"text before the key", append([]byte("Bag Attributes\n"), good...), 0o600, notOne},
		{"text after the key", append(bytes.Clone(good), "x"...), 0o600, notOne},
		{"SEC 1", block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey)))), 0o600, notOne},
		{"PKCS #8 under another label", block("RSA PRIVATE KEY", pkcs8), 0o600, notOne},
		{"encrypted PKCS #8", block("ENCRYPTED PRIVATE KEY", pkcs8), 0o600, "not encrypted"},
		{"public key", public, 0o600, notOne},
		{"public key under the label of a private one", block("PRIVATE KEY", must(keys.SPKI(key.Public()))), 0o600, "asn1"},
		{"cut DER", block("PRIVATE KEY", pkcs8[:len(pkcs8)-1]), 0o600, "asn1"},
		{"DER without PEM", pkcs8, 0o600, notOne},
		{"text", []byte("hunter2"), 0o600, notOne},
		{"empty", nil, 0o600, notOne},
		{"key that cannot sign", block("PRIVATE KEY", x25519), 0o600, "cannot sign"},
		{"URI with a PIN", []byte("pkcs11:token=a;object=b?module-path=/m.so&pin-value=hunter2\n"), 0o600, "pin-value puts the PIN where"},
		{"URI that everybody can read", []byte("pkcs11:token=a;object=b?module-path=/m.so\n"), 0o604, "can be read by others (mode 0604)"},
		{"two URIs", []byte("pkcs11:token=a;object=b?module-path=/m.so\npkcs11:token=a;object=c?module-path=/m.so\n"), 0o600, "must be written as %XX"},
		{"URI and key", append([]byte("pkcs11:token=a;object=b?module-path=/m.so\n"), good...), 0o600, "must be written as %XX"},
		{"URI in capitals", []byte("PKCS11:object=b?module-path=/m.so"), 0o600, "names no token"},
		{"text before the URI", []byte("# the CA\npkcs11:token=a;object=b?module-path=/m.so\n"), 0o600, "or one line with a PKCS #11 URI"},
		{"large file", append(bytes.Clone(good), bytes.Repeat([]byte("\n"), 64<<10)...), 0o600, "at most 65536 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "k.pem")
			if err := os.WriteFile(path, tc.content, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tc.mode); err != nil {
				t.Fatal(err)
			}
			_, err := keys.Load(path)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
			if err != nil && (!strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "hunter2")) {
				t.Errorf("the error names no file, or its content: %v", err)
			}
		})
	}
	t.Run("a pipe that nobody writes to", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "k.pem")
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Load(path); err == nil || !strings.Contains(err.Error(), "want a file") {
			t.Error(err)
		}
	})
	t.Run("a link to a file that others can read", func(t *testing.T) {
		dir := t.TempDir()
		path, file := filepath.Join(dir, "k.pem"), filepath.Join(dir, "file")
		if err := errors.Join(os.WriteFile(file, good, 0o600), os.Chmod(file, 0o644), os.Symlink(file, path)); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Load(path); err == nil || !strings.Contains(err.Error(), "can be read by others (mode 0644)") {
			t.Error(err)
		}
	})
	t.Run("10 GiB", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "k.pem")
		if err := errors.Join(os.WriteFile(path, good, 0o600), os.Truncate(path, 10<<30)); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Load(path); err == nil || !strings.Contains(err.Error(), "at most 65536 bytes") {
			t.Error(err)
		}
	})
	t.Run("directory", func(t *testing.T) {
		if _, err := keys.Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "want a file") {
			t.Error(err)
		}
	})
	t.Run("missing file", func(t *testing.T) {
		if _, err := keys.Load(filepath.Join(t.TempDir(), "k.pem")); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
}

// TestLoadPublic has a row for each thing that is no public key for clients.
func TestLoadPublic(t *testing.T) {
	key := must(keys.NewECDSA())
	good := must(keys.PublicPEM(key.Public()))
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	for _, tc := range []struct {
		name    string
		content []byte
		want    string // "" where it is loaded
	}{
		{"as PublicPEM writes it", good, ""},
		{"lines at the end", append(bytes.Clone(good), " \n\r\n"...), ""},
		{"private key", must(keys.PrivatePEM(key)), "must not leave its owner"},
		{"two keys", append(bytes.Clone(good), good...), "want exactly one PEM block of type PUBLIC KEY"},
		{"text after the key", append(bytes.Clone(good), "x"...), "want exactly one PEM block"},
		{"another label", block("CERTIFICATE", must(keys.SPKI(key.Public()))), "want exactly one PEM block"},
		{"nothing", nil, "want exactly one PEM block"},
		{"no key in the block", block("PUBLIC KEY", []byte("x")), "asn1"},
		{"RSA", must(keys.PublicPEM(must(keys.NewRSA()).Public())), "is not an ECDSA P-256 key"},
		{"P-384", must(keys.PublicPEM(p384.Public())), "is not an ECDSA P-256 key"},
		{"large file", append(bytes.Clone(good), bytes.Repeat([]byte("\n"), 64<<10)...), "at most 65536 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "k.pub")
			if err := os.WriteFile(path, tc.content, 0o600); err != nil {
				t.Fatal(err)
			}
			pub, err := keys.LoadPublic(path)
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
					t.Errorf("%v, want %q", err, tc.want)
				}
				return
			}
			if err != nil || !pub.Equal(key.Public()) {
				t.Errorf("%v, %v", pub, err)
			}
		})
	}
	if _, err := keys.LoadPublic(filepath.Join(t.TempDir(), "k.pub")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// The public Rekor log's key and id, as clients have them.
func TestIDIsTheLogID(t *testing.T) {
	const (
		publicPEM = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE2G2Y+2tabdTV5BcGiBIx0a9fAFwr
kBbmLSGtks4L3qX6yYY0zufBnhC8Ur/iy55GhWP/9A/bY2LhC30M9+RYtw==
-----END PUBLIC KEY-----
`
		id = "wNI9atQGlz+VWfO6LRygH4QUfY/8W4RFwiT5i5WRgB0="
	)
	b, _ := pem.Decode([]byte(publicPEM))
	pub, err := x509.ParsePKIXPublicKey(b.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if sum, err := keys.ID(pub); err != nil || base64.StdEncoding.EncodeToString(sum[:]) != id {
		t.Errorf("id %x, %v", sum, err)
	}
	if got, err := keys.PublicPEM(pub); err != nil || string(got) != publicPEM {
		t.Errorf("PEM %q, %v", got, err)
	}
	for name, f := range map[string]func(crypto.PublicKey) error{
		"ID":        func(k crypto.PublicKey) error { _, err := keys.ID(k); return err },
		"PublicPEM": func(k crypto.PublicKey) error { _, err := keys.PublicPEM(k); return err },
	} {
		if f("no key") == nil {
			t.Errorf("%s of a string", name)
		}
	}
}

func block(label string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func must2[A, T any](_ A, v T, err error) T { return must(v, err) }
