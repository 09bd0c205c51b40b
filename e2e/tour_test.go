package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/e2e/internal/clients"
	"github.com/sigbox/sigbox/e2e/internal/outside"
	"github.com/sigbox/sigbox/e2e/internal/sh"
)

const tourRow = "the README's tour, pasted; the lines that `sigbox up` prints, pasted"

// TestTour pastes what the README and `sigbox up` tell a stranger to type, word for word, on the
// default address. An empty network namespace keeps that address free.
func TestTour(t *testing.T) {
	before, err := outside.Gone(context.Background())
	namespaced(t, err)
	defer cell(t, "cosign 2, 3", tourRow, 1)()
	readme, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := fenced(string(readme), "## A tour in sixty seconds")
	if len(blocks) < 2 || !strings.Contains(blocks[0], "sign-blob") {
		t.Fatalf("README: the tour has %d blocks: %q", len(blocks), blocks)
	}
	work := t.TempDir()
	env := []string{"HOME=" + work, "WORK=" + work, "LIMIT=60", "SIGBOX=" + world.sigbox, "PATH=" + work + "/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	if err := os.Mkdir(filepath.Join(work, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]clients.Client{"cosign": clients.Cosign3, "cosign2": clients.Cosign2} {
		path, err := c.Path()
		if err != nil {
			t.Fatal(err)
		}
		link(t, path, filepath.Join(work, "bin", name))
	}
	link(t, world.sigbox, filepath.Join(work, "bin", "sigbox"))
	// The binary is built already: `go run ./cmd/sigbox` runs it.
	shim := "#!/bin/sh\nshift 2\nexec \"$SIGBOX\" \"$@\"\n"
	if err := os.WriteFile(filepath.Join(work, "bin", "go"), []byte(shim), 0o755); err != nil {
		t.Fatal(err)
	}
	script := `
go run ./cmd/sigbox up > up.txt 2> up.log &
up=$!
i=0; until grep -q '^ready ' up.txt; do i=$((i+1)); [ $i -lt 300 ]; sleep 0.1; done
[ "$(tail -n 1 up.txt)" = "ready http://127.0.0.1:8080" ]
cat up.txt
( ` + blocks[0] + ` )
( ` + blocks[1] + ` )
cosign verify-blob --bundle hello.bundle --certificate-identity dev@example.com --certificate-oidc-issuer http://127.0.0.1:8080 hello.txt
# What up prints: the lines from the sourced file to the verification, and those of initialize.
awk '/^ *\. .*env-cosign3\.sh/ {on=1} on {print} on && /hello\.txt$/ && /certificate-identity/ {exit}' up.txt > tour3.sh
awk '/^ *cosign initialize/ {on=1} on {print} on && /checksum/ {exit}' up.txt > initialize.sh
grep -q verify-blob tour3.sh
grep -q env-cosign2.sh up.txt
rm hello.*
sh -eux tour3.sh
sh -eux initialize.sh
cosign verify-blob --bundle hello.bundle --certificate-identity dev@example.com --certificate-oidc-issuer http://127.0.0.1:8080 hello.txt
rm hello.*
ln -sf cosign2 bin/cosign
sed 's/env-cosign3/env-cosign2/' tour3.sh > tour2.sh
sh -eux tour2.sh
kill -TERM $up
wait $up
`
	out, err := sh.Run(context.Background(), before, "set -eux\ncd \"$WORK\"\n"+script, env, scenarioLimit)
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(work, "up.log")) // there only if it was started
		t.Fatalf("tour: %v\n%s\n%s", err, out, log)
	}
}

func link(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Symlink(from, to); err != nil {
		t.Fatal(err)
	}
}

// fenced returns the fenced code blocks of a section of Markdown.
func fenced(text, heading string) []string {
	_, section, _ := strings.Cut(text, heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var blocks []string
	for i, part := range strings.Split(section, "```") {
		if i%2 == 1 {
			blocks = append(blocks, part)
		}
	}
	return blocks
}
