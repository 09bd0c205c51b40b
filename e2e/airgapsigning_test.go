package e2e

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/fleet"
	"github.com/sigbox/sigbox/e2e/internal/images"
	"github.com/sigbox/sigbox/e2e/internal/matrix"
	"github.com/sigbox/sigbox/e2e/internal/outside"
	"github.com/sigbox/sigbox/internal/pgtest"
)

const (
	airgapSigningClients = "cosign 2, 3, rekor-cli"
	airgapSigningRow     = "air gap, signing: stack, registry and a GitLab job in an empty namespace, issuer keys from a file; signed, attested, searched, a key rotated; verified outside from the export"

	airgapSigningV2 matrix.Cell = "blobs with cosign 3" // images are signed for the Rekor v1 log
)

// What the inside is told: the directory that is carried out, and the address of the registry, which is the same
// on both sides, since images are called by it.
const (
	carryVar    = "SIGBOX_E2E_CARRY"
	registryVar = "SIGBOX_E2E_REGISTRY"
)

// atGap begins the scripts of TestAirGapSigning.
//
//	image NAME        a new image; by digest
//	passed FILE KEY   the holder of KEY signs a request for the trust root, and it is published
//	stops TEXT ...    sigbox rotate stops for others, and says TEXT
const atGap = `
job="--certificate-identity $JOB --certificate-oidc-issuer $CI_SERVER_URL"
image() { tool push "$REPO:$1"; }
passed() {
	id=$(sigbox tuf status "$1" | sed -n 's/^request *\([0-9a-f]*\).*/\1/p')
	sigbox tuf sign "$1" --key "$KEYS/$2" --approve "$id"
	sigbox tuf publish "$1" --config "$CONFIG"
}
stops() {
	want=$1; shift
	code=0; sigbox rotate "$@" --config "$CONFIG" > .out 2>&1 || code=$?
	cat .out
	test "$code" = 3
	grep -qF -- "$want" .out
}
await() { for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do "$@" && return; sleep 1; done; exit 1; }
`

// signedInside is what a job does, with its token and nothing else: GitLab's pipeline as 'sigbox clients' writes it,
// cosign 2, and both logs. Then everything is searched for.
const signedInside = atGap + `
cp "$TRUST/root.json" "$CARRY/known.json"
sigbox clients gitlab-ci --url "$MIRROR" --root "$TRUST/root.json" --image "$REPO" --out pipeline
THREE=$(image three) TWO=$(image two) UNSIGNED=$(image unsigned)
says 'and so is its SBOM' sh pipeline/ci/sign.sh "$THREE" "$DATA/cyclonedx.json" "$JOB" "$CI_SERVER_URL"
cosign2 sign --yes "$TWO"
cosign2 attest --yes --type slsaprovenance1 --predicate "$DATA/slsaprovenance1.json" "$TWO"
cosign2 verify $job "$TWO"
cosign2 verify-attestation --type slsaprovenance1 $job "$TWO"
echo hello > blob
cosign3 sign-blob --yes --bundle v1.bundle blob
cosign3 sign-blob --yes --signing-config "$TRUST/signing_config_rekor_v2.v0.2.json" --bundle v2.bundle blob
for b in v1 v2; do cosign3 verify-blob --bundle $b.bundle $job blob; done
tool certificate v1.bundle > certificate
says "SAN URI $JOB" cat certificate
says "20 push" cat certificate
refuses 'no signatures found' cosign3 verify $job "$UNSIGNED"
refuses 'There was an error processing the identity token' cosign3 sign-blob --yes --identity-token "$FORGED" --bundle no.bundle blob

sum=$(sha256sum blob | cut -d' ' -f1)
says 'Found matching entries' rekorcli search --sha "$sum"
uuid=$(tail -n 1 .out)
says "$sum" rekorcli get --uuid "$uuid"
says 'Current Root Hash' rekorcli verify --uuid "$uuid"
by() { curl -sSf -H 'Content-Type: application/json' -d "{\"subject\":\"$1\"}" "$REKOR/api/v1/index/retrieve"; }
says "$uuid" by "$JOB"
test "$(grep -o '"[0-9a-f]\{80\}"' .out | wc -l)" = 5 # two images, an SBOM, a provenance, a blob; the other blob is in Rekor v2
test "$(by "$JOB.other")" = '[]'
says 'Verification Successful' rekorcli loginfo

cp blob v1.bundle v2.bundle "$CARRY"
printf 'THREE=%s\nTWO=%s\nUNSIGNED=%s\n' "$THREE" "$TWO" "$UNSIGNED" > "$CARRY/images"
`

// carriedFirst names the keys of a mirror outside in a root, and exports. The mirror is made here, since the root
// that it starts from is.
const carriedFirst = atGap + `
sigbox mirror init --root "$CARRY/known.json" --data "$CARRY/mirror"
sigbox tuf request --config "$CONFIG" --mirror-snapshot-key "$CARRY/mirror/snapshot.key.pub" --mirror-timestamp-key "$CARRY/mirror/timestamp.key.pub" --out named.json
passed named.json tuf-root.key
await curl -sSf -o /dev/null "$MIRROR/2.root.json"
export="sigbox airgap export --url $MIRROR --root $CARRY/known.json --key $KEYS/tuf-targets.key --entries"
says 'signed by  1 of the 1' $export --bundle v1.bundle --out "$CARRY/1.tar"
`

// rotatedInside replaces the key that issues certificates, up to where the services have to be restarted with it,
// and from there on.
var rotatedInside = []string{atGap + `
stops 'ca-intermediate-2.csr' ca-intermediate --yes
sigbox ca sign-csr "$KEYS/../ca-intermediate-2.csr" --root "$KEYS" --out answer.pem
stops 'ca-intermediate-2-publish.json' ca-intermediate --resume --yes --chain answer.pem
passed "$KEYS/../ca-intermediate-2-publish.json" tuf-targets.key
stops 'ca.key' ca-intermediate --resume --yes --soak 0s
sed -i 's#key: ca/ca\.key#key: ca/ca-2.key#; s#chain: ca/chain\.pem#chain: ca/chain-2.pem#' "$CONFIG"
`, atGap + `
stops 'ca-intermediate-1-retire.json' ca-intermediate --resume --yes --soak 0s
passed "$KEYS/../ca-intermediate-1-retire.json" tuf-targets.key
says 'retired ca-intermediate 1' sigbox rotate ca-intermediate --resume --yes --config "$CONFIG"
`}

// signedAgain: what was signed before verifies with the new trust root, what is signed now does too, and only with
// that.
const signedAgain = atGap + `
. "$CARRY/images"
cp "$TRUST/trusted_root.json" before.json
sigbox trust export --url "$MIRROR" --root "$CARRY/known.json" --out "$TRUST"
LATER=$(image later)
says 'and so is its SBOM' sh pipeline/ci/sign.sh "$LATER" "$DATA/cyclonedx.json" "$JOB" "$CI_SERVER_URL"
cosign3 sign-blob --yes --bundle later.bundle blob
for b in v1 v2 later; do cosign3 verify-blob --bundle $b.bundle $job blob; done
cosign3 verify $job "$THREE"
cosign2 verify $job "$TWO"
cosign2 verify-attestation --type slsaprovenance1 $job "$TWO"
refuses 'failed to verify leaf certificate' cosign3 verify-blob --trusted-root before.json --bundle later.bundle $job blob
cosign3 verify-blob --trusted-root before.json --bundle v1.bundle $job blob
says 'ok' sigbox log fsck --config "$CONFIG"
sigbox airgap export --url "$MIRROR" --root "$CARRY/known.json" --key "$KEYS/tuf-targets.key" --entries --bundle later.bundle --after "$CARRY/1.tar" --out "$CARRY/2.tar"
cp later.bundle "$CARRY"
printf 'LATER=%s\n' "$LATER" >> "$CARRY/images"
`

// verifiedOutside is what is done where the exports are carried to. Of the inside nothing answers here.
const verifiedOutside = atGap + `
. "$CARRY/images"
if curl -s --max-time 5 "$MIRROR"; then exit 1; fi
import() { sigbox airgap import --data "$CARRY/mirror" "$@"; }
says 'good until' import "$CARRY/1.tar"
"$SIGBOX" mirror --data "$CARRY/mirror" --listen "$OUTER" > mirror.log 2>&1 &
serving=$!
trap 'kill $serving; wait' EXIT
await curl -sSf -o /dev/null "http://$OUTER/readyz"
learn() { sigbox trust export --url "http://$OUTER/tuf" --root "$CARRY/known.json" --out "$TRUST"; }
learn
curl -sSf -o v1.bundle "http://$OUTER/airgap/1/bundles/v1.bundle"
cosign3 verify-blob --bundle v1.bundle $job "$CARRY/blob"
cosign3 verify-blob --bundle "$CARRY/v2.bundle" $job "$CARRY/blob"
cosign2 verify-blob --new-bundle-format --bundle v1.bundle $job "$CARRY/blob"
both() {
	cosign3 verify $job "$THREE"
	cosign3 verify-attestation --type cyclonedx $job "$THREE"
	cosign2 verify $job "$TWO"
	cosign2 verify-attestation --type slsaprovenance1 $job "$TWO"
}
both
refuses 'no signatures found' cosign3 verify $job "$UNSIGNED"
refuses 'no signatures found' cosign2 verify $job "$UNSIGNED"
refuses 'expected SAN value' cosign3 verify --certificate-identity "$JOB.other" --certificate-oidc-issuer "$CI_SERVER_URL" "$THREE"
refuses 'certificate' cosign3 verify $job "$LATER"

import "$CARRY/2.tar"
learn
both
cosign3 verify $job "$LATER"
cosign3 verify-blob --bundle "$CARRY/later.bundle" $job "$CARRY/blob"
`

// gitlab is a self-managed GitLab as far as the authority sees it: its address, its key, and a job's token with the
// claims that its documentation lists.
type gitlab struct {
	Claims map[string]any
	SAN    string // that the preset makes of them
	key    *rsa.PrivateKey
}

func newGitLab(t *testing.T) *gitlab {
	t.Helper()
	raw, err := os.ReadFile("../oidc/presets/testdata/gitlab-self-managed.json")
	if err != nil {
		t.Fatal(err)
	}
	g := &gitlab{}
	if err := json.Unmarshal(raw, g); err != nil {
		t.Fatal(err)
	}
	if g.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *gitlab) issuer() string { return g.Claims["iss"].(string) }

// jwks is what GitLab serves at /oauth/discovery/keys.
func (g *gitlab) jwks() string {
	n := base64.RawURLEncoding.EncodeToString(g.key.N.Bytes())
	return fmt.Sprintf(`{"keys":[{"kty":"RSA","kid":"job","n":%q,"e":"AQAB","use":"sig","alg":"RS256"}]}`, n)
}

// token is what a job gets for five minutes, signed with key.
func (g *gitlab) token(t *testing.T, key *rsa.PrivateKey) string {
	t.Helper()
	now := time.Now().Unix()
	g.Claims["iat"], g.Claims["nbf"], g.Claims["exp"] = now, now-5, now+300
	claims, err := json.Marshal(g.Claims)
	if err != nil {
		t.Fatal(err)
	}
	part := base64.RawURLEncoding.EncodeToString
	signed := part([]byte(`{"kid":"job","typ":"JWT","alg":"RS256"}`)) + "." + part(claims)
	digest := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + part(sig)
}

// trustOnly has the authority take this GitLab's tokens and no others, with its keys from a file.
func (g *gitlab) trustOnly(jwks string) func(config map[string]any) {
	return func(config map[string]any) {
		ca := config["ca"].(map[string]any)
		ca["presets"] = []any{map[string]any{"name": "gitlab-self-managed", "url": g.issuer()}}
		ca["issuer_keys"] = []any{map[string]any{"issuer": g.issuer(), "keys": jwks}}
	}
}

// TestAirGapSigning: all of it runs where there is no network and no resolver, and nothing looks for one. What was
// signed there verifies outside with nothing but what was carried out.
func TestAirGapSigning(t *testing.T) {
	if os.Getenv(insideVar) == severed {
		signInside(t)
		return
	}
	if world.recorder != nil {
		t.Skip("this is the inside of another test")
	}
	t.Parallel()
	defer cell(t, airgapSigningClients, airgapSigningRow, 1)()
	defer cellOf(t, airgapSigningClients, airgapSigningRow, 2, airgapSigningV2)()
	before, err := outside.Gone(context.Background())
	namespaced(t, err)
	started, carry, addr := time.Now(), t.TempDir(), freeAddr(t)
	rerun(t, before, severed, "^TestAirGapSigning$", carryVar+"="+carry, registryVar+"="+addr)
	inside := time.Since(started)

	registry, err := images.StartDistribution(context.Background(), addr, filepath.Join(carry, "registry"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := registry.Stop(); err != nil {
			t.Error(err)
		}
	}()
	r := newRig(t, t.TempDir())
	told, err := readJSON(filepath.Join(carry, "told.json"))
	if err != nil {
		t.Fatal(err)
	}
	env := r.env(t, "CARRY="+carry, "OUTER="+freeAddr(t))
	for name, value := range told {
		env = append(env, fmt.Sprintf("%s=%s", name, value))
	}
	r.script(t, verifiedOutside, env)
	r.keepRun(t, "", airgapSigningRow, 1, matrix.Works)
	fmt.Printf("ok %5.1f s  air gap, signing: %.1f s of it inside\n", time.Since(started).Seconds(), inside.Seconds())
}

// signInside is what happens where no network is.
func signInside(t *testing.T) {
	carry := os.Getenv(carryVar)
	g := newGitLab(t)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	jwks := filepath.Join(carry, "jwks.json")
	if err := os.WriteFile(jwks, []byte(g.jwks()), 0o644); err != nil {
		t.Fatal(err)
	}
	store := filepath.Join(carry, "registry")
	if err := os.Mkdir(store, 0o755); err != nil {
		t.Fatal(err)
	}
	registry, err := images.StartDistribution(context.Background(), os.Getenv(registryVar), store)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := registry.Stop(); err != nil {
			t.Error(err)
		}
	})
	f := startFleetWith(t, fleet.OneProcess, pgtest.Start(t).URL("postgres"), g.trustOnly(jwks))
	r := visit(t, f)
	_, image := push(t, registry.Addr)
	config := f.Of("tuf")[0].Config()
	told := map[string]any{"JOB": g.SAN, "CI_SERVER_URL": g.issuer(), "MIRROR": r.mirror}
	if err := writeJSON(filepath.Join(carry, "told.json"), told); err != nil {
		t.Fatal(err)
	}
	env := append(r.env(t, logVars(r, 1)...), "CARRY="+carry, "JOB="+g.SAN, "CI_SERVER_URL="+g.issuer(), "SIGSTORE_ID_TOKEN="+g.token(t, g.key), "FORGED="+g.token(t, stranger),
		"CONFIG="+config, "KEYS="+filepath.Join(filepath.Dir(config), "offline"), "REPO="+repository(image))
	bin := filepath.Join(filepath.Dir(r.work), "bin")
	onPath(t, bin, env, map[string]string{"cosign": ""})
	r.script(t, "PATH=\""+bin+":$PATH\"\n"+signedInside, env)
	r.script(t, carriedFirst, env)
	r.script(t, rotatedInside[0], env)
	r.restart(t)
	r.script(t, rotatedInside[1], env)
	r.script(t, "PATH=\""+bin+":$PATH\"\n"+signedAgain, env)
	if n, err := outside.Attempts(); err != nil || n != 0 {
		t.Errorf("%d attempts to reach another network, %v", n, err)
	}
}
