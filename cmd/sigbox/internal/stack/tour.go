package stack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Self returns how the person at the keyboard runs this program: under `go run` the binary has
// a name that nobody can type twice.
func Self() string {
	exe, err := os.Executable()
	if err != nil || strings.HasPrefix(exe, filepath.Join(os.TempDir(), "go-build")) || strings.Contains(exe, "/go-build/") {
		return "go run ./cmd/sigbox"
	}
	if os.Args[0] == filepath.Base(os.Args[0]) {
		return os.Args[0] // found on PATH
	}
	return shellQuote(exe)
}

// Tour is what to type to sign and to verify, for one client.
type Tour struct {
	URL   string // origin of the instance
	Trust string // directory with the environment files
	Self  string // how to run sigbox
}

// Cosign3 returns the commands for cosign 3. They set nothing beyond the shell they run in.
func (t Tour) Cosign3() string { return t.cosign("env-cosign3.sh") }

// Cosign2 returns the commands for cosign 2.
func (t Tour) Cosign2() string { return t.cosign("env-cosign2.sh") }

func (t Tour) cosign(env string) string {
	return fmt.Sprintf(`. %s
echo hello > hello.txt
cosign sign-blob --yes --bundle hello.bundle \
  --identity-token "$(%s token --url %s --email dev@example.com)" hello.txt
cosign verify-blob --bundle hello.bundle \
  --certificate-identity dev@example.com --certificate-oidc-issuer %s hello.txt
`, shellQuote(filepath.Join(t.Trust, env)), t.Self, t.URL, t.URL)
}

// Initialize returns the second way: one mirror for all of this user's cosign runs.
func (t Tour) Initialize(checksum string) string {
	return fmt.Sprintf(`cosign initialize --mirror %s/tuf --root %s/tuf/root.json \
  --root-checksum %s
`, t.URL, t.URL, checksum)
}

// shellQuote quotes a word for sh where it needs it.
func shellQuote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@%:,") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
