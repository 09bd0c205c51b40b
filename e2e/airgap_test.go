package e2e

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/sigbox/sigbox/e2e/internal/fleet"
	"github.com/sigbox/sigbox/e2e/internal/images"
	"github.com/sigbox/sigbox/e2e/internal/matrix"
	"github.com/sigbox/sigbox/e2e/internal/outside"
	"github.com/sigbox/sigbox/internal/pgtest"
)

const (
	airgapClients = "cosign 2, 3, policy-controller, Kyverno"
	airgapRow     = "air gap: exported outside, imported in an empty namespace, verified there by the mirror; bundles that are old, gapped, forged refused"
)

// carriedOut is what is done outside: a mirror's keys are named in a root, images and blobs are signed, and three
// exports are made. The root that is carried in is the one from before the mirror.
const carriedOut = atGates + `
cp "$TRUST/root.json" known.json
sigbox mirror init --root known.json --data mirror
sigbox tuf request --config "$CONFIG" --mirror-snapshot-key mirror/snapshot.key.pub --mirror-timestamp-key mirror/timestamp.key.pub --out named.json
id=$(sigbox tuf status named.json | sed -n 's/^request *\([0-9a-f]*\).*/\1/p')
sigbox tuf sign named.json --key "$KEYS/tuf-root.key" --approve "$id"
says 'root version 2' sigbox tuf publish named.json --config "$CONFIG"
within curl -sSf --retry 20 --retry-delay 1 --retry-all-errors -o /dev/null "$MIRROR/2.root.json"

echo hello > blob
cosign3 sign-blob --yes --identity-token "$TOKEN" --bundle v1.bundle blob
cosign3 sign-blob --yes --identity-token "$TOKEN" --signing-config "$TRUST/signing_config_rekor_v2.v0.2.json" --bundle v2.bundle blob
files policy-controller pc
TWO=$(image two) BUNDLE=$(image bundle) UNSIGNED=$(image unsigned)
pasted pc/sign-cosign2.sh "$TWO" "$DATA/slsaprovenance1.json"
new sign --yes "$BUNDLE"
new attest --yes --type slsaprovenance1 --predicate "$DATA/slsaprovenance1.json" "$BUNDLE"
printf 'TWO=%s\nBUNDLE=%s\nUNSIGNED=%s\n' "$TWO" "$BUNDLE" "$UNSIGNED" > images

export="sigbox airgap export --url $MIRROR --root known.json --key $KEYS/tuf-targets.key"
says 'good until' $export --entries --bundle v1.bundle --out 1.tar
cosign3 sign-blob --yes --identity-token "$TOKEN" --bundle later.bundle blob
$export --after 1.tar --entries --out 2.tar
$export --after 2.tar --out 3.tar
sigbox airgap export --url "$MIRROR" --root known.json --out unsigned.tar
refuses 'not one of the targets keys' sigbox airgap sign unsigned.tar --key "$KEYS/tuf-root.key"
`

// broughtIn is what is done inside, where no network is: what is not right is refused, what is right is served, and
// the clients verify.
const broughtIn = atGates + `
. ./images
if curl -s --max-time 5 "$URL"; then exit 1; fi
import() { sigbox airgap import --data mirror "$@"; }
traces() { find mirror ! -name 'tuf.db*' | sort; }
traces > before
refuses 'leaves a gap' import 2.tar
refuses '0 of 1 have signed it' import unsigned.tar
head -c 9000 1.tar > cut.tar
refuses 'not copied whole' import cut.tar
mkdir forged && tar --extract --directory forged --file 1.tar
sed -i 's/"tlogs"/"tlogz"/' forged/targets/trusted_root.json # of the same size
( cd forged && tar --create --format ustar --file ../forged.tar $(tar --list --file ../1.tar) )
refuses 'trusted_root.json is not what was signed for' import forged.tar
tar --extract --directory forged --file 1.tar
( cd forged && ln -sf /etc/passwd bundles/v1.bundle && tar --create --format ustar --file ../link.tar $(tar --list --file ../1.tar) )
refuses "bundles/v1.bundle\" of type '2'" import link.tar
traces | diff before -

says 'good until' import 1.tar
refuses 'leaves a gap' import 3.tar
import 2.tar
refuses 'older than what was imported' import 1.tar
says 'nothing to do' import 2.tar
import 3.tar

"$SIGBOX" mirror --data mirror --listen "$INNER" > mirror.log 2>&1 &
serving=$!
docker-registry serve "$REGISTRY/config.yml" > registry.log 2>&1 &
serving="$serving $!"
trap 'kill $serving; wait' EXIT
for url in "http://$INNER/readyz" "http://${TWO%%/*}/v2/"; do
	within curl -sSf --retry 20 --retry-delay 1 --retry-all-errors -o /dev/null "$url"
done
curl -sSf "http://$INNER/airgap/1/bundles/v1.bundle" | cmp - v1.bundle
curl -sSf "http://$INNER/airgap/receipt.json" | cmp - mirror/receipt.json

MIRROR=http://$INNER/tuf
sigbox trust export --url "$MIRROR" --root known.json --out trust
cmp trust/trusted_root.json "$TRUST/trusted_root.json"
TRUST=$WORK/trust
for b in v1 v2 later; do cosign3 verify-blob --bundle $b.bundle ` + me + ` blob; done
cosign2 verify ` + me + ` "$TWO"
cosign2sc verify-blob --new-bundle-format --bundle v1.bundle ` + me + ` blob
cosign2sc verify-blob --new-bundle-format --use-signed-timestamps --bundle v2.bundle ` + me + ` blob
refuses 'no signatures found' cosign2 verify ` + me + ` "$UNSIGNED"
new verify ` + me + ` "$BUNDLE"

files policy-controller inside
files kyverno k
for form in keys remote repository; do
	tester --policy inside/signature.yaml --trustroot inside/trustroot-$form.yaml --image "$TWO"
done
tester --policy inside/provenance.yaml --trustroot inside/trustroot-repository.yaml --image "$TWO"
refuses 'no signatures found' tester --policy inside/signature.yaml --trustroot inside/trustroot-repository.yaml --image "$UNSIGNED"
pod "$TWO"
admits 2 k/clusterpolicy.yaml
admits 2 k/imagevalidatingpolicy.yaml k/imagevalidatingpolicy-provenance.yaml
pod "$BUNDLE"
admits 2 k/imagevalidatingpolicy.yaml k/imagevalidatingpolicy-provenance.yaml
pod "$UNSIGNED"
refuses 'no signatures found' apply k/clusterpolicy.yaml
test "$(tool attempts)" = 0
`

// TestAirGap: what was signed outside verifies where there is no network, with nothing but what was carried in.
func TestAirGap(t *testing.T) {
	t.Parallel()
	defer cell(t, airgapClients, airgapRow, 1)()
	defer cellOf(t, airgapClients, airgapRow, 2, "blobs with cosign 2 and 3")()
	before, err := outside.Gone(context.Background())
	namespaced(t, err)
	f := startFleet(t, fleet.OneProcess, pgtest.Start(t).URL("postgres"))
	r := visit(t, f)
	dir := t.TempDir()
	registry, err := images.StartDistribution(context.Background(), freeAddr(t), dir)
	if err != nil {
		t.Fatal(err)
	}
	_, image := push(t, registry.Addr)
	config := f.Of("tuf")[0].Config()
	env := append(r.env(t, logVars(r, 1)...), "TOKEN="+r.token(t, "dev@example.com"), "CONFIG="+config, "KEYS="+filepath.Join(filepath.Dir(config), "offline"),
		"REPO="+repository(image), "REGISTRY="+dir, "INNER="+freeAddr(t))
	r.script(t, carriedOut, env)
	if err := registry.Stop(); err != nil {
		t.Fatal(err)
	}
	r.script(t, broughtIn, env, before...)
	r.keepRun(t, "", airgapRow, 1, matrix.Works)
}
