package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/images"
	"github.com/sigbox/sigbox/e2e/internal/matrix"
)

// scenario is what a user types, on a new instance. $LOG is empty on the Rekor v1 log, and on
// the v2 log the option that selects the other signing configuration; $STAMPED is what cosign 2
// needs to verify entries of a log that promises no time. The line `restart` ends the instance
// and starts it again.
type scenario struct {
	client, what string
	script       string
	v1cell       matrix.Cell // what the table says for the v1 log if it passes; "": works
	v2           string      // "": the same script; otherwise another one for the v2 log
	v2cell       matrix.Cell // what the table says for the v2 log if it passes; "": works
	v1only       bool        // the scenario has nothing to do with the v2 log
	image        bool        // wants a registry and an image: $TAG, $IMAGE (by digest), $REPO
	other        bool        // wants a second instance: $OTHER_URL, $OTHER_TRUST, $OTHER_TOKEN
}

func (s scenario) name() string { return s.client + ": " + s.what }

// cell is what the table says of a scenario that passed.
func (s scenario) cell(log int) matrix.Cell {
	switch {
	case log == 1 && s.v1cell != "":
		return s.v1cell
	case log == 2 && s.v2cell != "":
		return s.v2cell
	case strings.HasPrefix(s.what, "must fail"):
		return matrix.Refused
	}
	return matrix.Works
}

// me is the identity of $TOKEN, as `verify` wants it.
const me = `--certificate-identity dev@example.com --certificate-oidc-issuer "$URL"`

var types = []string{"cyclonedx", "spdxjson", "vuln", "slsaprovenance", "custom"}

// attest signs and verifies every type of attestation.
func attest(sign, verify string) string {
	var b strings.Builder
	for _, name := range types {
		kind := name
		if name == "custom" {
			kind = "https://example.com/approval/v1"
		}
		fmt.Fprintf(&b, "%s --type %s --predicate \"$DATA/%s.json\" \"$IMAGE\"\n", sign, kind, name)
		fmt.Fprintf(&b, "%s --type %s \"$IMAGE\"\n", verify, kind)
	}
	return b.String()
}

// scenarios is the table. In scripts, cosign3 is cosign v3.1.3 with env-cosign3.sh sourced, and
// cosign2 is cosign v2.6.5 with env-cosign2.sh sourced; nothing else is set.
var scenarios = []scenario{
	{client: "cosign 3", what: "sign-blob, verify-blob", script: `
echo hello > blob
cosign3 sign-blob --yes --identity-token "$TOKEN" $LOG --bundle blob.bundle blob
cosign3 verify-blob --bundle blob.bundle ` + me + ` blob
cosign3 verify-blob --bundle blob.bundle --certificate-identity-regexp '^dev@' --certificate-oidc-issuer-regexp '^http://127\.' blob
`},
	{client: "cosign 3", what: "sign, verify and tree of an image, annotations", image: true, script: `
cosign3 sign --yes --identity-token "$TOKEN" $LOG -a team=blue "$IMAGE"
cosign3 verify ` + me + ` "$IMAGE"
cosign3 verify ` + me + ` -a team=blue "$IMAGE"
refuses 'annotation' cosign3 verify ` + me + ` -a team=red "$IMAGE"
cosign3 verify --certificate-identity-regexp 'example\.com$' --certificate-oidc-issuer "$URL" "$IMAGE"
says "$REPO" cosign3 tree "$IMAGE"
`},
	{client: "cosign 3", what: "attest, verify-attestation: CycloneDX, SPDX, vuln, SLSA provenance, custom type", image: true, script: attest(
		`cosign3 attest --yes --identity-token "$TOKEN" $LOG`, `cosign3 verify-attestation `+me)},
	{client: "cosign 3", what: "attest-blob, verify-blob-attestation", script: `
echo hello > blob
cosign3 attest-blob --yes --identity-token "$TOKEN" $LOG --type slsaprovenance --predicate "$DATA/slsaprovenance.json" --bundle blob.att blob
cosign3 verify-blob-attestation --bundle blob.att --type slsaprovenance ` + me + ` blob
`},
	{client: "cosign 3", what: "--key: blob, image, attestation", image: true, script: `
cosign3 generate-key-pair
echo hello > blob
cosign3 sign-blob --yes --key cosign.key $LOG --bundle blob.bundle blob
cosign3 verify-blob --key cosign.pub --bundle blob.bundle blob
cosign3 sign --yes --key cosign.key $LOG "$IMAGE"
cosign3 verify --key cosign.pub "$IMAGE"
cosign3 attest --yes --key cosign.key $LOG --type custom --predicate "$DATA/custom.json" "$IMAGE"
cosign3 verify-attestation --key cosign.pub --type custom "$IMAGE"
`},
	{client: "cosign 3", what: "initialize, then no environment file", v1only: true, script: `
sha=$(sha256sum "$TRUST/root.json" | cut -d' ' -f1)
"$COSIGN3" initialize --mirror "$MIRROR" --root "$MIRROR/root.json" --root-checksum "$sha"
echo hello > blob
"$COSIGN3" sign-blob --yes --identity-token "$TOKEN" --bundle blob.bundle blob
"$COSIGN3" verify-blob --bundle blob.bundle ` + me + ` blob
`},
	{client: "cosign 3", what: "sigbox trust init, then no environment file", v1only: true, script: `
sigbox trust init --mirror "$MIRROR" --root "$TRUST/root.json"
echo hello > blob
"$COSIGN3" sign-blob --yes --identity-token "$TOKEN" --bundle blob.bundle blob
"$COSIGN3" verify-blob --bundle blob.bundle ` + me + ` blob
"$COSIGN2" verify-blob --bundle blob.bundle ` + me + ` blob
`},

	{client: "cosign 2", what: "sign, verify of an image; verify --offline", image: true, script: `
cosign2 sign --yes --identity-token "$TOKEN" -a team=blue "$IMAGE"
cosign2 verify ` + me + ` -a team=blue "$IMAGE"
cosign2 verify --offline ` + me + ` "$IMAGE"
says "$REPO" cosign2 tree "$IMAGE"
`, v2: `
refuses 'must be hashedrekord' cosign2sc sign --yes --identity-token "$TOKEN" --new-bundle-format $LOG "$IMAGE"
`, v2cell: "no: cosign 2 sends entries that Rekor v2 refuses"},
	{client: "cosign 2", what: "sign-blob, verify-blob: signature and certificate, bundle, new bundle; --offline", script: `
echo hello > blob
cosign2 sign-blob --yes --identity-token "$TOKEN" --output-signature blob.sig --output-certificate blob.pem --bundle blob.bundle blob
cosign2 verify-blob --signature blob.sig --certificate blob.pem ` + me + ` blob
cosign2 verify-blob --bundle blob.bundle ` + me + ` blob
cosign2 verify-blob --offline --bundle blob.bundle ` + me + ` blob
cosign2 sign-blob --yes --identity-token "$TOKEN" --new-bundle-format --bundle blob.new blob
cosign2 verify-blob --new-bundle-format --bundle blob.new ` + me + ` blob
`, v2: `
echo hello > blob
cosign2sc sign-blob --yes --identity-token "$TOKEN" --new-bundle-format $LOG --bundle blob.bundle blob
cosign2 verify-blob --new-bundle-format --use-signed-timestamps --bundle blob.bundle ` + me + ` blob
cosign3 verify-blob --bundle blob.bundle ` + me + ` blob
`, v2cell: "new bundles, with a signing config and --use-signed-timestamps"},
	{client: "cosign 2", what: "attest, verify-attestation: CycloneDX, SPDX, vuln, SLSA provenance, custom type", image: true, script: attest(
		`cosign2 attest --yes --identity-token "$TOKEN"`, `cosign2 verify-attestation `+me), v2: `
refuses 'must be hashedrekord' cosign2sc attest --yes --identity-token "$TOKEN" --new-bundle-format $LOG --type custom --predicate "$DATA/custom.json" "$IMAGE"
`, v2cell: "no: cosign 2 sends entries that Rekor v2 refuses"},
	{client: "cosign 2", what: "--key: blob, image, attestation, logged", image: true, script: `
cosign2 generate-key-pair
echo hello > blob
cosign2 sign-blob --yes --key cosign.key --bundle blob.bundle --output-signature blob.sig blob
cosign2 verify-blob --key cosign.pub --signature blob.sig blob
cosign2 verify-blob --key cosign.pub --offline --bundle blob.bundle blob
cosign2 sign --yes --key cosign.key "$IMAGE"
cosign2 verify --key cosign.pub "$IMAGE"
cosign2 verify --key cosign.pub --offline "$IMAGE"
cosign2 attest --yes --key cosign.key --type custom --predicate "$DATA/custom.json" "$IMAGE"
cosign2 verify-attestation --key cosign.pub --type custom "$IMAGE"
`, v2: `
cosign2 generate-key-pair
echo hello > blob
cosign2sc sign-blob --yes --key cosign.key --new-bundle-format $LOG --bundle blob.bundle blob
cosign2 verify-blob --key cosign.pub --new-bundle-format --use-signed-timestamps --bundle blob.bundle blob
cosign3 verify-blob --key cosign.pub --bundle blob.bundle blob
refuses 'must be hashedrekord' cosign2sc sign --yes --key cosign.key --new-bundle-format $LOG "$IMAGE"
`, v2cell: "blobs only: cosign 2 sends entries for images that Rekor v2 refuses"},

	{client: "cosign 2 → 3", what: "blob, image, attestation; keyless and --key", image: true, v1only: true, script: `
echo hello > blob
cosign2 sign-blob --yes --identity-token "$TOKEN" --new-bundle-format --bundle blob.new blob
cosign3 verify-blob --bundle blob.new ` + me + ` blob
cosign2 sign --yes --identity-token "$TOKEN" "$IMAGE"
cosign3 verify ` + me + ` "$IMAGE"
cosign2 attest --yes --identity-token "$TOKEN" --type cyclonedx --predicate "$DATA/cyclonedx.json" "$IMAGE"
cosign3 verify-attestation --type cyclonedx ` + me + ` "$IMAGE"
cosign2 generate-key-pair
KEYED=$(tool push "$REPO:keyed")
cosign2 sign --yes --key cosign.key "$KEYED"
cosign3 verify --key cosign.pub "$KEYED"
cosign2 sign-blob --yes --key cosign.key --new-bundle-format --bundle blob.keyed blob
cosign3 verify-blob --key cosign.pub --bundle blob.keyed blob
`},
	{client: "cosign 3 → 2", what: "blob, image, attestation; keyless and --key", image: true, script: `
echo hello > blob
cosign3 sign-blob --yes --identity-token "$TOKEN" $LOG --bundle blob.bundle blob
cosign2 verify-blob $STAMPED --bundle blob.bundle ` + me + ` blob
cosign3 sign --yes --identity-token "$TOKEN" $LOG "$IMAGE"
cosign2 verify $STAMPED ` + me + ` "$IMAGE"
cosign3 attest --yes --identity-token "$TOKEN" $LOG --type cyclonedx --predicate "$DATA/cyclonedx.json" "$IMAGE"
cosign2 verify-attestation $STAMPED --type cyclonedx ` + me + ` "$IMAGE"
cosign3 generate-key-pair
KEYED=$(tool push "$REPO:keyed")
cosign3 sign --yes --key cosign.key $LOG "$KEYED"
cosign2 verify $STAMPED --key cosign.pub "$KEYED"
cosign3 sign-blob --yes --key cosign.key $LOG --bundle blob.keyed blob
cosign2 verify-blob $STAMPED --key cosign.pub --bundle blob.keyed blob
`, v2cell: "with --use-signed-timestamps"},

	{client: "cosign 3", what: "GitHub-Actions-shaped token: SAN, extensions, verify by workflow", script: `
sed "s#@URL@#$URL#g" "$DATA/github-claims.json" > claims.json
WORKFLOW=$(sigbox token --url "$URL" --claims claims.json)
echo hello > blob
cosign3 sign-blob --yes --identity-token "$WORKFLOW" $LOG --bundle blob.bundle blob
tool certificate blob.bundle > got
sed "s#@URL@#$URL#g" "$DATA/github-certificate.txt" > want
diff -u want got
cosign3 verify-blob --bundle blob.bundle --certificate-oidc-issuer "$URL" --certificate-identity 'https://github.com/example/app/.github/workflows/release.yml@refs/tags/v1.2.3' \
	--certificate-github-workflow-repository example/app --certificate-github-workflow-ref refs/tags/v1.2.3 \
	--certificate-github-workflow-name release --certificate-github-workflow-trigger push \
	--certificate-github-workflow-sha 1111111111111111111111111111111111111111 blob
refuses 'expected' cosign3 verify-blob --bundle blob.bundle --certificate-oidc-issuer "$URL" --certificate-identity 'https://github.com/example/app/.github/workflows/other.yml@refs/tags/v1.2.3' blob
`},
	{client: "cosign 3", what: "GitHub-Actions-shaped ambient credentials", image: true, v1only: true, script: `
export ACTIONS_ID_TOKEN_REQUEST_URL="$URL/actions/token?" ACTIONS_ID_TOKEN_REQUEST_TOKEN=any
cosign3 sign --yes "$IMAGE"
cosign3 verify --certificate-oidc-issuer "$URL" --certificate-identity-regexp '^https://github.com/' "$IMAGE"
`},

	{client: "cosign 3", what: "must fail: wrong identity, wrong issuer, tampered blob, another entry's proof", script: `
echo hello > blob
cosign3 sign-blob --yes --identity-token "$TOKEN" $LOG --bundle blob.bundle blob
refuses 'expected SAN value "eve@example.com", got "dev@example.com"' cosign3 verify-blob --bundle blob.bundle --certificate-identity eve@example.com --certificate-oidc-issuer "$URL" blob
refuses 'expected issuer value "https://accounts.example.com"' cosign3 verify-blob --bundle blob.bundle --certificate-identity dev@example.com --certificate-oidc-issuer https://accounts.example.com blob
echo tampered > blob2
refuses 'could not verify message' cosign3 verify-blob --bundle blob.bundle ` + me + ` blob2
cosign3 sign-blob --yes --identity-token "$TOKEN" $LOG --bundle blob2.bundle blob2
tool splice entry blob.bundle blob2.bundle spliced.bundle
refuses 'failed to verify log inclusion' cosign3 verify-blob --bundle spliced.bundle ` + me + ` blob
tool splice proof blob.bundle blob2.bundle spliced.bundle
refuses 'failed to verify log inclusion' cosign3 verify-blob --bundle spliced.bundle ` + me + ` blob
`},
	{client: "cosign 3", what: "must fail: unsigned image, image pushed again under the same tag", image: true, script: `
refuses 'no signatures found' cosign3 verify ` + me + ` "$IMAGE"
cosign3 sign --yes --identity-token "$TOKEN" $LOG "$IMAGE"
cosign3 verify ` + me + ` "$TAG"
refuses 'expected SAN value "eve@example.com", got "dev@example.com"' cosign3 verify --certificate-identity eve@example.com --certificate-oidc-issuer "$URL" "$TAG"
tool push "$TAG"
refuses 'no signatures found' cosign3 verify ` + me + ` "$TAG"
`},
	{client: "cosign 3", what: "must fail: certificate of another sigbox instance", other: true, script: `
echo hello > blob
other3() { ( . "$OTHER_TRUST/env-cosign3.sh"; within "$COSIGN3" "$@" </dev/null ); }
# Signed and logged there: nothing of it is known here.
other3 sign-blob --yes --identity-token "$OTHER_TOKEN" $OTHER_LOG --bundle blob.bundle blob
other3 verify-blob --bundle blob.bundle --certificate-identity dev@example.com --certificate-oidc-issuer "$OTHER_URL" blob
refuses 'failed to verify log inclusion' cosign3 verify-blob --bundle blob.bundle --certificate-identity dev@example.com --certificate-oidc-issuer "$OTHER_URL" blob
# The other one's certificate, but logged and timestamped here: only the CA is not ours.
tool mix caUrls,oidcUrls "$TRUST/$CONFIG" "$OTHER_TRUST/$CONFIG" config.json
tool mix certificateAuthorities,ctlogs "$TRUST/trusted_root.json" "$OTHER_TRUST/trusted_root.json" root.json
cosign3 sign-blob --yes --identity-token "$OTHER_TOKEN" --signing-config config.json --trusted-root root.json --bundle blob2.bundle blob
cosign3 verify-blob --trusted-root root.json --bundle blob2.bundle --certificate-identity dev@example.com --certificate-oidc-issuer "$OTHER_URL" blob
refuses 'failed to verify leaf certificate' cosign3 verify-blob --bundle blob2.bundle --certificate-identity dev@example.com --certificate-oidc-issuer "$OTHER_URL" blob
`},
	{client: "cosign 2", what: "must fail: wrong identity, wrong issuer, unsigned, pushed again, tampered", image: true, v1only: true, script: `
refuses 'no signatures found' cosign2 verify ` + me + ` "$IMAGE"
cosign2 sign --yes --identity-token "$TOKEN" "$IMAGE"
cosign2 verify ` + me + ` "$TAG"
refuses 'none of the expected identities matched' cosign2 verify --certificate-identity eve@example.com --certificate-oidc-issuer "$URL" "$TAG"
refuses 'none of the expected identities matched' cosign2 verify --certificate-identity dev@example.com --certificate-oidc-issuer https://accounts.example.com "$TAG"
tool push "$TAG"
refuses 'no signatures found' cosign2 verify ` + me + ` "$TAG"
echo hello > blob
cosign2 sign-blob --yes --identity-token "$TOKEN" --bundle blob.bundle blob
echo tampered > blob
refuses 'matching bundle to payload' cosign2 verify-blob --bundle blob.bundle ` + me + ` blob
`},

	{client: "cosign 2, 3", what: "restart in the middle: old signatures verify, the log goes on", image: true, script: `
echo hello > blob
cosign3 sign-blob --yes --identity-token "$TOKEN" $LOG --bundle blob.bundle blob
cosign3 sign --yes --identity-token "$TOKEN" $LOG "$TAG"
cp "$TRUST/trusted_root.json" before.json
restart
sigbox trust export --url "$MIRROR" --out "$TRUST"
cmp before.json "$TRUST/trusted_root.json"
cosign3 verify-blob --bundle blob.bundle ` + me + ` blob
cosign2 verify-blob $STAMPED --bundle blob.bundle ` + me + ` blob
cosign3 verify ` + me + ` "$TAG"
cosign3 sign-blob --yes --identity-token "$(token dev@example.com)" $LOG --bundle after.bundle blob
cosign3 verify-blob --bundle after.bundle ` + me + ` blob
`},

	{client: "rekor-cli", what: "upload, get, search, verify, loginfo; stored state across a restart", v1only: true, script: `
openssl ecparam -name prime256v1 -genkey -noout -out key.pem
openssl ec -in key.pem -pubout -out pub.pem
echo hello > blob
openssl dgst -sha256 -sign key.pem -out blob.sig blob
sum=$(sha256sum blob | cut -d' ' -f1)
says 'Verification Successful' rekorcli loginfo
says 'Created entry' rekorcli upload --type hashedrekord --artifact-hash "$sum" --signature blob.sig --public-key pub.pem --pki-format x509
uuid=$(sed -n 's#.*/entries/##p' .out)
says 'Entry already exists' rekorcli upload --type hashedrekord --artifact-hash "$sum" --signature blob.sig --public-key pub.pem --pki-format x509
says "$uuid" rekorcli search --sha "$sum"
says "$uuid" rekorcli search --artifact blob
says "$uuid" rekorcli search --public-key pub.pem --pki-format x509
says "$sum" rekorcli get --uuid "$uuid"
index=$(rekorcli get --uuid "$uuid" --format json | grep -o '"LogIndex":[0-9]*' | cut -d: -f2)
says "$uuid" rekorcli get --log-index "$index"
says 'Current Root Hash' rekorcli verify --type hashedrekord --artifact-hash "$sum" --signature blob.sig --public-key pub.pem --pki-format x509
cosign3 sign-blob --yes --identity-token "$TOKEN" --bundle blob.bundle blob
says 'matching entries' rekorcli search --email dev@example.com
says 'Verification Successful' rekorcli loginfo
cp "$HOME/.rekor/state.json" before.json
restart
openssl dgst -sha256 -sign key.pem -out blob.sig blob
says 'Created entry' rekorcli upload --type hashedrekord --artifact-hash "$(sha256sum blob | cut -d' ' -f1)" --signature blob.sig --public-key pub.pem --pki-format x509
says 'Verification Successful' rekorcli loginfo
refuses 'differ' cmp before.json "$HOME/.rekor/state.json"
`},
}

// announce gives every scenario its row of the table before any of them runs.
func announce() {
	for _, s := range slices.Concat(scenarios, libraries, []scenario{across}, gates) {
		row := matrix.Row{Client: s.client, What: s.what, V1: matrix.NotRun, V2: matrix.NotRun}
		if s.v1only {
			row.V2 = matrix.None
		}
		world.table.Announce(row)
	}
	for _, row := range []matrix.Row{
		{Client: "cosign 3", What: browserFlow, V1: matrix.NotRun, V2: matrix.None},
		{Client: "cosign 3", What: deviceFlow, V1: matrix.NotRun, V2: matrix.None},
		{Client: "cosign 2, 3", What: tourRow, V1: matrix.NotRun, V2: matrix.None},
		{Client: "cosign 2, 3", What: anotherRow, V1: matrix.NotRun, V2: matrix.None},
		{Client: "cosign 2, 3", What: goneRow, V1: matrix.NotRun, V2: matrix.NotRun},
		{Client: librariesClient, What: libraryGoneRow, V1: matrix.NotRun, V2: matrix.NotRun},
		{Client: "sigstore-java", What: javaRow, V1: matrix.NotRun, V2: matrix.NotRun},
		{Client: "cosign 2, 3", What: stormRow, V1: matrix.NotRun, V2: matrix.None},
		{Client: "gRPC", What: grpcRow, V1: matrix.None, V2: matrix.NotRun},
		{Client: "cosign 2", What: trapRow, V1: matrix.NotRun, V2: matrix.None},
		{Client: "all", What: leavesRow, V1: matrix.NotRun, V2: matrix.NotRun},
		{Client: "rekor-cli", What: kindsRow, V1: matrix.NotRun, V2: matrix.None},
		{Client: "cosign 3", What: filesRow, V1: matrix.NotRun, V2: matrix.None},
		{Client: "cosign 2", What: filesRow, V1: matrix.NotRun, V2: matrix.None},
		{Client: "rekor-cli", What: filesRow, V1: matrix.NotRun, V2: matrix.None},
		{Client: "pipelines", What: scriptRow, V1: matrix.NotRun, V2: matrix.None},
		{Client: "all", What: pageRow, V1: matrix.NotRun, V2: matrix.None},
	} {
		world.table.Announce(row)
	}
	for _, row := range []struct{ client, what string }{{"gitsign", gitsignOffline}, {"gitsign", gitsignAlone}, {"Kyverno", publicMirrorRow}, {"gates", gatesLeaveRow}} {
		world.table.Announce(matrix.Row{Client: row.client, What: row.what, V1: matrix.NotRun, V2: matrix.None})
	}
	for _, v := range verdicts("", "") {
		world.table.Announce(matrix.Row{Client: v.client, What: v.stormRow(), V1: matrix.NotRun, V2: matrix.None})
		world.table.Announce(matrix.Row{Client: v.client, What: v.downRow(), V1: matrix.NotRun, V2: matrix.None})
	}
	for _, s := range shapes {
		world.table.Announce(matrix.Row{Client: "all", What: shapeRow(s), V1: matrix.NotRun, V2: matrix.NotRun})
	}
	world.table.Announce(matrix.Row{Client: "cosign 3", What: rollingRow, V1: matrix.NotRun, V2: matrix.NotRun})
	world.table.Announce(matrix.Row{Client: "cosign 2, 3, rekor-cli", What: rotateRow, V1: matrix.NotRun, V2: matrix.NotRun})
	world.table.Announce(matrix.Row{Client: airgapClients, What: airgapRow, V1: matrix.NotRun, V2: matrix.NotRun})
	world.table.Announce(matrix.Row{Client: airgapSigningClients, What: airgapSigningRow, V1: matrix.NotRun, V2: matrix.NotRun})
	world.table.Announce(matrix.Row{Client: rootsClients, What: rootsRow, V1: matrix.NotRun, V2: matrix.NotRun})
	world.table.Announce(matrix.Row{Client: rotateKeysClients, What: rotateKeysRow, V1: matrix.NotRun, V2: matrix.NotRun})
	world.table.Announce(matrix.Row{Client: walkClients, What: walkRow, V1: matrix.NotRun, V2: matrix.NotRun})
	world.table.Announce(matrix.Row{Client: aheadClients, What: aheadRow, V1: matrix.NotRun, V2: matrix.None})
	world.table.Announce(matrix.Row{Client: secondsClients, What: secondsRow, V1: matrix.NotRun, V2: matrix.None})
	world.table.Announce(matrix.Row{Client: "cosign 3", What: promotionRow, V1: matrix.NotRun, V2: matrix.NotRun})
}

// cell returns what is deferred by a test that fills cells of the table: of the log, or of both
// where log is 0.
func cell(t *testing.T, client, what string, log int) func() {
	return cellOf(t, client, what, log, matrix.Works)
}

// cellOf is cell for an outcome that is not simply a yes.
func cellOf(t *testing.T, client, what string, log int, passed matrix.Cell) func() {
	return func() {
		c := passed
		switch {
		case t.Failed():
			c = matrix.Failed
		case t.Skipped():
			c = matrix.NotRun
		}
		for l := 1; l <= 2; l++ {
			if log == l || log == 0 {
				world.table.Record(client, what, l, c)
			}
		}
	}
}

func TestScenarios(t *testing.T) { runTable(t, scenarios) }

// runTable runs scenarios beside each other, each on every log that it has to do with.
func runTable(t *testing.T, table []scenario) {
	for _, s := range table {
		for log := 1; log <= 2; log++ {
			if log == 2 && s.v1only {
				continue
			}
			t.Run(fmt.Sprintf("%s/v%d", s.name(), log), func(t *testing.T) {
				t.Parallel()
				started := time.Now()
				cell := matrix.Failed
				defer func() { world.table.Record(s.client, s.what, log, cell) }()
				r := s.run(t, log)
				cell = s.cell(log)
				r.keepRun(t, s.client, s.what, log, cell)
				fmt.Printf("ok %5.1f s  %s, Rekor v%d\n", time.Since(started).Seconds(), s.name(), log)
			})
		}
	}
}

func (s scenario) run(t *testing.T, log int) *rig {
	var args []string
	registry := world.registry
	switch {
	case !s.image || registry != "":
	case s.restarts(): // sigbox's own registry forgets
		registry = images.InMemory(t, freeAddr(t))
	default:
		registry = freeAddr(t)
		args = append(args, "--registry", registry)
	}
	r := start(t, args...)
	s.play(t, r, log, registry)
	return r
}

// repository is the part of a reference by digest that comes before the digest.
func repository(image string) string {
	repo, _, _ := strings.Cut(image, "@")
	return repo
}

// play runs the script.
func (s scenario) play(t *testing.T, r *rig, log int, registry string) {
	vars := append(logVars(r, log), "TOKEN="+r.token(t, "dev@example.com"))
	if s.image {
		tag, digest := push(t, registry)
		vars = append(vars, "TAG="+tag, "IMAGE="+digest, "REPO="+repository(digest))
	}
	if s.other {
		o := start(t)
		vars = append(vars, "OTHER_URL="+o.URL, "OTHER_TRUST="+o.trust, "OTHER_TOKEN="+o.token(t, "dev@example.com"), "OTHER_"+logVars(o, log)[0])
	}
	script := s.script
	if log == 2 && s.v2 != "" {
		script = s.v2
	}
	for i, part := range strings.Split(script, "\nrestart\n") {
		if i > 0 {
			r.restart(t)
		}
		out := r.script(t, part, r.env(t, vars...))
		if os.Getenv("SIGBOX_E2E_SHOW") != "" {
			t.Logf("%s\n%s", filepath.Base(t.Name()), out)
		}
	}
}
