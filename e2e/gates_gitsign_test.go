package e2e

import (
	"context"
	"testing"

	"github.com/sigbox/sigbox/e2e/internal/matrix"
	"github.com/sigbox/sigbox/e2e/internal/outside"
	"github.com/sigbox/sigbox/e2e/internal/ran"
)

// signed makes a repository with a signed commit and a signed tag, after `sigbox trust init`; nothing else of
// Sigstore is set.
const signed = `
files gitsign g
pasted g/setup.sh
git config --global user.name Dev
git config --global user.email dev@example.com
env | grep -E '^(TUF_|COSIGN_[A-Z]*_URL|GITSIGN_|SIGSTORE_.*(URL|FILE|KEY|ISSUER))' && exit 1
git init -q -b main repo
cd repo
echo hello > file
git add file
pasted ../g/sign.sh 'Say hello' v1.0
`

var gitsignGates = []scenario{
	{client: "gitsign", what: "commit and tag: git verify-commit, verify-tag, gitsign verify, verify-tag; after sigbox trust init, no variable set", v1only: true, script: signed + `
before=$(tool requests "$URL")
pasted ../g/verify.sh HEAD v1.0
# Neither the log nor the authority was asked anything.
[ "${before%%,*}" = "$(tool requests "$URL" | cut -d, -f1)" ]
says 'Good signature from [dev@example.com]' git log -1 --show-signature
`},
	{client: "gitsign", what: "rekorMode online, its default: every verification searches the log", v1only: true, script: signed + `
git config gitsign.rekorMode online
before=$(tool requests "$URL")
git commit --allow-empty -m 'Logged by its name'
says 'Validated Rekor entry: true' gitsign verify --certificate-identity dev@example.com --certificate-oidc-issuer "$URL" HEAD
[ "${before%%,*}" != "$(tool requests "$URL" | cut -d, -f1)" ]
`},
	{client: "gitsign", what: "must fail: wrong identity, wrong issuer, changed commit, unsigned commit", v1only: true, script: signed + `
verify="gitsign verify --certificate-identity dev@example.com --certificate-oidc-issuer $URL"
$verify HEAD
files gitsign ../eve --identity eve@example.com
refuses 'none of the expected identities matched' pasted ../eve/verify.sh
files gitsign ../issuer --issuer https://accounts.example.com
refuses 'none of the expected identities matched' pasted ../issuer/verify.sh
changed=$(git cat-file commit HEAD | sed 's/Say hello/Say goodbye/' | git hash-object -t commit -w --stdin)
git branch changed "$changed"
refuses 'invalid message digest' $verify changed
refuses 'invalid message digest' git verify-commit changed
git -c commit.gpgsign=false commit -q --allow-empty -m unsigned
refuses 'signature' $verify HEAD
if git verify-commit HEAD; then exit 1; fi
`},
}

const (
	gitsignOffline = "verify with the network gone: empty namespace, a copy of the mirror on loopback"
	gitsignAlone   = "verify with the network gone, and no mirror on loopback"
)

// TestGitsignOffline: gitsign asks no log, but asks the TUF mirror each time. Should a newer one be content
// with what it has, the second row fails, and its reason goes.
func TestGitsignOffline(t *testing.T) {
	t.Parallel()
	before, err := outside.Gone(context.Background())
	namespaced(t, err)
	r := start(t)
	env := r.env(t, "TOKEN="+r.token(t, "dev@example.com"))
	r.script(t, atGates+signed, env)
	r.dropRun(t)
	env = append(env, ran.OfflineVar+"=1")
	t.Run("mirror", func(t *testing.T) {
		defer cell(t, "gitsign", gitsignOffline, 1)()
		r.script(t, atGates+`
if curl -s --max-time 5 "$URL"; then exit 1; fi
export HOME="$WORK/other"; mkdir "$HOME"
( . g/offline.sh )
cd repo
pasted ../g/verify.sh HEAD v1.0
changed=$(git cat-file commit HEAD | sed 's/Say hello/Say goodbye/' | git hash-object -t commit -w --stdin)
refuses 'invalid message digest' git verify-commit "$changed"
`, env, before...)
		r.keepRun(t, "gitsign", gitsignOffline, 1, matrix.Works)
	})
	t.Run("alone", func(t *testing.T) {
		const reason = "no: gitsign asks the TUF mirror each time, and then the log"
		defer cellOf(t, "gitsign", gitsignAlone, 1, reason)()
		r.script(t, atGates+`
cd repo
refuses 'failed to validate rekor entry' gitsign verify --certificate-identity dev@example.com --certificate-oidc-issuer "$URL" HEAD
`, env, before...)
		r.keepRun(t, "gitsign", gitsignAlone, 1, reason)
	})
}
