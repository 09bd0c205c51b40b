package differential

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	cadiff "github.com/sigbox/sigbox/ca/differential"
	"github.com/sigbox/sigbox/e2e/internal/clients"
	"github.com/sigbox/sigbox/e2e/internal/outside"
	"github.com/sigbox/sigbox/e2e/internal/peers"
	"github.com/sigbox/sigbox/e2e/internal/sh"
	"github.com/sigbox/sigbox/internal/pgtest"
)

// adoptedDir has what clients signed with upstream's servers, and the keys of those; the test of the same name in
// the package above verifies it against an instance that has adopted them.
const adoptedDir = "../testdata/adopted"

// signed has cosign 3 and 2 sign with upstream's servers, each as its documentation has it for a private instance.
const signed = `
printf 'signed elsewhere\n' > blob
. ./since
"$COSIGN3" trusted-root create --fulcio "url=$FULCIO,certificate-chain=fulcio.pem" --rekor "url=$REKOR,public-key=rekor.pub,start-time=$SINCE" \
	--ctfe "url=https://ctfe.test/test,public-key=ctfe.pub,start-time=$SINCE" --out root.json
"$COSIGN3" signing-config create --fulcio "url=$FULCIO,api-version=1,operator=test,start-time=$SINCE" \
	--rekor "url=$REKOR,api-version=1,operator=test,start-time=$SINCE" --rekor-config ANY --out signing.json
within "$COSIGN3" sign-blob --yes --identity-token "$TOKEN" --trusted-root root.json --signing-config signing.json --bundle cosign3.json blob
export SIGSTORE_ROOT_FILE="$WORK/fulcio.pem" SIGSTORE_REKOR_PUBLIC_KEY="$WORK/rekor.pub" SIGSTORE_CT_LOG_PUBLIC_KEY_FILE="$WORK/ctfe.pub"
within "$COSIGN2" sign-blob --yes --identity-token "$TOKEN" --fulcio-url "$FULCIO" --rekor-url "$REKOR" --bundle cosign2.json --output-signature cosign2.sig --output-certificate cosign2.pem blob
`

// TestAdopted signs with Fulcio, its CT log and Rekor v1, takes their keys as they publish them, and verifies what was
// signed with cosign 2 and 3 against a new instance that has adopted them.
func TestAdopted(t *testing.T) {
	onlyProof(t, func(ctx context.Context, w io.Writer) error {
		for _, ensure := range []func(context.Context, io.Writer) error{peers.Ensure, peers.EnsureFulcio, clients.Cosign2.Ensure, clients.Cosign3.Ensure} {
			if err := ensure(ctx, w); err != nil {
				return err
			}
		}
		return nil
	})
	if !outside.Alone(t) {
		return
	}
	work := t.TempDir()
	signElsewhere(t, work)
	verifyAdopted(t, work)
	if *update {
		if err := os.MkdirAll(adoptedDir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range adoptedFiles {
			keep(t, filepath.Join(work, name), filepath.Join(adoptedDir, name))
		}
	}
}

var adoptedFiles = []string{"since", "fulcio.pem", "rekor.pub", "ctfe.pub", "blob", "cosign3.json", "cosign2.json", "cosign2.sig", "cosign2.pem"}

// signElsewhere leaves in work what was signed, and the keys. The servers are ended when it returns.
func signElsewhere(t *testing.T, work string) {
	issuer, err := cadiff.StartIssuer()
	if err != nil {
		t.Fatal(err)
	}
	defer issuer.Close()
	server := pgtest.Start(t)
	server.Exec(t, "postgres", "CREATE DATABASE trillian")
	server.Exec(t, "postgres", "CREATE DATABASE rekor")
	since := time.Now().UTC().Add(-time.Minute).Format(time.RFC3339)
	fulcio, err := peers.StartFulcio(context.Background(), t.TempDir(), server.URL("trillian"), cadiff.Config(issuer.URL))
	if err != nil {
		t.Fatal(err)
	}
	rekor, err := peers.StartRekorV1(context.Background(), t.TempDir(), server.URL("rekor"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, p := range []*peers.Peer{rekor, fulcio} {
			if err := p.Stop(); err != nil {
				t.Error(err)
			}
		}
	}()
	keep(t, fulcio.KeyFile, filepath.Join(work, "ctfe.pub"))
	fetch(t, fulcio.URL+"/api/v1/rootCert", filepath.Join(work, "fulcio.pem"))
	fetch(t, rekor.URL+"/api/v1/log/publicKey", filepath.Join(work, "rekor.pub"))
	if err := os.WriteFile(filepath.Join(work, "since"), []byte("SINCE="+since+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	token, err := issuer.Token("email")
	if err != nil {
		t.Fatal(err)
	}
	script(t, signed, work, "FULCIO="+fulcio.URL, "REKOR="+rekor.URL, "TOKEN="+token)
}

// verifyAdopted adopts the keys in work and verifies, against an instance of its own.
func verifyAdopted(t *testing.T, work string) {
	i := up(t)
	text, err := os.ReadFile("../testdata/adopt.sh")
	if err != nil {
		t.Fatal(err)
	}
	script(t, string(text), work, "URL="+i.URL, "MIRROR="+i.URL+"/tuf", "TRUST="+filepath.Join(work, "trust"), "SIGBOX="+i.Binary(), "INSTANCE="+i.Data(), "UNTIL=now")
}

func script(t *testing.T, text, work string, env ...string) {
	t.Helper()
	for name, c := range map[string]clients.Client{"COSIGN2": clients.Cosign2, "COSIGN3": clients.Cosign3} {
		path, err := c.Path()
		if err != nil {
			t.Fatal(err)
		}
		env = append(env, name+"="+path)
	}
	env = append(env, "HOME="+work, "PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "TMPDIR="+os.TempDir(), "WORK="+work, "LIMIT=60", "COSIGN_PASSWORD=")
	if out, err := sh.Run(t.Context(), nil, sh.Prelude+text, env, 5*time.Minute); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func keep(t *testing.T, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, raw, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func fetch(t *testing.T, url, to string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode == http.StatusOK {
		err = os.WriteFile(to, raw, 0o644)
	}
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, res.Status, err)
	}
}
