package e2e

import (
	"fmt"
	"testing"

	"github.com/sigbox/sigbox/e2e/internal/fleet"
	"github.com/sigbox/sigbox/internal/pgtest"
)

const keyPair = `
openssl genpkey $GENPKEY -out key.pem 2>/dev/null
cosign3 import-key-pair --key key.pem --output-key-prefix it
echo hello > blob
index() { tr ',' '\n' < "$1" | sed -n 's/.*"logIndex": *"\([0-9]*\)".*/\1/p' | head -1; }
`

const (
	rsaKey     = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048"
	ed25519Key = "-algorithm ed25519"
)

// signTwice signs one blob twice with a key whose signatures are always the same, so that the log is given the
// same entry twice.
const signTwice = keyPair + `
cosign3 sign-blob --yes --key it.key $LOG --bundle first.bundle blob
cosign3 sign-blob --yes --key it.key $LOG --bundle second.bundle blob
cosign3 verify-blob --key it.pub --bundle first.bundle blob
cosign3 verify-blob --key it.pub --bundle second.bundle blob
test -n "$(index first.bundle)"
test "$(index first.bundle)" = "$(index second.bundle)"
`

// signConflict is what cosign 3 makes of 409, which is what Rekor v1 answers and our default.
const signConflict = keyPair + `
cosign3 sign-blob --yes --key it.key $LOG --bundle first.bundle blob
refuses 'an equivalent entry already exists in the transparency log with UUID' cosign3 sign-blob --yes --key it.key $LOG --bundle second.bundle blob
cosign3 verify-blob --key it.pub --bundle first.bundle blob
`

// signNever: with an Ed25519 key cosign 3.1.3 signs Ed25519ph, which both logs take, and then does not verify its own
// bundle; the second time it is told of the first entry where the log answers 409.
const signNever = keyPair + `
refuses 'could not verify message' cosign3 sign-blob --yes --key it.key $LOG --bundle first.bundle blob
refuses "$SECOND" cosign3 sign-blob --yes --key it.key $LOG --bundle second.bundle blob
`

// TestDuplicates: cosign 3 signs one blob twice with an RSA and with an Ed25519 key, on both logs, under each setting of
// tlog.rekor_v1.duplicates. Where the log returns what it has, both bundles verify and name the one entry.
func TestDuplicates(t *testing.T) {
	for _, setting := range []string{"conflict", "return"} {
		t.Run(setting, func(t *testing.T) {
			f := startFleetWith(t, fleet.OneProcess, pgtest.Start(t).URL("postgres"), func(file map[string]any) {
				file["tlog"].(map[string]any)["rekor_v1"].(map[string]any)["duplicates"] = setting
			})
			second := map[string]string{"conflict": signConflict, "return": signTwice}[setting]
			for _, row := range []struct {
				name, genpkey, script string
				log                   int
			}{
				{"RSA", rsaKey, second, 1}, {"RSA", rsaKey, signTwice, 2}, {"Ed25519", ed25519Key, signNever, 1}, {"Ed25519", ed25519Key, signNever, 2},
			} {
				t.Run(fmt.Sprintf("%s/v%d", row.name, row.log), func(t *testing.T) {
					r, again := visit(t, f), "could not verify message"
					if setting == "conflict" && row.log == 1 {
						again = "an equivalent entry already exists in the transparency log with UUID"
					}
					r.script(t, row.script, r.env(t, append(logVars(r, row.log), "GENPKEY="+row.genpkey, "SECOND="+again)...))
				})
			}
		})
	}
}
