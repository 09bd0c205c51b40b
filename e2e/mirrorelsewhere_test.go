package e2e

import (
	"net/url"
	"path/filepath"
	"testing"

	"github.com/sigbox/sigbox/e2e/internal/fleet"
	"github.com/sigbox/sigbox/internal/pgtest"
)

// TestMirrorElsewhere is docs/mirror.md: while nothing of an instance runs, who has trusted_root.json verifies and who
// asks the mirror does not, until some web server shows the files of tuf.mirror at its address, to new homes too.
func TestMirrorElsewhere(t *testing.T) {
	t.Parallel()
	files := filepath.Join(t.TempDir(), "files")
	f := startFleetWith(t, fleet.OneProcess, pgtest.Start(t).URL("postgres"), func(config map[string]any) {
		config["tuf"].(map[string]any)["mirror"] = filepath.Join(files, "tuf")
	})
	r := visit(t, f)
	mirror, err := url.Parse(r.mirror)
	if err != nil {
		t.Fatal(err)
	}
	env := r.env(t, "TOKEN="+r.token(t, "dev@example.com"), "FILES="+files, "PORT="+mirror.Port())
	r.script(t, `
echo hello > blob
cosign3 sign-blob --yes --identity-token "$TOKEN" --bundle v1.bundle blob
cosign2 sign-blob --yes --identity-token "$TOKEN" --output-signature sig --output-certificate pem --bundle old.bundle blob
for c in cosign3 cosign2; do $c verify-blob --trusted-root "$TRUST/trusted_root.json" --bundle v1.bundle --new-bundle-format `+me+` blob; done
`, env)
	if err := f.Stop(); err != nil {
		t.Fatal(err)
	}
	r.script(t, `
verifies() {
	cosign3 verify-blob --bundle v1.bundle `+me+` blob
	cosign2 verify-blob --bundle old.bundle --signature sig --certificate pem `+me+` blob
}
refuses 'connection refused' cosign3 verify-blob --bundle v1.bundle `+me+` blob
for c in cosign3 cosign2; do $c verify-blob --trusted-root "$TRUST/trusted_root.json" --bundle v1.bundle --new-bundle-format `+me+` blob; done

python3 -m http.server --bind 127.0.0.1 --directory "$FILES" "$PORT" > web.log 2>&1 &
web=$!
trap 'kill $web; wait' EXIT
for i in 1 2 3 4 5 6 7 8 9; do ! curl -sSf -o root.json "$MIRROR/root.json" || break; sleep 1; done
cmp root.json "$TRUST/root.json"
verifies
( cd "$FILES" && find tuf -type f | sort )
sigbox trust export --url "$MIRROR" --root root.json --out again
for f in root.json trusted_root.json signing_config.v0.2.json; do cmp "again/$f" "$TRUST/$f"; done
TRUST=$WORK/again HOME=$WORK/new
mkdir "$HOME"
verifies
`, env)
}
