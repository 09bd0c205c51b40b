package e2e

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/e2e/internal/instance"
)

const anotherRow = "a new instance where another one ran: what clients say, and what `sigbox up` prints mends it"

// TestAnotherInstanceRanHere: a user's clients were initialised for an instance that is gone;
// another one runs at its address. `up` says what they will see and what mends it.
func TestAnotherInstanceRanHere(t *testing.T) {
	t.Parallel()
	defer cell(t, "cosign 2, 3", anotherRow, 1)()
	r := start(t)
	r.script(t, `
"$COSIGN3" initialize --mirror "$MIRROR" --root "$MIRROR/root.json"
rekorcli loginfo
`, r.env(t))
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	var err error
	r.Instance, err = instance.Start(context.Background(), instance.Options{
		Binary: world.sigbox, Data: filepath.Join(t.TempDir(), "data"), Env: r.base(), Addr: r.Addr,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, note, _ := strings.Cut(r.Stdout, "NOTE: ")
	says, ok := strings.CutPrefix(labelled(note, "you will see"), "cosign: ")
	mend := labelled(note, "mend it with")
	if !ok || mend == "" {
		t.Fatalf("up does not say what cosign will say and what mends it:\n%s", r.Stdout)
	}
	r.script(t, `
echo hello > blob
refuses "$SAYS" "$COSIGN3" sign-blob --yes --identity-token "$TOKEN" --bundle blob.bundle blob
`+mend+`
"$COSIGN3" sign-blob --yes --identity-token "$TOKEN" --bundle blob.bundle blob
# rekor-cli remembers by tree, and this is another tree.
rekorcli loginfo
`, r.env(t, "TOKEN="+r.token(t, "dev@example.com"), "SAYS="+says))
	r.script(t, `
"$COSIGN3" verify-blob --bundle blob.bundle `+me+` blob
"$COSIGN2" verify-blob --bundle blob.bundle `+me+` blob
`, r.env(t))
}

// labelled returns the rest of the line that begins with label.
func labelled(text, label string) string {
	_, rest, _ := strings.Cut(text, label)
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}
