package stack

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/sigbox/sigbox/tuf/clientcache"
)

// Summary is what `up` prints once everything answers.
type Summary struct {
	Stack      *Stack
	URL        string
	Data       string
	Created    bool // by this run
	RootSHA256 string
	Registry   string // address, "" for none
	Stale      []clientcache.Stale
}

// String returns the summary; its last line is "ready URL".
func (s Summary) String() string {
	var b strings.Builder
	what := "Found an instance in"
	if s.Created {
		what = "Made a new instance in"
	}
	fmt.Fprintf(&b, "\nsigbox: a private Sigstore for development. Its issuer signs in anybody; it listens on this machine only.\n\n")
	fmt.Fprintf(&b, "%s %s\n\n", what, s.Data)
	for _, svc := range s.Stack.Services() {
		fmt.Fprintf(&b, "  %-13s %s\n", svc.Name, svc.Path)
	}
	if s.Registry != "" {
		fmt.Fprintf(&b, "  %-13s %s (in memory)\n", "OCI registry", s.Registry)
	}
	t := s.Stack.Tour()
	fmt.Fprintf(&b, "\nSign and verify with cosign 3, in another terminal:\n\n%s", indent(t.Cosign3()))
	fmt.Fprintf(&b, "\nWith cosign 2:\n\n%s", indent(t.Cosign2()))
	fmt.Fprintf(&b, "\nThe environment files set nothing beyond the shell they are sourced in.\n")
	fmt.Fprintf(&b, "\nOr trust this instance in every shell of this user. cosign 3 EMPTIES $TUF_ROOT (~/.sigstore/root) first;\n"+
		"the way back to the public instance is `cosign initialize` without flags:\n\n%s", indent(t.Initialize(s.RootSHA256)))
	fmt.Fprintf(&b, "\nWARNING: `cosign sign --key` of cosign 2 posts to the public log unless the environment file is sourced.\n")
	for _, st := range s.Stale {
		fmt.Fprintf(&b, "\nNOTE: %s remembers another instance that ran at this address.\n  you will see   %s\n  mend it with   %s\n", st.Where, st.Says,
			strings.NewReplacer("sigbox ", t.Self+" ", "ROOT.JSON", shellQuote(filepath.Join(t.Trust, "root.json"))).Replace(st.Mend))
	}
	fmt.Fprintf(&b, "\nready %s\n", s.URL)
	return b.String()
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ") + "\n"
}
