package hsmtest

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// PIN and Label are those of every token of this package.
const (
	PIN   = "7391-hsmtest"
	Label = "sigbox"
)

// HSM is SoftHSM with one token, for this test and the processes that it starts: t.Setenv says where it is.
type HSM struct {
	Module  string // path of the library
	PINFile string // a private file with the PIN

	dir string
}

// New makes a token. The test must not be parallel.
func New(t testing.TB) *HSM {
	t.Helper()
	h := &HSM{Module: library(t), dir: t.TempDir()}
	h.PINFile = filepath.Join(h.dir, "pin")
	write(t, h.PINFile, PIN+"\n")
	conf := filepath.Join(h.dir, "softhsm2.conf")
	write(t, conf, "directories.tokendir = "+h.tokens()+"\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n")
	t.Setenv("SOFTHSM2_CONF", conf)
	t.Setenv("SIGBOX_PKCS11_PROGRAM", program(t))
	h.Init(t)
	return h
}

func (h *HSM) tokens() string { return filepath.Join(h.dir, "tokens") }

// Init makes the token, new and empty.
func (h *HSM) Init(t testing.TB) {
	t.Helper()
	if err := os.MkdirAll(h.tokens(), 0o700); err != nil {
		t.Fatal(err)
	}
	h.Util(t, "--init-token", "--free", "--label", Label, "--so-pin", "so-"+PIN, "--pin", PIN)
}

// Util runs SoftHSM's own tool.
func (h *HSM) Util(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command("softhsm2-util", args...).CombinedOutput(); err != nil {
		t.Fatalf("softhsm2-util %s: %v\n%s", args[0], err, out)
	}
}

// Import writes the key of a PKCS #8 file to the token, under a label.
func (h *HSM) Import(t testing.TB, file, label string) {
	t.Helper()
	h.Util(t, "--import", file, "--token", Label, "--label", label, "--id", fmt.Sprintf("%x", label), "--pin", PIN)
}

// URI names a key of the token.
func (h *HSM) URI(label string) string { return h.uri(h.Module, label) }

// TokenURI names the token.
func (h *HSM) TokenURI() string {
	return "pkcs11:token=" + Label + "?module-path=" + h.Module + "&pin-source=file:" + h.PINFile
}

func (h *HSM) uri(module, label string) string {
	return "pkcs11:token=" + Label + ";object=" + label + "?module-path=" + module + "&pin-source=file:" + h.PINFile
}

// Take takes the token away, and Return brings it back as it was.
func (h *HSM) Take(t testing.TB) { h.move(t, h.tokens(), h.tokens()+".away") }

// Return undoes Take.
func (h *HSM) Return(t testing.TB) { h.move(t, h.tokens()+".away", h.tokens()) }

func (h *HSM) move(t testing.TB, from, to string) {
	t.Helper()
	_ = os.Remove(to) // SoftHSM may have made an empty one
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// Empty leaves no token.
func (h *HSM) Empty(t testing.TB) {
	t.Helper()
	if err := os.RemoveAll(h.tokens()); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(h.tokens(), 0o700); err != nil {
		t.Fatal(err)
	}
}

// Reinit replaces the token by a new and empty one, with the same label and PIN.
func (h *HSM) Reinit(t testing.TB) {
	t.Helper()
	h.Empty(t)
	h.Init(t)
}

// library is where SoftHSM's module is.
var library = found([]string{"/usr/lib/softhsm", "/usr/lib64/softhsm", "/usr/lib64/pkcs11", "/usr/lib/x86_64-linux-gnu/softhsm",
	"/usr/lib/aarch64-linux-gnu/softhsm", "/usr/local/lib/softhsm"})

func found(dirs []string) func(testing.TB) string {
	return func(t testing.TB) string {
		t.Helper()
		for _, dir := range dirs {
			path := filepath.Join(dir, "libsofthsm2.so")
			if _, err := os.Stat(path); err == nil {
				return path
			}
		}
		t.Fatal("please install SoftHSM 2 (Debian package softhsm2)")
		return ""
	}
}

// built is a program that is built once by a test binary, beside which it is put: go test removes that directory.
func built(build func(dir string) (string, error)) func(testing.TB) string {
	once := sync.OnceValues(func() (string, error) {
		self, err := os.Executable()
		if err != nil {
			return "", err
		}
		dir, err := os.MkdirTemp(filepath.Dir(self), "hsmtest")
		if err != nil {
			return "", err
		}
		return build(dir)
	})
	return func(t testing.TB) string {
		t.Helper()
		path, err := once()
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
}

// program is sigbox-pkcs11.
var program = built(func(dir string) (string, error) {
	path := filepath.Join(dir, "sigbox-pkcs11")
	root, err := moduleDir("", "github.com/sigbox/sigbox")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-o", path, "./cmd/sigbox-pkcs11")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build sigbox-pkcs11: %w\n%s", err, out)
	}
	return path, err
})

// moduleDir is where a module is, as the module in a directory sees it.
func moduleDir(from, module string) (string, error) {
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module)
	cmd.Dir = from
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("where module %s is: %w", module, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Program returns the path of sigbox-pkcs11, built from this tree.
func Program(t testing.TB) string { return program(t) }

//go:embed testdata/faulty.c
var faultyC []byte

var faulty = built(func(dir string) (string, error) {
	root, err := moduleDir("", "github.com/sigbox/sigbox")
	if err != nil {
		return "", err
	}
	headers, err := moduleDir(root, "github.com/miekg/pkcs11") // PKCS #11's own
	if err != nil {
		return "", err
	}
	source, path := filepath.Join(dir, "faulty.c"), filepath.Join(dir, "faulty.so")
	if err := os.WriteFile(source, faultyC, 0o600); err != nil {
		return "", err
	}
	out, err := exec.Command("cc", "-shared", "-fPIC", "-o", path, "-I", headers, source, "-ldl").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("compile faulty.c: %w\n%s", err, out)
	}
	return path, err
})

// Fault switches faults of [HSM.Faulty] on: the words of faulty.c, none for none.
type Fault struct{ switches, logins string }

// Faulty returns the URI of a key behind a module that passes everything on to SoftHSM, but for the faults that are on.
func (h *HSM) Faulty(t testing.TB, label string) (string, *Fault) {
	t.Helper()
	f := &Fault{filepath.Join(h.dir, "faults"), filepath.Join(h.dir, "logins")}
	f.Set(t)
	t.Setenv("HSMTEST_MODULE", h.Module)
	t.Setenv("HSMTEST_FAULTS", f.switches)
	t.Setenv("HSMTEST_LOGINS", f.logins)
	return h.uri(faulty(t), label), f
}

// Set has these faults on, and no others.
func (f *Fault) Set(t testing.TB, faults ...string) {
	t.Helper()
	write(t, f.switches, strings.Join(faults, " "))
}

// Logins is how often a PIN was given to the token.
func (f *Fault) Logins(t testing.TB) int {
	t.Helper()
	raw, err := os.ReadFile(f.logins)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return len(raw)
}

// Children are the processes of sigbox-pkcs11 that a process has started and that run.
func Children(t testing.TB, parent int) (list []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		t.Fatalf("no processes in /proc: %v", err)
	}
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		var pid, ppid int
		var name string
		var state byte
		if _, err := fmt.Sscanf(string(raw), "%d %s %c %d", &pid, &name, &state, &ppid); err != nil || ppid != parent || state == 'Z' {
			continue // others may have spaces in their names
		}
		if strings.HasPrefix(name, "(sigbox-pkcs11") {
			list = append(list, pid)
		}
	}
	slices.Sort(list)
	return list
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
