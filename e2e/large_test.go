package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/fleet"
	"github.com/sigbox/sigbox/e2e/internal/sh"
	"github.com/sigbox/sigbox/internal/pgtest"
)

const (
	sbomBody   = 256 << 20 // tlog.limits.body, its largest; the envelope is base64, in JSON
	refusedRSS = 32 << 20  // that a refusal may cost at most
)

// sbomBytes is 8 MiB, twice what the log takes by default, or what SIGBOX_E2E_SBOM says: cosign needs minutes for 50.
func sbomBytes(t *testing.T) int {
	v := os.Getenv("SIGBOX_E2E_SBOM")
	if v == "" {
		return 8 << 20
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 8<<20 {
		t.Fatalf("SIGBOX_E2E_SBOM=%q: want bytes, at least 8 MiB", v)
	}
	return n
}

// sbomLimit is how long cosign may take for an SBOM of that size, and the whole script: it hashes, encodes and signs
// with one core, and validates what it reads.
func sbomLimit(size int) (command, script time.Duration) {
	command = 4 * time.Minute
	if size > 8<<20 {
		command = 20 * time.Minute
	}
	return command, 4 * command
}

// withSBOM runs one of the scripts below.
func withSBOM(t *testing.T, r *rig, script, file string, size int) {
	t.Helper()
	command, all := sbomLimit(size)
	env := r.env(t, "TOKEN="+r.token(t, "dev@example.com"), "SBOM="+file, fmt.Sprintf("LIMIT=%d", int(command.Seconds())))
	if out, err := sh.Run(t.Context(), nil, sh.Prelude+script, env, all); err != nil {
		t.Fatalf("script failed: %v\n%s", err, out)
	}
}

// attestSBOM has both cosigns attest a blob with an SBOM, through the v1 log.
const attestSBOM = `
echo hello > blob
cosign2 attest-blob --yes --identity-token "$TOKEN" --type spdxjson --predicate "$SBOM" --bundle blob.2 --output-attestation blob.att blob
cosign3 attest-blob --yes --identity-token "$TOKEN" --type spdxjson --predicate "$SBOM" --bundle blob.3 blob
`

// verifySBOM takes cosign longer than all else.
const verifySBOM = `
cosign3 verify-blob-attestation --bundle blob.3 --type spdxjson ` + me + ` blob
`

const refuseSBOM = `
echo hello > blob
refuses 'Limit set to 4194304 (tlog.limits.body)' cosign2 attest-blob --yes --identity-token "$TOKEN" --type spdxjson --predicate "$SBOM" --bundle blob.2 blob
refuses 'Limit set to 4194304 (tlog.limits.body)' cosign3 attest-blob --yes --identity-token "$TOKEN" --type spdxjson --predicate "$SBOM" --bundle blob.3 blob
`

// sbom writes an SPDX document of that size.
func sbom(t *testing.T, size int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(`{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","name":"large","packages":[`)
	for i := 0; b.Len() < size; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"SPDXID":"SPDXRef-%d","name":"package-%d","versionInfo":"1.%d","downloadLocation":"https://example.com/%d.tgz","checksums":[{"algorithm":"SHA256","checksumValue":"%064x"}]}`, i, i, i, i, i)
	}
	b.WriteString("]}")
	file := filepath.Join(t.TempDir(), "sbom.json")
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// peak watches the resident memory of a process until stop is called, which returns the most that it was.
func peak(t *testing.T, pid int) (stop func() int) {
	most, done, ended := resident(t, pid), make(chan bool), make(chan bool)
	go func() {
		defer close(ended)
		for tick := time.Tick(20 * time.Millisecond); ; {
			select {
			case <-done:
				return
			case <-tick:
				most = max(most, resident(t, pid))
			}
		}
	}()
	end := sync.OnceFunc(func() { close(done); <-ended })
	t.Cleanup(end) // before the process ends, which was started before
	return func() int { end(); return most }
}

// TestLargeSBOM attests a large SBOM with cosign 2 and 3. By default that is more than the v1 log takes: both are
// told the limit and its name, and the server's memory does not move. With a higher limit both succeed, memory is
// bounded by twice what is sent, and is the system's again afterwards.
func TestLargeSBOM(t *testing.T) {
	started, size := time.Now(), sbomBytes(t)
	file := sbom(t, size)
	figures := map[string]any{"sbom_bytes": size, "limits_body": sbomBody}
	t.Run("refused", func(t *testing.T) {
		r := start(t)
		before, stop := resident(t, r.Pid()), peak(t, r.Pid())
		withSBOM(t, r, refuseSBOM, file, size)
		most := stop()
		figures["refused_resident_before_bytes"], figures["refused_resident_at_most_bytes"] = before, most
		if most-before > refusedRSS {
			t.Errorf("%d MB resident before, %d MB at most", before>>20, most>>20)
		}
	})
	t.Run("taken", func(t *testing.T) {
		f := startFleetWith(t, fleet.OneProcess, pgtest.Start(t).URL("postgres"), func(file map[string]any) {
			file["tlog"].(map[string]any)["limits"] = map[string]any{"body": sbomBody}
		})
		pid := f.Members[0].Pid()
		before := resident(t, pid)
		var peaks []int
		for round := range 3 {
			r, stop := visit(t, f), peak(t, pid)
			script := attestSBOM
			if round == 2 {
				script += verifySBOM
			}
			withSBOM(t, r, script, file, size)
			peaks = append(peaks, stop())
			t.Logf("round %d: at most %d MB resident, %d MB after", round, peaks[round]>>20, resident(t, pid)>>20)
		}
		after := resident(t, pid)
		figures["taken_resident_before_bytes"], figures["taken_resident_at_most_bytes"], figures["taken_resident_after_bytes"] = before, peaks, after
		most := before + 3*size + refusedRSS // a body is four thirds of it, and is held twice at most
		if slices.Max(peaks) > most || after > before+refusedRSS {
			t.Errorf("%d MB resident before, at most %d, %d and %d MB, want %d; %d MB after", before>>20, peaks[0]>>20, peaks[1]>>20, peaks[2]>>20, most>>20, after>>20)
		}
	})
	t.Logf("%v", figures)
	keep(t, "sbom", started, figures)
}
