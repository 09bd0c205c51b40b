package trustroot_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/tuf/trustroot"
)

// source runs real sh: it sources the files in turn from another directory, and returns the
// variables it ends with.
func source(t *testing.T, dir string, names ...string) map[string]string {
	t.Helper()
	script := "set -eu\n"
	args := []string{"-c", "", "sh"}
	for _, name := range names {
		script += ". \"$1\"\nshift\n"
		args = append(args, filepath.Join(dir, name))
	}
	args[1] = script + "env -0"
	cmd := exec.Command("sh", args...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "COSIGN_TIMESTAMP_SERVER_URL=stale", "SIGSTORE_ID_TOKEN=token"}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("sh: %v", err)
	}
	vars := map[string]string{}
	for line := range strings.SplitSeq(string(out), "\x00") {
		name, value, _ := strings.Cut(line, "=")
		if strings.HasPrefix(name, "TUF_") || strings.HasPrefix(name, "COSIGN_") || strings.HasPrefix(name, "SIGSTORE_") || strings.HasPrefix(name, "GITSIGN_") || strings.HasPrefix(name, "GCE_") {
			vars[name] = value
		}
	}
	return vars
}

// TestEnvironmentFiles sources each file alone and after each other, from a directory whose name
// is hostile to sh: always the same variables, the client's own and no others.
func TestEnvironmentFiles(t *testing.T) {
	for _, name := range []string{"plain", "with space", "it's", "$HOME `id` \"x\" \\", "-n", "é\nnewline"} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		env := trustroot.Environment{
			Dir: dir, Mirror: "http://127.0.0.1:8080/tuf", TSA: true,
			FulcioURL: "http://ca", RekorURL: "http://log", IssuerURL: "http://issuer/it's",
		}
		for file, content := range env.Files() {
			if err := os.WriteFile(filepath.Join(dir, file), content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		common := func(cache string) map[string]string {
			return map[string]string{
				"TUF_MIRROR": env.Mirror, "TUF_ROOT_JSON": filepath.Join(dir, "root.json"), "TUF_ROOT": filepath.Join(dir, cache),
				"GCE_METADATA_HOST": "127.0.0.1:8080",
				"SIGSTORE_ID_TOKEN": "token", // the user's own
			}
		}
		with := func(m map[string]string, more map[string]string) map[string]string {
			maps.Copy(m, more)
			return m
		}
		want := map[string]map[string]string{
			trustroot.EnvCosign3Name: common("tuf-cosign3"),
			trustroot.EnvCosign2Name: with(common("tuf-cosign2"), map[string]string{
				"COSIGN_FULCIO_URL": env.FulcioURL, "COSIGN_REKOR_URL": env.RekorURL, "COSIGN_OIDC_ISSUER": env.IssuerURL,
			}),
			trustroot.EnvLegacyName: with(common("tuf-legacy"), map[string]string{
				"SIGSTORE_ROOT_FILE":              filepath.Join(dir, trustroot.FulcioName),
				"SIGSTORE_REKOR_PUBLIC_KEY":       filepath.Join(dir, trustroot.RekorName),
				"SIGSTORE_CT_LOG_PUBLIC_KEY_FILE": filepath.Join(dir, trustroot.CTName),
				"SIGSTORE_TSA_CERTIFICATE_FILE":   filepath.Join(dir, trustroot.TSAName),
				"GITSIGN_FULCIO_URL":              env.FulcioURL, "GITSIGN_REKOR_URL": env.RekorURL, "GITSIGN_OIDC_ISSUER": env.IssuerURL,
			}),
		}
		files := slices.Sorted(maps.Keys(want))
		for _, last := range files {
			if got := source(t, dir, last); !maps.Equal(got, want[last]) {
				t.Errorf("%q: %s alone:\n%v\nwant\n%v", name, last, got, want[last])
			}
			for _, first := range files {
				if got := source(t, dir, first, last); !maps.Equal(got, want[last]) {
					t.Errorf("%q: %s after %s:\n%v\nwant\n%v", name, last, first, got, want[last])
				}
			}
		}
	}
}

func TestNoTSA(t *testing.T) {
	files := trustroot.Environment{Dir: "/d", Mirror: "http://x/tuf"}.Files()
	if strings.Contains(string(files[trustroot.EnvLegacyName]), "SIGSTORE_TSA_CERTIFICATE_FILE=") {
		t.Error("names a file that is not there")
	}
}
