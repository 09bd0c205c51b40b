package ran

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain lets the test binary be the wrapper, as the tests' own binary is.
func TestMain(m *testing.M) {
	if Called() {
		code, err := Main(os.Args[1:])
		if err != nil {
			os.Stderr.WriteString(err.Error())
		}
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// TestWrapper: the client gets what the caller gives, the caller gets what the client gives, and what happened
// is noted, with variables in place of what differs from run to run.
func TestWrapper(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's a dir")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	client := filepath.Join(dir, "program")
	script := "#!/bin/sh\ncat\necho \"$@\"\necho wrong >&2\nenv | grep SIGBOX_E2E_\nexit 3\n"
	if err := os.WriteFile(client, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "log")
	path, err := Wrap(dir, self, log, "cosign-3", client)
	if err != nil {
		t.Fatal(err)
	}
	token := "eyJa.eyJb.c-d_e"
	cmd := exec.Command(path, "sign", "--identity-token", token, "--url=http://127.0.0.1:1/x", "it's", "$HOME", "http://127.0.0.1:1")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "URL=http://127.0.0.1:1", "TUF_ROOT=/x/tuf-cosign3", OfflineVar + "=1"}
	cmd.Stdin = strings.NewReader("from stdin\n")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 3 {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	if want := "from stdin\nsign --identity-token " + token + " --url=http://127.0.0.1:1/x it's $HOME http://127.0.0.1:1\n"; stdout.String() != want || stderr.String() != "wrong\n" {
		t.Errorf("%q, %q", stdout.String(), stderr.String())
	}
	notes, err := Read(log, 0)
	if err != nil || len(notes) != 1 {
		t.Fatal(notes, err)
	}
	n := notes[0]
	want := `cosign sign --identity-token "$TOKEN" "--url=$URL/x" 'it'\''s' '$HOME' "$URL"`
	if n.Client != "cosign-3" || n.Command.Line != want || n.Command.Exit != 3 || n.Command.Does != "sign" || !n.Command.Offline || n.Command.Env != "env-cosign3.sh" || len(n.Command.Output) != 64 {
		t.Errorf("%+v\nwant line %s", n, want)
	}
	if rest, err := Read(log, 1); err != nil || len(rest) != 0 {
		t.Errorf("%v, %v", rest, err)
	}
	if none, err := Read(filepath.Join(dir, "missing"), 0); err != nil || none != nil {
		t.Errorf("%v, %v", none, err)
	}
}

func TestDoes(t *testing.T) {
	for words, want := range map[string]string{
		"cosign-3 cosign sign --yes x": "sign", "cosign-3 cosign sign-blob x": "sign", "cosign-3 cosign attest x": "attest",
		"cosign-3 cosign verify-attestation --type sign x": "verify", "cosign-3 cosign --verbose verify x": "verify",
		"cosign-3 cosign tree x": "", "cosign-3 cosign initialize": "", "cosign-3 cosign": "",
		"sigstore-js node js/sign.mjs verify": "sign", "sigstore-js node js/sign-rekor-v2.mjs x": "sign", "sigstore-js node js/attest.mjs x": "attest",
		"sigstore-js node verify-offline.mjs x": "verify", "sigstore-js node other.mjs sign": "", "sigstore-js node": "", "sigstore-js sigstore attest x": "attest",
		"sigstore-go sigstore-go-signing x": "sign", "sigstore-go sigstore-go-signing -in-toto x": "attest", "sigstore-go sigstore-go-verification sign": "verify",
		"sigstore-java java -Dx=y java/Sign.java verify": "sign", "sigstore-java java Verify.java sign": "verify", "sigstore-java java -version": "",
		"sigstore-python sigstore --trust-config x verify identity y": "verify",
	} {
		w := strings.Fields(words)
		if got := does(w[0], w[1], w[2:]); got != want {
			t.Errorf("%q: %q", words, got)
		}
	}
}
