package trustroot

import (
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// Names of the environment files.
const (
	EnvCosign3Name = "env-cosign3.sh"
	EnvCosign2Name = "env-cosign2.sh"
	EnvLegacyName  = "env-legacy.sh"
)

// Environment is what the environment files point clients to.
type Environment struct {
	Dir       string // absolute; holds root.json and the targets under their own names
	Mirror    string // base URL of the TUF repository
	FulcioURL string
	RekorURL  string // v1
	IssuerURL string
	TSA       bool // whether there is TSAName in Dir
}

// The variables that one family of clients needs break another (COMPAT.md 5.6): with a
// SIGSTORE_*_FILE set cosign refuses new-format bundles, with a COSIGN_*_URL set cosign 3 refuses
// its signing configuration. So every file begins by unsetting all of them.
var clientVariables = []string{
	"TUF_ROOT", "TUF_MIRROR", "TUF_ROOT_JSON",
	"COSIGN_FULCIO_URL", "COSIGN_REKOR_URL", "COSIGN_OIDC_ISSUER", "COSIGN_TIMESTAMP_SERVER_URL",
	"COSIGN_SIGNING_CONFIG", "COSIGN_TRUSTED_ROOT", "COSIGN_USE_SIGNING_CONFIG",
	"SIGSTORE_ROOT_FILE", "SIGSTORE_REKOR_PUBLIC_KEY", "SIGSTORE_CT_LOG_PUBLIC_KEY_FILE", "SIGSTORE_TSA_CERTIFICATE_FILE",
	"SIGSTORE_FULCIO_URL", "SIGSTORE_REKOR_URL", "SIGSTORE_OIDC_ISSUER", "SIGSTORE_NO_CACHE",
	"GITSIGN_FULCIO_URL", "GITSIGN_REKOR_URL", "GITSIGN_OIDC_ISSUER",
	"GCE_METADATA_HOST",
}

// ClientVariables are the variables that point clients elsewhere: what the environment files unset.
func ClientVariables() []string { return slices.Clone(clientVariables) }

type variable struct{ name, value string }

// Files returns the environment files by name: POSIX sh, to be sourced from any directory.
func (e Environment) Files() map[string][]byte {
	tufVars := func(cache string) []variable {
		return []variable{
			{"TUF_MIRROR", e.Mirror},
			{"TUF_ROOT_JSON", filepath.Join(e.Dir, "root.json")},
			{"TUF_ROOT", filepath.Join(e.Dir, cache)},
			// Without an identity token clients ask whether they run on Google's cloud, and so send a
			// name and packets to the world. The instance answers that they do not.
			{"GCE_METADATA_HOST", e.authority()},
		}
	}
	legacy := append(tufVars("tuf-legacy"),
		variable{"SIGSTORE_ROOT_FILE", filepath.Join(e.Dir, FulcioName)},
		variable{"SIGSTORE_REKOR_PUBLIC_KEY", filepath.Join(e.Dir, RekorName)},
		variable{"SIGSTORE_CT_LOG_PUBLIC_KEY_FILE", filepath.Join(e.Dir, CTName)})
	if e.TSA {
		legacy = append(legacy, variable{"SIGSTORE_TSA_CERTIFICATE_FILE", filepath.Join(e.Dir, TSAName)})
	}
	legacy = append(legacy,
		variable{"GITSIGN_FULCIO_URL", e.FulcioURL},
		variable{"GITSIGN_REKOR_URL", e.RekorURL},
		variable{"GITSIGN_OIDC_ISSUER", e.IssuerURL})
	cosign2 := append(tufVars("tuf-cosign2"),
		variable{"COSIGN_FULCIO_URL", e.FulcioURL},
		variable{"COSIGN_REKOR_URL", e.RekorURL},
		variable{"COSIGN_OIDC_ISSUER", e.IssuerURL})
	return map[string][]byte{
		EnvCosign3Name: e.script("cosign 3", EnvCosign3Name, tufVars("tuf-cosign3")),
		EnvCosign2Name: e.script("cosign 2", EnvCosign2Name, cosign2),
		EnvLegacyName:  e.script("gitsign, Kyverno's command line and images signed in the legacy format", EnvLegacyName, legacy),
	}
}

func (e Environment) script(who, name string, vars []variable) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Settings of %s for the Sigstore instance at\n", who)
	fmt.Fprintf(&b, "# %s\n", strings.Map(printable, e.Mirror))
	fmt.Fprintf(&b, "# Source it:  . %s\n", strings.Map(printable, quote(filepath.Join(e.Dir, name))))
	b.WriteString("# It holds for one shell, and undoes the files for other clients. Nothing global is changed.\n")
	fmt.Fprintf(&b, "unset %s\n", strings.Join(clientVariables, " "))
	for _, v := range vars {
		fmt.Fprintf(&b, "export %s=%s\n", v.name, quote(v.value))
	}
	return []byte(b.String())
}

// authority is the host and port of the mirror.
func (e Environment) authority() string {
	u, err := url.Parse(e.Mirror)
	if err != nil {
		return ""
	}
	return u.Host
}

// quote makes one word of s for sh, whatever it holds.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// printable keeps a comment on its line.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return -1
	}
	return r
}
