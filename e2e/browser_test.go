package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"image/png"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/sigbox/sigbox/e2e/internal/instance"
	"github.com/sigbox/sigbox/e2e/internal/matrix"
	"github.com/sigbox/sigbox/e2e/internal/sh"
)

// browserRows are the rows of the table that need a browser.
const (
	browserFlow = "browser flow: from cosign sign without a token to a signed image"
	deviceFlow  = "device flow: code entered in the browser"
)

// newBrowser starts headless Chromium, which may ask the network for nothing of its own.
func newBrowser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is not installed: run e2e/run as root, or install it")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1000, 800), chromedp.NoSandbox,
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-domain-reliability", true),
		chromedp.Flag("no-pings", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-features", "MediaRouter,OptimizationHints,AutofillServerCommunication,CertificateTransparencyComponentUpdater,DialMediaRouteProvider"),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE 127.0.0.1"))
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}

// signIn fills the page in as a person does, and keeps a picture of it before and after.
func signIn(t *testing.T, ctx context.Context, url, name string) {
	t.Helper()
	email := chromedp.CSS(`#email`)
	err := chromedp.Do(ctx,
		chromedp.Navigate(url),
		chromedp.WaitVisible(email),
		chromedp.SendKeys(email, "dev@example.com"))
	if err != nil {
		t.Fatalf("browser on %s: %v", url, err)
	}
	picture(t, ctx, name+"-form.png")
	if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS(`button:not(.quiet)`)), chromedp.WaitNotPresent(email)); err != nil {
		t.Fatalf("browser on %s: %v", url, err)
	}
	text, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS(`body`)))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("after signing in the page says: %s", strings.Join(strings.Fields(text), " "))
	picture(t, ctx, name+"-after.png")
}

// picture saves a screenshot and wants more on it than one colour.
func picture(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	raw, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	dir := os.Getenv("SIGBOX_E2E_ARTIFACTS")
	if dir == "" {
		dir = filepath.Join(os.TempDir(), "sigbox-e2e-artifacts")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	colours := map[[3]uint32]int{}
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			red, green, blue, _ := img.At(x, y).RGBA()
			colours[[3]uint32{red >> 8, green >> 8, blue >> 8}]++
		}
	}
	if b.Dx() < 600 || b.Dy() < 400 || len(colours) < 16 {
		t.Errorf("%s is blank: %dx%d, %d colours", path, b.Dx(), b.Dy(), len(colours))
	}
	t.Logf("%s: %dx%d, %d colours", path, b.Dx(), b.Dy(), len(colours))
}

// background runs a script while the test does something else; its lines come as they are printed.
type background struct {
	lines chan string
	done  chan error
	all   *strings.Builder
}

func inBackground(t *testing.T, script string, env []string) *background {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "sh", "-c", sh.Prelude+script)
	cmd.Env, cmd.SysProcAttr = env, &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &background{lines: make(chan string, 1000), done: make(chan error, 1), all: &strings.Builder{}}
	go func() {
		err := cmd.Wait()
		w.Close()
		b.done <- err
	}()
	go func() {
		defer close(b.lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			b.lines <- s.Text()
		}
	}()
	return b
}

// find returns the first submatches of a line that matches.
func (b *background) find(t *testing.T, re *regexp.Regexp) []string {
	t.Helper()
	for line := range b.lines {
		b.all.WriteString(line + "\n")
		if m := re.FindStringSubmatch(line); m != nil {
			return m
		}
	}
	t.Fatalf("no line matches %s: %v\n%s", re, <-b.done, b.all)
	return nil
}

func (b *background) wait(t *testing.T) {
	t.Helper()
	for line := range b.lines {
		b.all.WriteString(line + "\n")
	}
	if err := <-b.done; err != nil {
		t.Fatalf("script failed: %v\n%s", err, b.all)
	}
}

// TestBrowserFlow: `cosign sign` at a terminal, without a token, opens a browser; the page is
// filled in; the image is signed.
func TestBrowserFlow(t *testing.T) {
	t.Parallel()
	defer cell(t, "cosign 3", browserFlow, 1)()
	registry := freeAddr(t)
	r := start(t, "--registry", registry)
	_, image := push(t, registry)
	// What a desktop calls to open a page. It hands the address to this test.
	open := fmt.Sprintf("#!/bin/sh\necho \"open <$1>\" > %s/opened\n", r.work)
	if err := os.WriteFile(filepath.Join(r.work, "xdg-open"), []byte(open), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(r.work, "opened"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := r.env(t, "IMAGE="+image)
	b := inBackground(t, `
PATH=$WORK:$PATH
. "$TRUST/env-cosign3.sh"
cat "$WORK/opened" &
# script(1) is the terminal: without one cosign takes the device flow.
script -qefc "$COSIGN3 sign --yes $IMAGE" /dev/null
wait
cosign3 verify `+me+` "$IMAGE"
`, env)
	page := b.find(t, regexp.MustCompile(`open <(http[^>]+)>`))[1]
	ownCallback(t, page)
	signIn(t, newBrowser(t), page, "browser-flow")
	b.wait(t)
	r.keepRun(t, "", browserFlow, 1, matrix.Works)
}

// ownCallback makes the port on which cosign waits for the browser known as the harness's own.
func ownCallback(t *testing.T, page string) {
	t.Helper()
	u, err := url.Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	back, err := url.Parse(u.Query().Get("redirect_uri"))
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(back.Port())
	if err != nil || back.Hostname() != "localhost" {
		t.Fatalf("cosign wants to be called back at %s", back)
	}
	instance.Own(port)
}

// TestDeviceFlow: without a terminal cosign prints a code and an address.
func TestDeviceFlow(t *testing.T) {
	t.Parallel()
	defer cell(t, "cosign 3", deviceFlow, 1)()
	r := start(t)
	b := inBackground(t, `
echo hello > blob
cosign3 sign-blob --yes --bundle blob.bundle blob
cosign3 verify-blob --bundle blob.bundle `+me+` blob
`, r.env(t))
	m := b.find(t, regexp.MustCompile(`verification code (\S+) in your browser at: (\S+)`))
	page := m[2]
	if !strings.Contains(page, m[1]) {
		page += "?user_code=" + m[1]
	}
	signIn(t, newBrowser(t), page, "device-flow")
	b.wait(t)
	r.keepRun(t, "", deviceFlow, 1, matrix.Works)
}
