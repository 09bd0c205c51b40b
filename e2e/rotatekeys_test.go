package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	rotateKeysClients = "cosign 2, 3, sigstore-go"
	rotateKeysRow     = "all keys (CA, TSA, logs, TUF roles) rotated at once under load, trust data refreshed at random: no verification fails"
)

// learning begins the scripts of clients whose trust data is a copy that they fetch now and then. Each time a
// script runs, it fetches at one of three points, by chance: before it signs, before it verifies, at the end.
//
//	point N         fetch the trust data, if this is where it is to be
//	checked FILE N  the first of the bundles FILE-0 to FILE-N, one in between and the last two
const learning = `
learn() { sigbox trust export --url "$MIRROR" --out learning; mv learning/trusted_root.json learnt.json; }
[ -f learnt.json ] || learn
at=$(( $(od -An -N1 -tu1 /dev/urandom) % 3 ))
point() { [ "$at" != "$1" ] || learn; }
checked() { for i in 0 $(( $2 / 2 )) $(( $2 > 0 ? $2 - 1 : 0 )) $2; do echo "$1-$i"; done | sort -u; }
echo hello > blob
`

// rotatedKeys are what runs while keys are rotated.
var rotatedKeys = map[string]string{
	"cosign 3": learning + `
point 0
cosign3 sign-blob --yes --identity-token "$TOKEN" --bundle "v1-$N" blob
point 1
for b in $(checked v1 "$N"); do cosign3 verify-blob --trusted-root learnt.json --bundle "$b" ` + me + ` blob; done
cosign3 verify-blob --bundle "v1-0" ` + me + ` blob
point 2
`,
	"cosign 3, Rekor v2": learning + `
point 0
cosign3 sign-blob --yes --identity-token "$TOKEN" $V2 --bundle "v2-$N" blob
point 1
for b in $(checked v2 "$N"); do cosign3 verify-blob --trusted-root learnt.json --bundle "$b" --use-signed-timestamps ` + me + ` blob; done
cosign3 verify-blob --bundle "v2-0" --use-signed-timestamps ` + me + ` blob
point 2
`,
	"cosign 2": learning + `
point 0
cosign2 sign-blob --yes --identity-token "$TOKEN" --output-signature "sig-$N" --output-certificate "pem-$N" --bundle "old-$N" blob
point 1
for b in $(checked old "$N"); do
	cosign2 verify-blob --bundle "$b" ` + me + ` blob
	cosign2 verify-blob --signature "sig-${b#old-}" --certificate "pem-${b#old-}" ` + me + ` blob
done
point 2
`,
	"sigstore-go": learning + `
[ -d go ] || sigbox clients sigstore-go --url "$URL" --out go
point 0
within "$GOSIGN" -id-token "$TOKEN" -tsa -rekor -signing-config go/signing_config.v0.2.json -trusted-root learnt.json blob | tail -n 1 > "go-$N"
point 1
for b in $(checked go "$N"); do
	within "$GOVERIFY" -trustedrootJSONpath learnt.json -expectedIssuer "$URL" -expectedSAN dev@example.com -artifact blob "$b"
done
within "$GOVERIFY" -tufRootURL "$MIRROR" -tufTrustedRoot go/root.json -expectedIssuer "$URL" -expectedSAN dev@example.com -artifact blob go-0
point 2
`,
}

// TestRotateKeys rotates every key of an instance that runs, all at once, step by step: between two steps each client
// has fetched trust data once at least. Nothing may fail. Two go back and forth; the logs of Rekor, for which there is
// no way back, do not. [TestRotate] has their shards with replicas.
func TestRotateKeys(t *testing.T) {
	defer cell(t, rotateKeysClients, rotateKeysRow, 1)()
	defer cellOf(t, rotateKeysClients, rotateKeysRow, 2, "yes: cosign 3")()
	r := start(t)
	data := filepath.Join(filepath.Dir(r.work), "data")
	l := startClientsOn(t, func() *rig {
		v := newRig(t, t.TempDir())
		v.issuer, v.mirror, v.rekor = r.issuer, r.mirror, r.rekor
		v.exportTrust(t)
		return v
	}, rotatedKeys)
	defer l.end()
	l.round()
	rotate := func(component string, args ...string) {
		t.Helper()
		fmt.Print(r.sigbox(t, append([]string{"rotate", component, "--data", data}, args...)...))
	}
	soaked := []string{"ca-root", "tsa", "ct"}
	for _, c := range soaked {
		rotate(c, "--yes", "--until", "published")
	}
	rotate("rekor-v2", "--yes") // it publishes the key, and stops
	l.round()
	for _, c := range soaked {
		rotate(c, "--resume", "--yes", "--until", "switched")
	}
	rotate("rekor-v2", "--resume", "--yes")
	rotate("rekor-v1", "--yes")
	for _, c := range []string{"tuf-timestamp", "tuf-snapshot", "tuf-targets", "tuf-root"} {
		rotate(c, "--yes")
	}
	l.round()
	rotate("tsa", "--undo")
	rotate("ct", "--undo")
	l.round()
	for _, c := range soaked {
		rotate(c, "--resume", "--yes")
	}
	rotate("ca-intermediate", "--yes", "--until", "published")
	l.round()
	rotate("ca-intermediate", "--resume", "--yes")
	l.round()
	r.exportTrust(t)
	raw, err := os.ReadFile(filepath.Join(r.trust, "trusted_root.json"))
	if err != nil {
		t.Fatal(err)
	}
	var root struct {
		CertificateAuthorities, TimestampAuthorities, CTLogs, TLogs []json.RawMessage
	}
	if err := json.Unmarshal(raw, &root); err != nil {
		t.Fatal(err)
	}
	if cas, tsas, cts, logs := len(root.CertificateAuthorities), len(root.TimestampAuthorities), len(root.CTLogs), len(root.TLogs); cas != 3 || tsas != 2 || cts != 2 || logs != 3 {
		t.Errorf("trusted are %d certificate authorities, %d timestamp authorities, %d CT logs and %d keys of Rekor, want 3, 2, 2 and 3", cas, tsas, cts, logs)
	}
	if out := r.sigbox(t, "log", "fsck", "--data", data); strings.Count(out, ": ok: ") != 6 {
		t.Errorf("fsck:\n%s", out)
	}
}
