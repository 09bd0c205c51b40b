package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/setup"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
)

// initSummary says what is there now, and what to type next.
func initSummary(r *setup.Result) (string, error) {
	dir := filepath.Dir(r.Config)
	root, err := os.ReadFile(filepath.Join(dir, "public", "root.json"))
	if err != nil {
		return "", err
	}
	urls, self := r.Plan.URLs, stack.Self()
	trust := stack.Tour{URL: urls.Issuer, Trust: "trust", Self: self}
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	if r.Changed {
		say("\nMade an instance in %s\n", dir)
	} else {
		say("Everything is there in %s, and nothing was changed\n", dir)
	}
	say("\nRun it, all in one process or with --only ca, tlog, tuf%s as several:\n\n  %s serve --config %s\n",
		map[bool]string{false: " or issuer"}[r.Plan.Production], self, r.Config)
	say("\nA service needs sigbox.yaml, public/ and the directory of its own name.\n")
	say("\nGive clients the trust root, and environment files beside it (%s/tuf must answer):\n\n", urls.TUF)
	say("  %s trust export --url %s --root %s --out trust\n", self, urls.TUF, filepath.Join(dir, "public", "root.json"))
	if !r.Plan.Production {
		say("\nThen sign and verify with cosign 3:\n\n%s\nWith cosign 2:\n\n%s", indented(trust.Cosign3()), indented(trust.Cosign2()))
	}
	say("\nOr trust it in every shell of a user (cosign 3 EMPTIES $TUF_ROOT first):\n\n%s",
		indented(stack.Tour{URL: urls.TUF}.Initialize(fmt.Sprintf("%x", sha256.Sum256(root)))))
	if r.Plan.Production {
		say("\nThe keys of the root certificate and of the trust root were never here. Keep them, and copies, apart.\n")
	} else {
		say("\nFOR DEVELOPMENT: the issuer signs in anybody, and the keys of the trust root are in %s\n", filepath.Join(dir, "offline"))
	}
	return b.String(), nil
}

func indented(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ") + "\n"
}
