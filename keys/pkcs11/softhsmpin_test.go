//go:build softhsm

package pkcs11_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/hsmtest"
	"github.com/sigbox/sigbox/keys/pkcs11"
)

// TestWrongPIN (B-082): it is tried once by a process, whichever keys are loaded and however often, and not at all by
// the next process, since SoftHSM says that a wrong one was entered. --try-pin is the way out.
func TestWrongPIN(t *testing.T) {
	h := hsmtest.New(t)
	k, err := newPool(t, quick).Make(h.URI("a"))
	loaded(t, k, err)
	uri, fault := h.Faulty(t, "a")
	if err := os.WriteFile(h.PINFile, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newPool(t, quick)
	for _, u := range []string{uri, uri, strings.Replace(uri, "object=a", "object=b", 1), strings.Replace(uri, "token=sigbox", "token=sigbox;slot-id="+slotID(t), 1)} {
		k, err := p.Load(u)
		if !errors.Is(err, pkcs11.ErrPIN) || !strings.Contains(err.Error(), "CKR_PIN_INCORRECT") || !strings.Contains(err.Error(), "started again") {
			t.Errorf("%s: %v, %v", u, k, err)
		}
	}
	if n := fault.Logins(t); n != 1 {
		t.Errorf("tried %d times", n)
	}
	for range 3 { // as systemd does
		if _, err := newPool(t, quick).Load(uri); !errors.Is(err, pkcs11.ErrPIN) || !strings.Contains(err.Error(), "--try-pin") {
			t.Errorf("after a start: %v", err)
		}
	}
	if n := fault.Logins(t); n != 1 {
		t.Errorf("tried %d times in all, after three starts", n)
	}
	if err := os.WriteFile(h.PINFile, []byte(hsmtest.PIN), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Load(uri); !errors.Is(err, pkcs11.ErrPIN) || fault.Logins(t) != 1 {
		t.Errorf("tried again by the same process: %v", err)
	}
	insist := quick
	insist.TryPIN = true
	if _, err := newPool(t, insist).Load(uri); err != nil {
		t.Errorf("by hand: %v", err)
	}
	if _, err := newPool(t, quick).Load(uri); err != nil {
		t.Errorf("after a right one: %v", err)
	}
}

// slotID is the slot of the token, as SoftHSM has drawn it.
func slotID(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("softhsm2-util", "--show-slots").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(out), "Slot ")
	id, _, ok := strings.Cut(rest, "\n")
	if !ok {
		t.Fatalf("no slot: %s", out)
	}
	return id
}

// TestPINTries (B-082): how often a PIN is given to a token by two starts of a process that each use the key three
// times (once, where that hangs), and whether the second one gets through once the fault is over.
func TestPINTries(t *testing.T) {
	for _, row := range []struct {
		name, fault string
		tries       int
		says        string
		after       bool
	}{
		{"one wrong PIN before", "count-low", 0, "a wrong PIN was entered", true},
		{"one try left", "final-try", 0, "one more try", true},
		{"locked", "locked", 0, "is locked", true},
		{"to be changed", "change-pin", 0, "wants its PIN changed", true},
		{"locks meanwhile", "login-locked", 2, "CKR_PIN_LOCKED", false},
		{"crashes at the login", "login-crashes", 2, "not known", false},
		{"hangs at the login", "login-hangs", 2, "not known", false},
		{"says nothing of the PIN", "login-fails", 2, "CKR_FUNCTION_FAILED", false},
		{"is away at the login", "login-absent", 12, "CKR_TOKEN_NOT_PRESENT", true},
		{"crashes before it", "open-crashes", 0, "SIGSEGV", true},
		{"hangs before it", "open-hangs", 0, "has not opened it", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := hsmtest.New(t)
			o, uses := pkcs11.Options{Answer: time.Minute, Backoff: time.Millisecond}, 3
			if strings.HasSuffix(row.fault, "-hangs") {
				o.Answer, uses = 4*time.Second, 1
			}
			_, err := newPool(t, quick).Make(h.URI("a"))
			if err != nil {
				t.Fatal(err)
			}
			uri, fault := h.Faulty(t, "a")
			fault.Set(t, row.fault)
			var last *pkcs11.Pool
			for range 2 {
				last = newPool(t, o)
				for range uses {
					if _, err := last.Load(uri); err == nil || !strings.Contains(err.Error(), row.says) || strings.Contains(err.Error(), hsmtest.PIN) {
						t.Errorf("error %v, want %q", err, row.says)
					}
					time.Sleep(2 * time.Millisecond)
				}
			}
			if n := fault.Logins(t); n != row.tries && (row.fault != "login-absent" || n < 2) {
				t.Errorf("%d tries, want %d", n, row.tries)
			}
			fault.Set(t)
			if _, err := last.Load(uri); (err == nil) != row.after {
				t.Errorf("after it: %v", err)
			}
		})
	}
}

// TestAcceptedPIN (B-082): a PIN that was accepted is used again after a session is lost, also where somebody else
// has entered a wrong one meanwhile, but not as the last try; and the file is not needed for that.
func TestAcceptedPIN(t *testing.T) {
	for _, row := range []struct {
		name, fault string
		want        error
	}{
		{"nothing else", "", nil},
		{"one wrong PIN by others", "count-low", nil},
		{"one try left", "final-try", pkcs11.ErrPIN},
		{"locked", "locked", pkcs11.ErrPIN},
		{"crashes once at the login", "login-crashes", pkcs11.ErrAway},
	} {
		t.Run(row.name, func(t *testing.T) {
			h, k, fault := made(t, quick)
			others := fault.Logins(t)
			if err := os.Remove(h.PINFile); err != nil {
				t.Fatal(err)
			}
			fault.Set(t, row.fault)
			for _, pid := range children(t) {
				kill(t, pid)
			}
			if err := signs(k); !errors.Is(err, row.want) || row.want == nil && err != nil {
				t.Errorf("error %v, want %v", err, row.want)
			}
			if n := fault.Logins(t) - others; row.want == pkcs11.ErrPIN && n != 0 {
				t.Errorf("%d tries", n)
			}
			fault.Set(t)
			signsSoon(t, k)
		})
	}
}

// TestPINIsSecret (B-217): the PIN is in no argument, no environment and no error, also where a module prints it.
func TestPINIsSecret(t *testing.T) {
	_, k, fault := made(t, quick)
	for _, pid := range children(t) {
		for _, file := range []string{"cmdline", "environ"} {
			raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			if err != nil || len(raw) == 0 {
				t.Fatalf("%s: %v", file, err)
			}
			if strings.Contains(string(raw), hsmtest.PIN) {
				t.Errorf("the PIN is in %s of the child", file)
			}
		}
	}
	fault.Set(t, "login-prints", "sign-crashes")
	for _, pid := range children(t) {
		kill(t, pid)
	}
	err := signs(k)
	if err == nil || !strings.Contains(err.Error(), "login with (PIN)") || strings.Contains(err.Error(), hsmtest.PIN) {
		t.Errorf("error %v", err)
	}
}

// TestPINFile (B-217): which files are no PINs.
func TestPINFile(t *testing.T) {
	h := hsmtest.New(t)
	k, err := newPool(t, quick).Make(h.URI("a"))
	loaded(t, k, err)
	uri, fault := h.Faulty(t, "a")
	for _, row := range []struct {
		name, text string
		mode       os.FileMode
		want       string
	}{
		{"everybody can read", hsmtest.PIN, 0o644, "chmod 600"},
		{"empty", "", 0o600, "want one line"},
		{"an empty line", "\n", 0o600, "want one line"},
		{"two lines", hsmtest.PIN + "\n" + hsmtest.PIN, 0o600, "want one line"},
		{"too long", strings.Repeat("1", 256), 0o600, "want one line"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := errors.Join(os.WriteFile(h.PINFile, []byte(row.text), 0o600), os.Chmod(h.PINFile, row.mode)); err != nil {
				t.Fatal(err)
			}
			_, err := newPool(t, quick).Load(uri)
			if !errors.Is(err, pkcs11.ErrPIN) || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), hsmtest.PIN) {
				t.Errorf("error %v, want %q", err, row.want)
			}
		})
	}
	t.Run("none named", func(t *testing.T) {
		short, _, _ := strings.Cut(uri, "&pin-source")
		if _, err := newPool(t, quick).Load(short); !errors.Is(err, pkcs11.ErrPIN) || !strings.Contains(err.Error(), "no pin-source") {
			t.Errorf("error %v", err)
		}
	})
	if n := fault.Logins(t); n != 0 {
		t.Errorf("%d tries", n)
	}
	t.Run("another PIN for another key of the token", func(t *testing.T) {
		other := filepath.Join(t.TempDir(), "pin")
		if err := errors.Join(os.WriteFile(h.PINFile, []byte(hsmtest.PIN), 0o600), os.Chmod(h.PINFile, 0o600), os.WriteFile(other, []byte("1234"), 0o600)); err != nil {
			t.Fatal(err)
		}
		p := newPool(t, quick)
		first, err := p.Load(uri)
		loaded(t, first, err)
		if _, err := p.Load(strings.Replace(uri, h.PINFile, other, 1)); !errors.Is(err, pkcs11.ErrPIN) || !strings.Contains(err.Error(), "another PIN than") {
			t.Errorf("error %v", err)
		}
		if n := fault.Logins(t); n != 1 {
			t.Errorf("%d tries", n)
		}
	})
}
