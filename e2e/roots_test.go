package e2e

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/e2e/internal/matrix"
	"github.com/sigbox/sigbox/e2e/internal/outside"
	"github.com/sigbox/sigbox/e2e/internal/ran"
)

const (
	rootsClients = "cosign 2, 3, sigstore-go"
	rootsRow     = "several roots: a bundle of the public instance by its root from our mirror, beside one of ours by ours; in an empty namespace"
)

// TestSeveralRoots: a bundle of the public Sigstore instance, which sigstore-go ships with its trust root
// (testdata/public-*.json, of the examples of version 1.3.0), verifies where there is no network with the root
// that our mirror serves, beside one of ours with our own.
func TestSeveralRoots(t *testing.T) {
	t.Parallel()
	defer cell(t, rootsClients, rootsRow, 0)()
	before, err := outside.Gone(context.Background())
	namespaced(t, err)
	r := start(t)
	data := filepath.Join(filepath.Dir(r.work), "data")
	env := append(r.env(t, logVars(r, 1)...), "TOKEN="+r.token(t, "dev@example.com"), "INSTANCE="+data, "LISTEN="+strings.TrimPrefix(r.URL, "http://"))
	r.script(t, `
echo hello > blob
cosign3 sign-blob --yes --identity-token "$TOKEN" --bundle v1.bundle blob
cosign3 sign-blob --yes --identity-token "$TOKEN" --signing-config "$TRUST/signing_config_rekor_v2.v0.2.json" --bundle v2.bundle blob
cp "$TRUST/root.json" known.json
refuses 'shares a key with this instance' sigbox trust add own --file "$TRUST/trusted_root.json" --data "$INSTANCE"
says 'published' sigbox trust add public --file "$DATA/public-root.json" --issuer https://oauth2.sigstore.dev/auth --data "$INSTANCE"
`, env)
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	r.script(t, typed+`
"$SIGBOX" up --data "$INSTANCE" --listen "$LISTEN" > up.log 2>&1 &
serving=$!
trap 'kill $serving; wait' EXIT
await() { for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do "$@" && return; sleep 1; done; exit 1; }
await curl -sSf -o /dev/null "$URL/readyz"
if curl -s --max-time 5 https://tuf-repo-cdn.sigstore.dev; then exit 1; fi

sigbox trust export --url "$MIRROR" --root known.json --out trust
cmp trust/public.trusted_root.json "$DATA/public-root.json"
cmp trust/trusted_root.json "$TRUST/trusted_root.json"
curl -sSf "$URL/trust/public/trusted_root.json" | cmp - "$DATA/public-root.json"
sigbox trust merge public --url "$MIRROR" --root known.json -o merged.json

digest=76176ffa33808b54602c7c35de5c6e9a4deb96066dba6533f50ac234f4f1f4c6b3527515dc17c06fbe2860030f410eee69ea20079bd3a2c6f3dcf3b329b10751
san=https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main
actions=https://token.actions.githubusercontent.com
theirs="--bundle $DATA/public-bundle.json --digest $digest --digestAlg sha512 --type slsaprovenance --certificate-identity $san --certificate-oidc-issuer $actions"
gotheirs="-artifact-digest $digest -artifact-digest-algorithm sha512 -expectedSAN $san -expectedIssuer $actions"
for root in trust/public.trusted_root.json merged.json; do
	within "$COSIGN3" verify-blob-attestation --trusted-root $root $theirs
	within "$COSIGN2" verify-blob-attestation --trusted-root $root --new-bundle-format $theirs
	sigstore-go-verification -trustedrootJSONpath $root $gotheirs "$DATA/public-bundle.json"
done
for b in v1 v2; do
	stamped=
	[ $b = v1 ] || stamped=--use-signed-timestamps
	for root in trust/trusted_root.json merged.json; do
		within "$COSIGN3" verify-blob --trusted-root $root --bundle $b.bundle `+me+` blob
		within "$COSIGN2" verify-blob --trusted-root $root --new-bundle-format $stamped --bundle $b.bundle `+me+` blob
		sigstore-go-verification -trustedrootJSONpath $root -artifact blob -expectedSAN dev@example.com -expectedIssuer "$URL" $b.bundle
	done
	cosign3 verify-blob --bundle $b.bundle `+me+` blob
done
refuses 'failed to verify' within "$COSIGN3" verify-blob-attestation --trusted-root trust/trusted_root.json $theirs
refuses 'failed to verify' within "$COSIGN3" verify-blob --trusted-root trust/public.trusted_root.json --bundle v1.bundle `+me+` blob
refuses 'failed to verify' cosign3 verify-blob-attestation $theirs
`, append(env, ran.OfflineVar+"=1"), before...)
	r.keepRun(t, "", rootsRow, 1, matrix.Works)
}
