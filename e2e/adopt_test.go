package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// TestAdopted: what cosign 2 and 3 signed with Fulcio, a CT log and Rekor of upstream verifies with both against a new
// instance that has adopted their keys. It was signed by the test of the same name in differential, which does all of it
// anew with those servers.
func TestAdopted(t *testing.T) {
	t.Parallel()
	r := start(t)
	if err := os.CopyFS(r.work, os.DirFS(filepath.Join("testdata", "adopted"))); err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(filepath.Join("testdata", "adopt.sh"))
	if err != nil {
		t.Fatal(err)
	}
	r.script(t, string(script), r.env(t, "INSTANCE="+filepath.Join(filepath.Dir(r.work), "data"), "UNTIL=now"))
}
