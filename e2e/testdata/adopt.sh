# What another instance signed: refused before its keys are adopted, and then verified by cosign 2 and 3.
# In the working directory: the keys, what was signed, and since, when the logs began.
. ./since
sigbox trust export --url "$MIRROR" --out "$TRUST"
who="--certificate-identity dev@example.com --certificate-oidc-issuer-regexp /email$"
refuses 'failed to verify' "$COSIGN3" verify-blob --trusted-root "$TRUST/trusted_root.json" --bundle cosign3.json $who blob
refuses 'rekor log public key not found' cosign2 verify-blob --bundle cosign2.json $who blob
sigbox trust adopt --data "$INSTANCE" --since "$SINCE" --until "$UNTIL" --fulcio fulcio.pem,url=https://fulcio.test \
	--rekor rekor.pub,url=https://rekor.test --ct ctfe.pub,url=https://ctfe.test/test --yes
sigbox trust keys --data "$INSTANCE"
rm -r "$TRUST"
sigbox trust export --url "$MIRROR" --out "$TRUST"
cosign3 verify-blob --bundle cosign3.json $who blob
cosign3 verify-blob --trusted-root "$TRUST/trusted_root.json" --bundle cosign3.json $who blob
cosign3 verify-blob --new-bundle-format=false --bundle cosign2.json $who blob
cosign2 verify-blob --new-bundle-format --bundle cosign3.json $who blob
cosign2 verify-blob --bundle cosign2.json $who blob
echo tampered > other
refuses 'failed to verify' cosign3 verify-blob --bundle cosign3.json $who other
refuses 'matching bundle to payload' cosign2 verify-blob --bundle cosign2.json $who other
echo ours > ours
mine="--certificate-identity dev@example.com --certificate-oidc-issuer $URL"
cosign3 sign-blob --yes --identity-token "$(token dev@example.com)" --bundle ours3.json ours
cosign2 sign-blob --yes --identity-token "$(token dev@example.com)" --bundle ours2.json ours
cosign3 verify-blob --bundle ours3.json $mine ours
cosign2 verify-blob --bundle ours2.json $mine ours
