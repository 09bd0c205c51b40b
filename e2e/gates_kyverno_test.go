package e2e

import (
	"slices"
	"testing"
)

// kyvernoFiles are the files for three signers, of whom only one signs, and images: IMAGE has nothing, BOM and
// OTHER are for attestations that do not do.
const kyvernoFiles = `
files kyverno k
files kyverno eve --identity eve@example.com
files kyverno issuer --issuer https://accounts.example.com
BOM=$(image bom) OTHER=$(image other)
sed 's#com/builder#com/other#' "$DATA/slsaprovenance1.json" > other.json
`

// kyvernoBundle signs BUNDLE in new bundles.
const kyvernoBundle = `
BUNDLE=$(image bundle)
new sign --yes $LOG "$BUNDLE"
new attest --yes $LOG --type slsaprovenance1 --predicate "$DATA/slsaprovenance1.json" "$BUNDLE"
`

var kyvernoGates = []scenario{
	{client: "Kyverno", what: "ClusterPolicy with inlined keys: signature and SLSA provenance of cosign 2, and of cosign 3 in the legacy format", v1only: true, image: true, script: legacy + kyvernoFiles + `
before=$(tool requests "$URL")
for image in "$TWO" "$THREE"; do
	pod "$image"
	admits 2 k/clusterpolicy.yaml
	admits 2 k/clusterpolicy-provenance.yaml
done
[ "$before" = "$(tool requests "$URL")" ]
[ ! -e "$HOME/.sigstore" ]
`},
	{client: "Kyverno", what: "must fail, ClusterPolicy with inlined keys: unsigned, wrong identity, wrong issuer, another type of attestation, another builder", v1only: true, image: true, script: legacy + kyvernoFiles + `
cosign2 attest --yes --type cyclonedx --predicate "$DATA/cyclonedx.json" "$BOM"
cosign2 attest --yes --type slsaprovenance1 --predicate other.json "$OTHER"
pod "$IMAGE"
refuses 'no signatures found' apply k/clusterpolicy.yaml
refuses 'no matching attestations' apply k/clusterpolicy-provenance.yaml
pod "$TWO"
admits 2 k/clusterpolicy.yaml
admits 2 k/clusterpolicy-provenance.yaml
for policy in clusterpolicy clusterpolicy-provenance; do
	refuses 'subject mismatch: expected eve@example.com, received dev@example.com' apply eve/$policy.yaml
	refuses 'issuer mismatch: expected https://accounts.example.com' apply issuer/$policy.yaml
done
pod "$BOM"
refuses 'attestions not found for predicate type https://slsa.dev/provenance/v1' apply k/clusterpolicy-provenance.yaml
pod "$OTHER"
refuses 'attestation checks failed' apply k/clusterpolicy-provenance.yaml
`},
	{client: "Kyverno", what: "ImageValidatingPolicy over the mirror: signature and SLSA provenance, legacy format and new bundles", image: true, script: legacy + kyvernoBundle + kyvernoFiles + `
for image in "$TWO" "$THREE" "$BUNDLE"; do
	pod "$image"
	admits 2 k/imagevalidatingpolicy.yaml k/imagevalidatingpolicy-provenance.yaml
done
`, v2: kyvernoBundle + kyvernoFiles + `
pod "$BUNDLE"
admits 2 k/imagevalidatingpolicy.yaml k/imagevalidatingpolicy-provenance.yaml
`, v2cell: "new bundles"},
	{client: "Kyverno", what: "must fail, ImageValidatingPolicy, legacy format: unsigned, wrong identity, wrong issuer, another type of attestation", v1only: true, image: true, script: kyvernoFiles + `
files policy-controller pc
TWO=$(image two)
pasted pc/sign-cosign2.sh "$TWO" "$DATA/slsaprovenance1.json"
cosign2 attest --yes --type cyclonedx --predicate "$DATA/cyclonedx.json" "$BOM"
pod "$IMAGE"
refuses 'no signatures found' apply k/imagevalidatingpolicy.yaml
refuses 'no matching attestations' apply k/imagevalidatingpolicy-provenance.yaml
pod "$TWO"
admits 2 k/imagevalidatingpolicy.yaml k/imagevalidatingpolicy-provenance.yaml
for policy in imagevalidatingpolicy imagevalidatingpolicy-provenance; do
	refuses 'none of the expected identities matched what was in the certificate, got subjects [dev@example.com]' apply eve/$policy.yaml
	refuses 'none of the expected identities matched what was in the certificate, got subjects [dev@example.com]' apply issuer/$policy.yaml
done
pod "$BOM"
refuses 'required predicate type https://slsa.dev/provenance/v1 not found, found [https://cyclonedx.org/bom]' apply k/imagevalidatingpolicy-provenance.yaml
`},
	{client: "Kyverno", what: "must fail, ImageValidatingPolicy, new bundles: wrong identity, wrong issuer, another builder", v1only: true, image: true, script: kyvernoBundle + kyvernoFiles + `
new attest --yes --type slsaprovenance1 --predicate other.json "$OTHER"
pod "$BUNDLE"
admits 2 k/imagevalidatingpolicy.yaml k/imagevalidatingpolicy-provenance.yaml
for policy in imagevalidatingpolicy imagevalidatingpolicy-provenance; do
	refuses 'expected SAN value' apply eve/$policy.yaml
	refuses 'expected issuer value' apply issuer/$policy.yaml
done
pod "$OTHER"
refuses 'the image was built by another builder' apply k/imagevalidatingpolicy-provenance.yaml
`},
	{client: "Kyverno", what: "policies without keys, as tutorials have them, over a cache of sigbox trust init: ClusterPolicy of types Cosign and SigstoreBundle", v1only: true, image: true, script: kyvernoBundle + kyvernoFiles + `
files policy-controller pc
TWO=$(image two)
pasted pc/sign-cosign2.sh "$TWO"
sigbox trust init --mirror "$MIRROR" --root k/root.json
pod "$TWO"
admits 2 k/plain/cosign.yaml
refuses 'subject mismatch: expected eve@example.com, received dev@example.com' apply eve/plain/cosign.yaml
pod "$BUNDLE"
admits 2 k/plain/bundle.yaml
refuses 'no matching signatures found' apply eve/plain/bundle.yaml
refuses 'no matching signatures found' apply issuer/plain/bundle.yaml
pod "$IMAGE"
refuses 'no signatures found' apply k/plain/cosign.yaml
refuses 'no matching signatures found' apply k/plain/bundle.yaml
`},
	{client: "Kyverno", what: "legacy format of cosign 3, ClusterPolicy of type Cosign without keys", v1only: true, image: true, v1cell: "no: cosign 3 attaches no intermediate certificate, and Kyverno takes roots only from the cache", script: legacy + `
files kyverno k
sigbox trust init --mirror "$MIRROR" --root k/root.json
pod "$THREE"
refuses 'certificate signed by unknown authority' apply k/plain/cosign.yaml
pod "$TWO"
admits 2 k/plain/cosign.yaml
`},
	{client: "Kyverno", what: "new bundle, ClusterPolicy of type Cosign", v1only: true, image: true, v1cell: "no: it looks for the legacy format only", script: `
files kyverno k
new sign --yes "$IMAGE"
new attest --yes --type slsaprovenance1 --predicate "$DATA/slsaprovenance1.json" "$IMAGE"
pod "$IMAGE"
refuses 'no signatures found' apply k/clusterpolicy.yaml
refuses 'no matching attestations' apply k/clusterpolicy-provenance.yaml
`},
	{client: "Kyverno", what: "new bundle with an attestation and no signature", v1only: true, image: true, v1cell: "admitted: any attestation of the identity counts as a signature", script: `
files kyverno k
new attest --yes --type slsaprovenance1 --predicate "$DATA/slsaprovenance1.json" "$IMAGE"
pod "$IMAGE"
admits 1 k/imagevalidatingpolicy.yaml
`},
}

const publicMirrorRow = "ImageValidatingPolicy without the section tuf, over a cache of sigbox trust init"

// TestPublicMirror: an ImageValidatingPolicy that names no mirror asks the public one, whatever the cache
// holds. Should a Kyverno ever look into the cache, this fails and the sentence in its page goes.
func TestPublicMirror(t *testing.T) {
	const reason = "no: it asks the public mirror"
	if world.recorder == nil {
		defer cellOf(t, "Kyverno", publicMirrorRow, 1, reason)()
		inside(t, "public mirror", "^TestPublicMirror$")
		return
	}
	registry := freeAddr(t)
	r := start(t, "--registry", registry)
	_, image := push(t, registry)
	r.script(t, atGates+`
files kyverno k
cosign2 sign --yes "$IMAGE"
sigbox trust init --mirror "$MIRROR" --root k/root.json
pod "$IMAGE"
admits 1 k/imagevalidatingpolicy.yaml
`, r.env(t, "IMAGE="+image, "REPO="+repository(image), "TOKEN="+r.token(t, "dev@example.com")))
	if names := world.recorder.Names(); len(names) != 0 {
		t.Fatalf("with a mirror named, somebody asked for %v", names)
	}
	r.script(t, atGates+`
sed '/^      tuf:/,/data:/d' k/imagevalidatingpolicy.yaml > without.yaml
if grep tuf: without.yaml; then exit 1; fi
refuses 'tuf-repo-cdn.sigstore.dev' apply without.yaml
`, r.env(t, "IMAGE="+image, "REPO="+repository(image), "TOKEN="+r.token(t, "dev@example.com")))
	if err := world.recorder.Settle(); err != nil {
		t.Fatal(err)
	}
	if names := world.recorder.Names(); !slices.Contains(names, "tuf-repo-cdn.sigstore.dev.") {
		t.Errorf("Kyverno asked for %v, not for the public mirror: is the sentence in its page still true?", names)
	}
}
