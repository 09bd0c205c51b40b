package e2e

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/sigbox/sigbox/e2e/internal/images"
	"github.com/sigbox/sigbox/e2e/internal/matrix"
)

// What `sigbox clients` writes, used as it is.
const (
	filesRow  = "the files that `sigbox clients` writes, run"
	scriptRow = "the script of every pipeline that `sigbox clients` writes, run in both formats"
	pageRow   = "the page /clients: what its buttons copy and its links download is what the command writes"
)

// filesScripts run what is written for a client. $FILES is where it is; the client is on PATH under the name
// that people type.
var filesScripts = map[string]string{
	"cosign 3": `
bom=$DATA/cyclonedx.json
"$FILES/sign.sh" "$IMAGE" "$bom"
"$FILES/verify.sh" "$IMAGE" sbom
refuses 'sign by digest' "$FILES/sign.sh" "$TAG"
echo hello > blob
"$FILES/blob.sh" blob
LEGACY=$(tool push "$REPO:legacy")
"$FILES/legacy.sh" "$LEGACY"
"$FILES/verify.sh" "$LEGACY"
refuses 'no signatures found' "$FILES/verify.sh" "$(tool push "$REPO:unsigned")"
"$FILES/initialize.sh"
`,
	"cosign 2": `
bom=$DATA/cyclonedx.json
"$FILES/sign.sh" "$IMAGE" "$bom"
"$FILES/verify.sh" "$IMAGE" sbom
refuses 'sign by digest' "$FILES/sign.sh" "$TAG"
echo hello > blob
"$FILES/blob.sh" blob
refuses 'no signatures found' "$FILES/verify.sh" "$(tool push "$REPO:unsigned")"
"$FILES/initialize.sh"
`,
	"rekor-cli": `
openssl ecparam -name prime256v1 -genkey -noout -out key.pem
echo hello > blob
says 'Created entry' "$FILES/upload.sh" blob key.pem
grep -qF 'Current Root Hash' .out
( . "$TRUST/env-cosign3.sh"; within "$COSIGN3" sign-blob --yes --bundle blob.bundle blob </dev/null )
says 'matching entries' "$FILES/log.sh" dev@example.com
# The key in the file counts, and not the one that the log shows.
sed '/^  /d' "$FILES/rekor.yaml" > other.yaml
openssl ec -in key.pem -pubout | sed 's/^/  /' >> other.yaml
refuses 'signature on tree head did not verify' "$REKORCLI" loginfo --config other.yaml
`,
	// The script that every pipeline calls, once in each format, with a token of each kind.
	"pipelines": `
export COSIGN_USE_SIGNING_CONFIG=false # of the runner; the script is not to sign with the public instance for it
says 'and so is its SBOM' sh "$FILES/ci/sign.sh" "$IMAGE" "$DATA/cyclonedx.json" dev@example.com "$URL"
refuses 'sign by digest' sh "$FILES/ci/sign.sh" "$TAG" "$DATA/cyclonedx.json" dev@example.com "$URL"
unset SIGSTORE_ID_TOKEN
export FORMAT=legacy ACTIONS_ID_TOKEN_REQUEST_URL="$URL/actions/token?repository=shop/app&ref=refs/heads/main&workflow_ref=shop/app/.github/workflows/build.yml@refs/heads/main" \
	ACTIONS_ID_TOKEN_REQUEST_TOKEN=any
workflow=https://github.com/shop/app/.github/workflows/build.yml@refs/heads/main
LEGACY=$(tool push "$REPO:legacy")
says "signed by $workflow" sh "$FILES/ci/sign.sh" "$LEGACY" "$DATA/cyclonedx.json" "$workflow" "$URL"
refuses 'none of the expected identities' sh "$FILES/ci/sign.sh" "$LEGACY" "$DATA/cyclonedx.json" "$workflow.other" "$URL"
`,
}

// written are the clients of `sigbox clients` whose files each script runs.
var written = map[string][]string{
	"cosign 3": {"cosign-3"}, "cosign 2": {"cosign-2"}, "rekor-cli": {"rekor-cli"}, "pipelines": {"github-actions"},
}

// TestClientFiles runs what `sigbox clients` writes for this instance, as it is.
func TestClientFiles(t *testing.T) {
	for who, script := range filesScripts {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			row := filesRow
			if who == "pipelines" {
				row = scriptRow
			}
			defer cell(t, who, row, 1)()
			registry := images.InMemory(t, freeAddr(t))
			r := start(t)
			tag, image := push(t, registry)
			repo := repository(image)
			files := filepath.Join(filepath.Dir(r.work), "it's files")
			for _, name := range written[who] {
				out := r.sigbox(t, "clients", name, "--url", r.URL, "--root", filepath.Join(r.trust, "root.json"), "--image", repo, "--out", files)
				if !strings.Contains(out, "wrote to") {
					t.Errorf("sigbox clients %s: %s", name, out)
				}
			}
			bin := filepath.Join(filepath.Dir(r.work), "bin")
			env := r.env(t, "TAG="+tag, "IMAGE="+image, "REPO="+repo, "FILES="+files, "SIGSTORE_ID_TOKEN="+r.token(t, "dev@example.com"))
			onPath(t, bin, env, map[string]string{"cosign": map[string]string{"cosign 2": "COSIGN2"}[who], "rekor-cli": "REKORCLI"})
			r.script(t, "PATH=\""+bin+":$PATH\"\n"+script, env)
			r.keepRun(t, "", row, 1, matrix.Works)
		})
	}
}

// onPath gives programs the names that people type: cosign is cosign 3 unless the variable says otherwise.
func onPath(t *testing.T, bin string, env []string, programs map[string]string) {
	t.Helper()
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, variable := range programs {
		if variable == "" {
			variable = "COSIGN3"
		}
		i := slices.IndexFunc(env, func(v string) bool { return strings.HasPrefix(v, variable+"=") })
		link(t, strings.TrimPrefix(env[i], variable+"="), filepath.Join(bin, name))
	}
}

// TestClientsPage looks at the page as a person does: the list, a client, its button, its link, with the light
// and the dark colours and on a small screen.
func TestClientsPage(t *testing.T) {
	t.Parallel()
	defer cell(t, "all", pageRow, 1)()
	r := start(t)
	ctx := newBrowser(t)
	complaints := listen(t, ctx)
	open := func(path, shown string) {
		t.Helper()
		if err := chromedp.Do(ctx, chromedp.Navigate(r.URL+path), chromedp.WaitVisible(chromedp.CSS(shown))); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	open("/", `a[href="/clients"]`)
	if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS(`a[href="/clients"]`)), chromedp.WaitVisible(chromedp.CSS(`a[href="/clients/cosign-3"]`))); err != nil {
		t.Fatal(err)
	}
	picture(t, ctx, "clients-list.png")
	open("/clients/cosign-3?identity=ci@example.com", `button.copy[data-copy="file1"]`)
	allowClipboard(t, ctx, r.URL)
	if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS(`button.copy[data-copy="file1"]`))); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.Poll[chromedp.Void](`document.getElementById("said").textContent === "Copied"`)); err != nil {
		t.Fatalf("after a click on the button the page does not say Copied: %v", err)
	}
	picture(t, ctx, "clients-copied.png")
	copied, err := chromedp.Run(ctx, chromedp.Evaluate[string](`navigator.clipboard.readText()`, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	downloaded, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.querySelectorAll("a[download]")[1].href`))
	if err != nil {
		t.Fatal(err)
	}
	if got := fetched(t, downloaded); got != copied {
		t.Errorf("copied %q, downloaded %q", copied, got)
	}
	// The page names its files as they are without --out in another directory.
	r.sigbox(t, "clients", "cosign-3", "--url", r.URL, "--identity", "ci@example.com", "--out", "sigbox-trust")
	written, err := os.ReadFile(filepath.Join(r.work, "sigbox-trust", "verify.sh"))
	if want := strings.ReplaceAll(string(written), r.work+"/sigbox-trust", "sigbox-trust"); err != nil || want != copied {
		t.Errorf("copied %q, the command writes %q, %v", copied, want, err)
	}
	emulate(t, ctx, "dark", 1000, 800)
	picture(t, ctx, "clients-dark.png")
	emulate(t, ctx, "light", 620, 900)
	wide, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > innerWidth`))
	if err != nil || wide {
		t.Errorf("on a small screen the page is wider than it: %v, %v", wide, err)
	}
	picture(t, ctx, "clients-narrow.png")
	if list := complaints(); len(list) > 0 {
		t.Errorf("the browser complains: %q", list)
	}
}

// listen returns what the browser has complained of since: refused scripts and styles, missing files, errors.
func listen(t *testing.T, ctx context.Context) func() []string {
	t.Helper()
	var mu sync.Mutex
	var list []string
	err := chromedp.Listen(ctx, func(ev any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := ev.(type) {
		case *log.EventEntryAdded:
			if !strings.HasSuffix(e.Entry.URL, "/favicon.ico") {
				list = append(list, e.Entry.Text+" "+e.Entry.URL)
			}
		case *runtime.EventExceptionThrown:
			list = append(list, e.ExceptionDetails.Text)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(list)
	}
}

func allowClipboard(t *testing.T, ctx context.Context, origin string) {
	t.Helper()
	_, err := chromedp.Run(ctx, func(ctx context.Context, target *chromedp.Target) (cdp.Empty, error) {
		return cdp.Call(ctx, target, browser.SetPermission, browser.SetPermissionParams{
			Permission: &browser.PermissionDescriptor{Name: "clipboard-read"}, Setting: browser.PermissionSettingGranted, Origin: origin,
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// emulate sets the colours that the person prefers, and the size of the window.
func emulate(t *testing.T, ctx context.Context, colours string, width, height int64) {
	t.Helper()
	_, err := chromedp.Run(ctx, func(ctx context.Context, target *chromedp.Target) (cdp.Empty, error) {
		return cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: colours}},
		})
	})
	if err == nil {
		err = chromedp.Do(ctx, chromedp.EmulateViewport(width, height))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func fetched(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, res.Status, err)
	}
	return string(body)
}
