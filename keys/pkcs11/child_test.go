package pkcs11

import (
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/tokenwire"
)

// TestMain: this binary is a child too, one that breaks the protocol as a variable says.
func TestMain(m *testing.M) {
	if how := os.Getenv("SIGBOX_TEST_CHILD"); how != "" {
		misbehave(how)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func misbehave(how string) {
	for {
		var r tokenwire.Request
		if err := tokenwire.Read(os.Stdin, &r); err != nil {
			return
		}
		a := tokenwire.Response{ID: r.ID, Info: &tokenwire.Info{Version: tokenwire.Version}}
		switch how {
		case "another version":
			a.Info.Version++
		case "no info":
			a.Info = nil
		case "text":
			fmt.Print("Welcome to the vendor's module!\n")
		case "too long":
			_, _ = os.Stdout.Write(binary.BigEndian.AppendUint32(nil, tokenwire.MaxFrame+1))
		case "another request's answer":
			a.ID += 100
		case "two answers":
			_ = tokenwire.Write(os.Stdout, a)
		case "silent":
			continue
		case "no key":
			if r.Op == tokenwire.Find {
				a.SPKI = []byte("no key")
			}
		}
		_ = tokenwire.Write(os.Stdout, a)
	}
}

// TestProtocolBroken: what a child may send instead of an answer, and what the parent makes of it, soon.
func TestProtocolBroken(t *testing.T) {
	module := filepath.Join(t.TempDir(), "m.so")
	if err := os.WriteFile(module, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		how, want string
		away      bool
	}{
		{"another version", "install the two that were built together", true},
		{"no info", "install the two that were built together", true},
		{"text", "is announced", true},
		{"too long", "is announced", true},
		{"another request's answer", "has not opened it within", true},
		{"silent", "has not opened it within", true},
		{"no key", "public key", false},
		{"two answers", "public key", false}, // the second one is for nobody
	} {
		t.Run(row.how, func(t *testing.T) {
			t.Setenv("SIGBOX_TEST_CHILD", row.how)
			p := NewPool(Options{Program: os.Args[0], Answer: 500 * time.Millisecond})
			defer p.Close()
			began := time.Now()
			_, err := p.Load("pkcs11:token=a;object=b?module-path=" + module)
			if err == nil || !strings.Contains(err.Error(), row.want) || errors.Is(err, ErrAway) != row.away {
				t.Errorf("error %v, want %q", err, row.want)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

// TestStartsAreApart: a child that never works is started less and less often, and a pool that is closed starts none.
func TestStartsAreApart(t *testing.T) {
	module := filepath.Join(t.TempDir(), "m.so")
	if err := os.WriteFile(module, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := NewPool(Options{Program: "/bin/false", Backoff: time.Hour})
	defer p.Close()
	load := func() error {
		_, err := p.Load("pkcs11:token=a;object=b?module-path=" + module)
		return err
	}
	began, started := time.Now(), 0
	for range 200 {
		err := load()
		if !errors.Is(err, ErrAway) {
			t.Fatal(err)
		}
		if !strings.Contains(err.Error(), "tried again in") {
			started++
		}
	}
	// Two at once, and then one for each doubling of 100 ms.
	if most := 3 + bits.Len(uint(time.Since(began)/(100*time.Millisecond))); started < 2 || started > most {
		t.Errorf("started %d times, want 2 to %d", started, most)
	}
	for n, want := range map[int]time.Duration{0: 0, 1: 0, 2: 100 * time.Millisecond, 3: 200 * time.Millisecond, 9: 10 * time.Second, 1 << 30: 10 * time.Second} {
		if got := backoff(n, 10*time.Second); got != want {
			t.Errorf("after %d starts: %s, want %s", n, got, want)
		}
	}
	p.Close()
	if err := load(); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("closed: %v", err)
	}
}

// TestDER: only r and s of the curve's length are a signature.
func TestDER(t *testing.T) {
	for n := range 140 {
		if _, err := der(make([]byte, n), 32); (err == nil) != (n == 64) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for h, prefix := range digestInfo {
		if int(prefix[1]) != len(prefix)-2+h.Size() || h == crypto.SHA1 {
			t.Errorf("%s: a prefix of another length", h)
		}
	}
}

// TestTail: the end is kept, in bounds, without the PIN and without what Go prints of a crash.
func TestTail(t *testing.T) {
	var s tail
	s.hide([]byte("4711"))
	for range 1000 {
		fmt.Fprintf(&s, "%s\nPIN 4711\x1b\n", strings.Repeat("x", 50))
	}
	if got := s.String(); len(got) > maxShown+3 || !strings.HasSuffix(got, "PIN (PIN)") || strings.Contains(got, "4711") || strings.Contains(got, "\x1b") {
		t.Errorf("%q", got)
	}
	if len(s.text) > maxSaid {
		t.Errorf("%d bytes are kept", len(s.text))
	}
	fmt.Fprint(&s, "SIGSEGV: segmentation violation\nP")
	fmt.Fprint(&s, "C=0x1\ngoroutine 1\n")
	fmt.Fprint(&s, "rax 0x4711")
	if got := s.String(); !strings.HasSuffix(got, "SIGSEGV: segmentation violation") {
		t.Errorf("%q", got)
	}
}
