//go:build softhsm

package pkcs11_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/hsmtest"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/keys/pkcs11"
)

// quick has short waits, so that faults show soon.
var quick = pkcs11.Options{Answer: 5 * time.Second, Backoff: 200 * time.Millisecond}

func newPool(t *testing.T, o pkcs11.Options) *pkcs11.Pool {
	t.Helper()
	p := pkcs11.NewPool(o)
	t.Cleanup(p.Close)
	return p
}

// signs says whether a key signs, and that what it signs verifies without our own code.
func signs(k crypto.Signer) error {
	digest := sha256.Sum256([]byte("text"))
	sig, err := k.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err == nil && !ecdsa.VerifyASN1(k.Public().(*ecdsa.PublicKey), digest[:], sig) {
		return errors.New("the signature does not verify")
	}
	return err
}

func loaded(t *testing.T, k *pkcs11.Signer, err error) *pkcs11.Signer {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// made makes a key on a new token and loads it through the faulty module, without a fault so far.
func made(t *testing.T, o pkcs11.Options) (*hsmtest.HSM, *pkcs11.Signer, *hsmtest.Fault) {
	t.Helper()
	h := hsmtest.New(t)
	p := newPool(t, o)
	_, err := p.Make(h.URI("a"))
	if err != nil {
		t.Fatal(err)
	}
	uri, fault := h.Faulty(t, "a")
	k, err := p.Load(uri)
	return h, loaded(t, k, err), fault
}

// TestKeys: a key that is made on the token, and those of other kinds that are there.
func TestKeys(t *testing.T) {
	h := hsmtest.New(t)
	p := newPool(t, quick)
	k, err := p.Make(h.URI("made"))
	if err := signs(loaded(t, k, err)); err != nil {
		t.Error(err)
	}
	if _, err := p.Make(h.URI("made")); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("made twice: %v", err)
	}
	again, err := p.Load(h.URI("made"))
	if loaded(t, again, err); !keys.Equal(again.Public(), k.Public()) {
		t.Error("loaded with another public key")
	}
	if again, err = keysLoad(t, h.URI("made")); err != nil || signs(again) != nil {
		t.Errorf("from a file: %v", err)
	}
	for _, row := range []struct {
		name string
		make func() (crypto.Signer, error)
	}{
		{"P-256", keys.NewECDSA},
		{"P-384", func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P384(), rand.Reader) }},
		{"RSA", keys.NewRSA},
		{"P-521", func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P521(), rand.Reader) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			file, err := row.make()
			if err != nil {
				t.Fatal(err)
			}
			der, err := x509.MarshalPKCS8PrivateKey(file)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "k.pem")
			if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
				t.Fatal(err)
			}
			h.Import(t, path, row.name)
			k, err := p.Load(h.URI(row.name))
			if row.name == "P-521" {
				if err == nil || !strings.Contains(err.Error(), "P-256 or P-384") {
					t.Errorf("a curve that is not built: %v", err)
				}
				return
			}
			if loaded(t, k, err); !keys.Equal(k.Public(), file.Public()) {
				t.Fatal("another public key")
			}
			for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
				w := hash.New()
				w.Write([]byte("text"))
				digest := w.Sum(nil)
				sig, err := k.Sign(nil, digest, hash)
				if err != nil {
					t.Fatal(err)
				}
				switch pub := k.Public().(type) {
				case *ecdsa.PublicKey:
					if !ecdsa.VerifyASN1(pub, digest, sig) {
						t.Errorf("%s: does not verify", hash)
					}
				case *rsa.PublicKey:
					if err := rsa.VerifyPKCS1v15(pub, hash, digest, sig); err != nil {
						t.Errorf("%s: %v", hash, err)
					}
				}
			}
			digest := sha512.Sum512(nil)
			for _, opts := range []crypto.SignerOpts{crypto.SHA256, crypto.Hash(0), &rsa.PSSOptions{Hash: crypto.SHA512}} {
				if _, err := k.Sign(nil, digest[:], opts); err == nil || k.Err() != nil {
					t.Errorf("%T %v: signed (%v), and the key is %v", opts, opts, err, k.Err())
				}
			}
		})
	}
}

// keysLoad loads a key by the file that names it, as all of sigbox does.
func keysLoad(t *testing.T, uri string) (*pkcs11.Signer, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(uri+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := keys.Load(path)
	if err != nil {
		return nil, err
	}
	return k.(*pkcs11.Signer), nil
}

// TestLoadRefuses: what cannot be loaded, and what is said about it.
func TestLoadRefuses(t *testing.T) {
	h := hsmtest.New(t)
	p := newPool(t, quick)
	good := func(k *pkcs11.Signer, err error) { t.Helper(); loaded(t, k, err) }
	good(p.Make(h.URI("a")))
	good(p.Make(strings.Replace(h.URI("a"), "object=a", "object=b;id=%01", 1)))
	for _, row := range []struct{ name, uri, want string }{
		{"no such key", h.URI("c"), `no private key with label "c"`},
		{"another id", strings.Replace(h.URI("b"), "object=b", "object=b;id=%02", 1), `no private key with label "b", id 02`},
		{"no such token", strings.Replace(h.URI("a"), "token=sigbox", "token=other", 1), `no such token (there: "sigbox"`},
		{"another serial number", strings.Replace(h.URI("a"), "token=sigbox", "token=sigbox;serial=00", 1), `no such token`},
		{"no module", strings.Replace(h.URI("a"), h.Module, "/nowhere/m.so", 1), "installed with the token's software"},
		{"module that is none", strings.Replace(h.URI("a"), h.Module, h.PINFile, 1), "cannot be loaded"},
		{"module that is a directory", strings.Replace(h.URI("a"), h.Module, filepath.Dir(h.Module), 1), "is not a file"},
		{"a PEM file's name", "file:/key.pem", "begins with pkcs11:"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := p.Load(row.uri); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want %q", err, row.want)
			}
		})
	}
	t.Run("module that everybody can write to", func(t *testing.T) {
		copied := filepath.Join(t.TempDir(), "m.so")
		raw, err := os.ReadFile(h.Module)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(copied, raw, 0o600), os.Chmod(copied, 0o666)); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Load(strings.Replace(h.URI("a"), h.Module, copied, 1)); err == nil || !strings.Contains(err.Error(), "chmod o-w") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("no program", func(t *testing.T) {
		t.Setenv(pkcs11.ProgramVariable, "")
		t.Setenv("PATH", t.TempDir())
		if _, err := newPool(t, quick).Load(h.URI("a")); err == nil || !strings.Contains(err.Error(), "neither beside sigbox nor in PATH") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("another program", func(t *testing.T) {
		o := quick
		o.Program = "/bin/false"
		if _, err := newPool(t, o).Load(h.URI("a")); !errors.Is(err, pkcs11.ErrAway) || !strings.Contains(err.Error(), "exit status 1") {
			t.Errorf("error %v", err)
		}
	})
}

// TestFaults (B-082): what a token or its module does wrong, what the one who wants a signature gets, within which
// time, and whether the next one works once the fault is over.
func TestFaults(t *testing.T) {
	for _, row := range []struct {
		name, fault string
		want        error  // nil: it signs all the same
		says        string // the error
		slow        bool   // an answer is waited for
	}{
		{name: "session lost once", fault: "session-lost-once"},
		{name: "session lost again and again", fault: "session-lost", want: pkcs11.ErrAway, says: "CKR_SESSION_HANDLE_INVALID"},
		{name: "logged out", fault: "logged-out-once"},
		{name: "signs wrongly", fault: "sign-wrong", want: pkcs11.ErrSignature, says: `token "sigbox", key "a"`},
		{name: "signs zeros", fault: "sign-zero", want: pkcs11.ErrSignature, says: `token "sigbox", key "a"`},
		{name: "half a signature", fault: "sign-short", want: pkcs11.ErrSignature, says: `token "sigbox", key "a"`},
		{name: "hangs", fault: "sign-hangs", want: pkcs11.ErrAway, says: "no answer within 5s", slow: true},
		{name: "crashes", fault: "sign-crashes", want: pkcs11.ErrAway, says: "SIGSEGV"},
		{name: "prints to standard output", fault: "sign-prints"},
		{name: "refuses", fault: "sign-refused", want: errRefused, says: "CKR_KEY_FUNCTION_NOT_PERMITTED"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, k, fault := made(t, quick)
			if err := signs(k); err != nil {
				t.Fatal(err)
			}
			fault.Set(t, row.fault)
			began := time.Now()
			err := signs(k)
			took := time.Since(began)
			switch {
			case row.want == nil && err != nil:
				t.Errorf("error %v", err)
			case row.want == errRefused && (errors.Is(err, pkcs11.ErrAway) || errors.Is(err, pkcs11.ErrPIN)):
				t.Errorf("error %v", err)
			case row.want != nil && row.want != errRefused && !errors.Is(err, row.want):
				t.Errorf("error %v, want %v", err, row.want)
			case row.want != nil && !strings.Contains(err.Error(), row.says):
				t.Errorf("error %v, want %q", err, row.says)
			}
			if most := quick.Answer + 5*time.Second; took > most || row.slow != (took >= quick.Answer) {
				t.Errorf("took %s", took)
			}
			if (k.Err() == nil) != (err == nil) || k.BadSignatures() > 0 != (row.want == pkcs11.ErrSignature) {
				t.Errorf("the key is %v, with %d bad signatures", k.Err(), k.BadSignatures())
			}
			fault.Set(t)
			signsSoon(t, k)
			if k.Err() != nil {
				t.Errorf("the key is still %v", k.Err())
			}
		})
	}
}

var errRefused = errors.New("refused")

// signsSoon waits for a key to sign again, for as long as the waits between starts of a child may be.
func signsSoon(t *testing.T, k *pkcs11.Signer) {
	t.Helper()
	var err error
	for range 30 {
		if err = signs(k); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("it does not recover: %v", err)
}

// TestTokenAway (B-082): a token that is taken away, and one that is another when it comes back.
func TestTokenAway(t *testing.T) {
	h, k, _ := made(t, quick)
	if err := k.Check(); err != nil {
		t.Fatal(err)
	}
	h.Take(t)
	if err := k.Check(); !errors.Is(err, pkcs11.ErrAway) || !errors.Is(k.Err(), pkcs11.ErrAway) {
		t.Errorf("while it is away: %v", err)
	}
	if err := signs(k); !errors.Is(err, pkcs11.ErrAway) {
		t.Errorf("signs while it is away: %v", err)
	}
	h.Return(t)
	recovers(t, k)
	signsSoon(t, k)

	h.Reinit(t)
	if err := k.Check(); err == nil || !strings.Contains(err.Error(), "no private key") {
		t.Errorf("a token without the key: %v", err)
	}
	if _, err := newPool(t, quick).Make(h.URI("a")); err != nil {
		t.Fatal(err)
	}
	recovers(t, k) // a check signs nothing, so it cannot tell that the key is another
	if err := signs(k); !errors.Is(err, pkcs11.ErrSignature) {
		t.Errorf("another key of that name: %v", err)
	}
	if err := k.Check(); !errors.Is(err, pkcs11.ErrSignature) {
		t.Errorf("a check has taken back what a wrong signature says: %v", err)
	}
}

func recovers(t *testing.T, k *pkcs11.Signer) {
	t.Helper()
	for range 30 {
		if k.Check() == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("it does not recover: %v", k.Err())
}

// children are the processes of the program that this process has started.
func children(t *testing.T) []int {
	t.Helper()
	return hsmtest.Children(t, os.Getpid())
}

// TestChildKilled (B-082): a child that somebody kills, in the middle of signatures of many, costs nobody one.
func TestChildKilled(t *testing.T) {
	others := children(t) // of the process's own pool
	h := hsmtest.New(t)
	p := newPool(t, pkcs11.Options{Answer: 20 * time.Second})
	k, err := p.Make(h.URI("a"))
	loaded(t, k, err)
	for range 3 {
		pids := slices.DeleteFunc(children(t), func(pid int) bool { return slices.Contains(others, pid) })
		if len(pids) != 1 {
			t.Fatalf("children: %v", pids)
		}
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				for range 10 {
					if err := signs(k); err != nil {
						t.Error(err)
					}
				}
			})
		}
		kill(t, pids[0])
		group.Wait()
	}
	p.Close()
	for range 50 {
		if slices.Equal(children(t), others) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("left behind: %v", children(t))
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// TestSlow (B-082): who waits for a slow token keeps nobody else waiting, and a signal for all does not end the child.
func TestSlow(t *testing.T) {
	_, k, fault := made(t, pkcs11.Options{Answer: 20 * time.Second})
	fault.Set(t, "sign-slow")
	began := time.Now()
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			if err := signs(k); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if took := time.Since(began); took > 3*time.Second { // 4 s one after the other
		t.Errorf("10 signatures of 400 ms took %s", took)
	}
	before := children(t)
	for _, pid := range before {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
			if err := syscall.Kill(pid, sig); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := signs(k); err != nil || !slices.Equal(before, children(t)) {
		t.Errorf("after signals: %v; children %v, then %v", err, before, children(t))
	}
}

// BenchmarkSign is what a signature costs with SoftHSM behind the child, alone and with 16 at once.
func BenchmarkSign(b *testing.B) {
	h := hsmtest.New(b)
	p := pkcs11.NewPool(pkcs11.Options{})
	b.Cleanup(p.Close)
	k, err := p.Make(h.URI("a"))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("alone", func(b *testing.B) {
		for b.Loop() {
			if err := signs(k); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("many", func(b *testing.B) {
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := signs(k); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
