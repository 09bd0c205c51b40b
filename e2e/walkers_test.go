package e2e

// walking begins the scripts of clients that begin with a root of before.
//
//	pytuf ROOT DIR [TIME]   python-tuf
//	jstuf ROOT DIR [TIME]   tuf-js
//	newest                  the versions that both print
const walking = `
pytuf() { PYTHONPATH=$PYMODULES within /usr/bin/python3 "$DATA/tuf/refresh.py" "$MIRROR" "$@"; }
jstuf() { root=$1 dir=$2; shift 2; within "$JS" "$DATA/tuf/refresh.cjs" "$JSMODULES" "$MIRROR" "$root" "$dir" "$@"; }
version() { python3 -c 'import json, sys; print(json.load(sys.stdin)["signed"]["version"])'; }
newest() {
	timestamp=$(curl -sSf "$MIRROR/timestamp.json")
	snapshot=$(printf %s "$timestamp" | python3 -c 'import json, sys; print(json.load(sys.stdin)["signed"]["meta"]["snapshot.json"]["version"])')
	targets=$(curl -sSf "$MIRROR/$snapshot.snapshot.json" | python3 -c 'import json, sys; print(json.load(sys.stdin)["signed"]["meta"]["targets.json"]["version"])')
	echo "root $(curl -sSf "$MIRROR/root.json" | version) timestamp $(printf %s "$timestamp" | version) snapshot $snapshot targets $targets"
}
`

// signedNow is what the walkers verify beside what was signed in the months.
const signedNow = `
( . "$TRUST/env-cosign3.sh"; echo now > "$MONTHS/now"
within "$COSIGN3" sign-blob --yes --identity-token "$TOKEN" --bundle "$MONTHS/now.json" "$MONTHS/now" </dev/null
within "$COSIGN3" sign-blob --yes --identity-token "$TOKEN" --signing-config "$TRUST/signing_config_rekor_v2.v0.2.json" --bundle "$MONTHS/v2.json" "$MONTHS/now" </dev/null )
( . "$TRUST/env-cosign2.sh"; within "$COSIGN2" sign-blob --yes --identity-token "$TOKEN" --bundle "$MONTHS/now.old" "$MONTHS/now" </dev/null )
mkdir -p "$HOME"
files gitsign g
pasted g/setup.sh
git config --global user.name Dev
git config --global user.email dev@example.com
git init -q -b main repo
cd repo
echo hello > file
git add file
git commit -m 'Say hello'
`

// walkers come from the root of month $N to the newest, which is $NEWEST, and verify. Each has a home of its own.
var walkers = map[string]string{
	"cosign 3": `
cosign() { within "$COSIGN3" "$@" </dev/null; }
cosign initialize --mirror "$MIRROR" --root "$MONTHS/month$N/root.json"
test "$(version < "$(find "$HOME/.sigstore" -path '*127.0.0.1*' -name root.json)")" = "$(echo "$NEWEST" | cut -d' ' -f2)"
for b in blob0 blob6 blob7 now; do cosign verify-blob --bundle "$MONTHS/$b.json" ` + me + ` "$MONTHS/$b"; done
cosign verify-blob --bundle "$MONTHS/v2.json" --use-signed-timestamps ` + me + ` "$MONTHS/now"
refuses 'no matching CertificateIdentity found' cosign verify-blob --bundle "$MONTHS/blob0.json" --certificate-identity eve@example.com --certificate-oidc-issuer "$URL" "$MONTHS/blob0"
`,
	"cosign 2": `
cosign() { within "$COSIGN2" "$@" </dev/null; }
cosign initialize --mirror "$MIRROR" --root "$MONTHS/month$N/root.json"
for b in blob0 blob6 blob7 now; do cosign verify-blob --bundle "$MONTHS/$b.old" ` + me + ` "$MONTHS/$b"; done
refuses 'none of the expected identities matched' cosign verify-blob --bundle "$MONTHS/blob0.old" --certificate-identity eve@example.com --certificate-oidc-issuer "$URL" "$MONTHS/blob0"
`,
	// Half of its cache is that of the legacy client, go-tuf 0.7; sigbox trust init fills both, each by that client.
	"gitsign": `
export PATH="$(dirname "$GITSIGN"):$PATH"
gitsign initialize --mirror "$MIRROR" --root "$MONTHS/month$N/root.json"
rm -rf "$HOME/.sigstore"
sigbox trust init --mirror "$MIRROR" --root "$MONTHS/month$N/root.json"
cp "$MONTHS/signer/.gitconfig" "$HOME"
cd "$MONTHS/repo"
git verify-commit HEAD
says 'Validated Certificate claims: true' gitsign verify --certificate-identity dev@example.com --certificate-oidc-issuer "$URL" HEAD
refuses 'none of the expected identities matched' gitsign verify --certificate-identity eve@example.com --certificate-oidc-issuer "$URL" HEAD
`,
	"python-tuf": `
says "$NEWEST" pytuf "$MONTHS/month$N/root.json" fresh
cp -r "$MONTHS/month$N" kept
says "$NEWEST" pytuf "$MONTHS/month$N/root.json" kept
`,
	"sigstore-python": `
sigstore() { within "$PYTHON" "$@"; }
sigstore --instance "$MIRROR" trust-instance "$MONTHS/month$N/root.json"
for b in blob0 now; do sigstore --instance "$MIRROR" verify identity ` + pyMe + ` --bundle "$MONTHS/$b.json" "$MONTHS/$b"; done
`,
	"sigstore-js": `
says "$NEWEST" jstuf "$MONTHS/month$N/root.json" fresh
cp -r "$MONTHS/month$N" kept
says "$NEWEST" jstuf "$MONTHS/month$N/root.json" kept
for b in blob0 blob6 blob7 now; do
	within "$JSCLI" verify --tuf-mirror-url "$MIRROR" --tuf-root-path "$MONTHS/month$N/root.json" --tuf-cache-path js \
		--certificate-identity-uri '^dev@example\.com$' --certificate-issuer "$URL" --blob-file "$MONTHS/$b" "$MONTHS/$b.json"
done
`,
}

// ahead are months to come: the root is signed again and again, and its keys change; the targets are signed
// again when they have expired, by what sigbox expiry prints.
var ahead = []string{`
day 426
sigbox tuf key --out carol2.key
request --root-key alice.key.pub --root-key erin.key.pub --root-key carol2.key.pub --out back.json
held back.json alice.key erin.key
for d in 510 590 670; do
	day $d
	request --renew-root --out root-$d.json
	held root-$d.json erin.key carol2.key
done
says 'tuf targets ends in 59 days' sigbox expiry --config "$CONFIG"
`, `
# What expiry prints, as a shell reads it; who signs types the id that the request printed.
sigbox expiry --config "$CONFIG" > list || true
grep -q 'tuf targets ENDED' list
sed -n '/  tuf targets ENDED/,/^[0-9]/s/^  prevent  \(sigbox .*\)\|^           \(sigbox .*\)/\1\2/p' list > steps
test "$(wc -l < steps)" = 3
while read -r step; do
	id=$(sed -n 's/^request \([0-9a-f]\{8\}\).*/\1/p' .done 2>/dev/null || true)
	printf '%s\n' "$id" > typed
	eval "$(printf %s "$step" | sed 's/    (.*//; s#--key KEY#--key dave.key#')" < typed > .said 2>&1 || { cat .said; exit 1; }
	cat .said
	[ -f .done ] || cp .said .done
done < steps
`}

// inSeconds are clients that begin with a root whose repository, or a part of it, expires soon.
var inSeconds = map[string]string{
	"cosign 3":    `within "$COSIGN3" initialize --mirror "$MIRROR" --root "$ROOT" </dev/null`,
	"cosign 2":    `within "$COSIGN2" initialize --mirror "$MIRROR" --root "$ROOT" </dev/null`,
	"gitsign":     `within "$GITSIGN" initialize --mirror "$MIRROR" --root "$ROOT" </dev/null`,
	"python-tuf":  `pytuf "$ROOT" kept`,
	"sigstore-js": `jstuf "$ROOT" kept`,
}
