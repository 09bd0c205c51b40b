package e2e

import "strings"

// legacy signs two images as policy-controller wants it, with what `sigbox clients policy-controller` writes.
const legacy = `
files policy-controller pc
TWO=$(image two) THREE=$(image three)
pasted pc/sign-cosign2.sh "$TWO" "$DATA/slsaprovenance1.json"
pasted pc/sign-cosign3.sh "$THREE" "$DATA/slsaprovenance1.json"
`

// trustRoots are the forms of a TrustRoot.
var trustRoots = []struct{ form, what string }{
	{"keys", "inlined keys"}, {"remote", "the mirror's address"}, {"repository", "the mirror inlined"},
}

// admitted is the row of a form.
func admitted(form, what string) scenario {
	return scenario{
		client: "policy-controller", what: "signature and SLSA provenance of cosign 2, and of cosign 3 in the legacy format: TrustRoot with " + what,
		v1only: true, image: true, script: legacy + strings.ReplaceAll(`
for image in "$TWO" "$THREE"; do
	tester --policy pc/signature.yaml --trustroot pc/trustroot-@FORM@.yaml --image "$image"
	tester --policy pc/provenance.yaml --trustroot pc/trustroot-@FORM@.yaml --image "$image"
done
`, "@FORM@", form),
	}
}

// refused is the row of what no form admits.
var refused = scenario{
	client: "policy-controller", what: "must fail with each TrustRoot: unsigned, wrong identity, wrong issuer, another type of attestation, another builder, keys of another instance",
	v1only: true, image: true, other: true, script: legacy + `
files policy-controller eve --identity eve@example.com
files policy-controller issuer --issuer https://accounts.example.com
BOM=$(image bom) OTHER=$(image other)
cosign2 attest --yes --type cyclonedx --predicate "$DATA/cyclonedx.json" "$BOM"
sed 's#com/builder#com/other#' "$DATA/slsaprovenance1.json" > other.json
cosign2 attest --yes --type slsaprovenance1 --predicate other.json "$OTHER"
for form in keys remote repository; do
	root="--trustroot pc/trustroot-$form.yaml"
	refuses 'no signatures found' tester $root --policy pc/signature.yaml --image "$IMAGE"
	refuses 'no matching attestations' tester $root --policy pc/provenance.yaml --image "$IMAGE"
	for kind in signature provenance; do
		tester $root --policy pc/$kind.yaml --image "$TWO"
		refuses 'none of the expected identities matched what was in the certificate, got subjects [dev@example.com]' tester $root --policy eve/$kind.yaml --image "$TWO"
		refuses 'none of the expected identities matched what was in the certificate, got subjects [dev@example.com]' tester $root --policy issuer/$kind.yaml --image "$TWO"
	done
	refuses 'no matching attestations with type https://slsa.dev/provenance/v1, checked the following predicateTypes: \"https://cyclonedx.org/bom\"' tester $root --policy pc/provenance.yaml --image "$BOM"
	refuses 'conflicting values \"https://ci.example.com/other\" and \"https://ci.example.com/builder\"' tester $root --policy pc/provenance.yaml --image "$OTHER"
done
# The same identity, but signed here.
files policy-controller foreign --url "$OTHER_URL"
refuses 'rekor log public key not found' tester --trustroot foreign/trustroot-keys.yaml --policy pc/signature.yaml --image "$TWO"
`,
}

// Cells that 0.13.1 cannot do. Their scripts want the tester's own error; they fail when a newer one can.
const (
	noBundleSignatures = "no: bundle support for image signatures is not yet implemented"
	noBundleTrustRoot  = "no: it looks logs up by an identifier that no bundle has"
)

var testerGates = func() (rows []scenario) {
	for _, f := range trustRoots {
		rows = append(rows, admitted(f.form, f.what))
	}
	return append(rows, refused,
		scenario{client: "policy-controller", what: "SLSA provenance in a new bundle, without trustRootRef, over a cache of sigbox trust init", v1only: true, image: true, script: `
files policy-controller pc
new attest --yes --type slsaprovenance1 --predicate "$DATA/slsaprovenance1.json" "$IMAGE"
sigbox trust init --mirror "$MIRROR" --root pc/root.json
tester --policy pc/provenance-bundle.yaml --image "$IMAGE"
UNSIGNED=$(image unsigned) OTHER=$(image other)
refuses 'no valid bundles exist in registry' tester --policy pc/provenance-bundle.yaml --image "$UNSIGNED"
files policy-controller eve --identity eve@example.com
refuses 'expected SAN value \"eve@example.com\", got \"dev@example.com\"' tester --policy eve/provenance-bundle.yaml --image "$IMAGE"
files policy-controller issuer --issuer https://accounts.example.com
refuses 'expected issuer value \"https://accounts.example.com\"' tester --policy issuer/provenance-bundle.yaml --image "$IMAGE"
sed 's#com/builder#com/other#' "$DATA/slsaprovenance1.json" > other.json
new attest --yes --type slsaprovenance1 --predicate other.json "$OTHER"
refuses 'conflicting values' tester --policy pc/provenance-bundle.yaml --image "$OTHER"
`},
		scenario{client: "policy-controller", what: "signature and SLSA provenance in the legacy format, without trustRootRef, over a cache of sigbox trust init", v1only: true, image: true, script: legacy + `
sed '/trustRootRef/d' pc/signature.yaml > signature.yaml
sed '/trustRootRef/d' pc/provenance.yaml > provenance.yaml
sigbox trust init --mirror "$MIRROR" --root pc/root.json
for image in "$TWO" "$THREE"; do
	tester --policy signature.yaml --image "$image"
	tester --policy provenance.yaml --image "$image"
done
refuses 'no signatures found' tester --policy signature.yaml --image "$IMAGE"
`},
		scenario{client: "policy-controller", what: "image signature in a new bundle", v1only: true, image: true, v1cell: noBundleSignatures, script: `
files policy-controller pc
new sign --yes "$IMAGE"
sed 's/^    keyless:/    signatureFormat: bundle\n&/' pc/signature.yaml > with.yaml
sed '/trustRootRef/d' with.yaml > without.yaml
sigbox trust init --mirror "$MIRROR" --root pc/root.json
refuses 'bundle support for image signatures is not yet implemented' tester --policy without.yaml --image "$IMAGE"
refuses 'bundle support for image signatures is not yet implemented' tester --policy with.yaml --trustroot pc/trustroot-keys.yaml --image "$IMAGE"
`},
		scenario{client: "policy-controller", what: "SLSA provenance in a new bundle, with trustRootRef", v1only: true, image: true, v1cell: noBundleTrustRoot, script: `
files policy-controller pc
new attest --yes --type slsaprovenance1 --predicate "$DATA/slsaprovenance1.json" "$IMAGE"
sed 's/^    keyless:/    signatureFormat: bundle\n&/' pc/provenance.yaml > bundle.yaml
refuses 'not enough verified log entries from transparency log: 0' tester --policy bundle.yaml --trustroot pc/trustroot-keys.yaml --image "$IMAGE"
refuses 'unsupported TrustedRoot media type' tester --policy bundle.yaml --trustroot pc/trustroot-remote.yaml --image "$IMAGE"
refuses 'unsupported TrustedRoot media type' tester --policy bundle.yaml --trustroot pc/trustroot-repository.yaml --image "$IMAGE"
`})
}()
