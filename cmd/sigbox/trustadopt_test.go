package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

// older writes what another instance signed with, two years ago, into a directory.
func older(t *testing.T) string {
	t.Helper()
	dir, then := t.TempDir(), clock.System{}.Now().AddDate(-2, 0, 0)
	chain, err := cryptoutils.MarshalCertificatesToPEM(tuftest.CAChain(t, then))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "fulcio.pem"), string(chain))
	if chain, err = cryptoutils.MarshalCertificatesToPEM(tuftest.TSAChain(t, then)); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "tsa.pem"), string(chain))
	for _, name := range []string{"rekor.pub", "ctfe.pub"} {
		pub, err := keys.PublicPEM(tuftest.Key(t).Public())
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(pub))
	}
	return dir
}

// adoption are the flags that adopt it, from dir.
func adoption(dir string) []string {
	at := func(name string) string { return filepath.Join(dir, name) }
	return []string{
		"--since", clock.System{}.Now().AddDate(-2, 0, 0).Format(time.RFC3339), "--fulcio", at("fulcio.pem") + ",url=https://fulcio.old.example",
		"--rekor", at("rekor.pub") + ",url=https://rekor.old.example,origin=rekor.old.example - 7", "--ct", at("ctfe.pub") + ",url=https://ctfe.old.example/2024",
		"--tsa", at("tsa.pem") + ",url=https://tsa.old.example/api/v1/timestamp,until=" + clock.System{}.Now().AddDate(0, 1, 0).Format(time.RFC3339),
	}
}

// TestTrustAdopt adopts the keys of another instance while one of sigbox up runs, which shows them at once; killed at
// the end it is done again without harm, and what is refused changes nothing.
func TestTrustAdopt(t *testing.T) {
	data, old := newData(t), older(t)
	r := start(t, "--listen", freeAddr(t), "--data", data)
	adopt := func(want int, args ...string) string {
		t.Helper()
		stdout, stderr, code := run(t, append([]string{"trust", "adopt", "--data", data}, args...)...)
		if code != want {
			t.Fatalf("trust adopt %v: exit code %d\n%s%s", args, code, stdout, stderr)
		}
		return stdout + stderr
	}
	before := get(t, r.url+"/trust/trusted_root.json")
	fulcio := filepath.Join(old, "fulcio.pem")
	for _, tc := range []struct{ args, want string }{
		{"--fulcio " + fulcio + " --until now", "want ,url=URL"},
		{"--fulcio " + fulcio + ",url=https://x.example --yes", "it has no end"},
		{"--fulcio " + fulcio + ",url=https://x.example,until=noon", `until "noon": want a time`},
		{"--fulcio " + fulcio + ",uri=https://x.example", "want url=URL"},
		{"--fulcio " + fulcio + ",url=https://x.example,origin=x", "an origin is that of a log"},
		{"--fulcio " + fulcio + ",url=https://x.example --until now", "with --yes"},
		{"--fulcio " + filepath.Join(old, "rekor.pub") + ",url=https://x.example --until now --yes", "rekor.pub"},
		{"--rekor " + filepath.Join(old, "rekor.pub") + ",url=https://x.example --until now --yes", "it has no start"},
		{"--until now", "at least one of the flags"},
	} {
		if said := adopt(1, strings.Fields(tc.args)...); !strings.Contains(said, tc.want) {
			t.Errorf("trust adopt %s: %s, want %q", tc.args, said, tc.want)
		}
	}
	// One of several that is refused, and nothing is taken in.
	twice := append(adoption(old), "--ct", filepath.Join(old, "rekor.pub")+",url=https://ctfe.old.example/2025", "--until", "now", "--yes")
	if said := adopt(1, twice...); !strings.Contains(said, "is that of rekor-v1 already") || get(t, r.url+"/trust/trusted_root.json") != before {
		t.Errorf("one key in two roles: %s", said)
	}
	until := clock.System{}.Now().AddDate(0, -1, 0).UTC().Format(time.RFC3339)
	flags := append(adoption(old), "--until", until, "--yes")
	if said := adopt(0, flags...); strings.Count(said, "adopted, verifies only") != 3 || strings.Count(said, "adopted, signs elsewhere") != 1 {
		t.Errorf("adopted: %s", said)
	}
	root := get(t, r.url+"/trust/trusted_root.json")
	for _, want := range []string{"https://fulcio.old.example", "https://rekor.old.example", "https://ctfe.old.example/2024", "https://tsa.old.example/api/v1/timestamp"} {
		if strings.Count(root, want) != 1 {
			t.Errorf("the trust root that is served has %s %d times", want, strings.Count(root, want))
		}
	}
	if file, err := os.ReadFile(filepath.Join(data, "trust", "trusted_root.json")); err != nil || string(file) != root {
		t.Errorf("the trust files are those of before: %v", err)
	}
	if config := get(t, r.url+"/trust/signing_config.v0.2.json"); strings.Contains(config, "old.example") {
		t.Errorf("clients would sign there:\n%s", config)
	}
	if said := adopt(0, flags...); !strings.Contains(said, "nothing to do") || get(t, r.url+"/trust/trusted_root.json") != root {
		t.Errorf("again: %s", said)
	}
	r.stop(t, syscall.SIGTERM)
	checkAdoptedShown(t, data, until)
	r = start(t, "--listen", freeAddr(t), "--data", data)
	if root := get(t, r.url+"/trust/trusted_root.json"); strings.Count(root, "old.example") != 4 {
		t.Errorf("after a start at another URL:\n%s", root)
	}
}

// checkAdoptedShown wants what is adopted in the lists that people read, and nothing urgent in it.
func checkAdoptedShown(t *testing.T, data, until string) {
	t.Helper()
	out, stderr, code := run(t, "trust", "keys", "--data", data)
	if code != 0 || strings.Count(out, "adopted, ") != 4 || strings.Count(out, "in use") != 5 || !strings.Contains(out, "until "+until) {
		t.Errorf("trust keys: %d\n%s%s", code, out, stderr)
	}
	out, stderr, code = run(t, "expiry", "--data", data, "--within", "1200h")
	if code != 0 || strings.Count(out, "adopted tsa ends in") != 1 || strings.Contains(out, "adopted ca") {
		t.Errorf("expiry: %d\n%s%s", code, out, stderr)
	}
	if strings.Contains(out, "ENDED") {
		t.Errorf("what was adopted and signs no more has ended: %s", out)
	}
}
