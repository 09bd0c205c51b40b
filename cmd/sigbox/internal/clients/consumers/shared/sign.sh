#!/bin/sh
# Sign an image by digest, attest its SBOM and verify both, with cosign 3 and a private Sigstore instance.
#   sign.sh IMAGE@sha256:DIGEST SBOM.cdx.json IDENTITY ISSUER
# IDENTITY and ISSUER are what the certificate of this pipeline says, and what verifiers will ask for.
# FORMAT=legacy writes what policy-controller and Kyverno's ClusterPolicy of type Cosign read.
# The token is taken from SIGSTORE_ID_TOKEN, from GitHub (permission id-token: write) or from the file
# /var/run/sigstore/cosign/oidc-token. Nothing is kept on the runner.
set -eu
image=$1 sbom=$2 identity=$3 issuer=$4
case $image in
*@sha256:*) ;;
*) echo "sign.sh: $image: sign by digest, not by tag: a tag can be moved between the push and the signature" >&2; exit 2 ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Trust starts from this root.json, which is part of the pipeline, and not from what a server says.
base64 -d >"$work/root.json" <<'ROOT'
{{.Root | lines}}
ROOT
unset{{range .Variables}} {{. | sh}}{{end}}
export TUF_ROOT="$work/tuf" TUF_ROOT_JSON="$work/root.json" TUF_MIRROR={{.Mirror | sh}}
export GCE_METADATA_HOST={{.Authority | sh}} # or every run asks Google's cloud for a token first

if [ "${FORMAT:-bundle}" = legacy ]; then
	set -- --new-bundle-format=false --use-signing-config=false \
		--fulcio-url {{.Fulcio | sh}} --rekor-url {{.Rekor | sh}} --oidc-issuer {{.Issuer | sh}}
else
	set --
fi
cosign sign --yes "$@" "$image"
cosign attest --yes "$@" --type cyclonedx --predicate "$sbom" "$image"

set -- --certificate-identity "$identity" --certificate-oidc-issuer "$issuer"
cosign verify "$@" "$image" >/dev/null
cosign verify-attestation --type cyclonedx "$@" "$image" >/dev/null
echo "$image is signed by $identity, and so is its SBOM"
