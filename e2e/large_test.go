package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/fleet"
	"github.com/sigbox/sigbox/internal/pgtest"
)

const (
	sbomBytes  = 50 << 20
	sbomBody   = 256 << 20 // tlog.limits.body, its largest; the envelope is base64, in JSON
	refusedRSS = 32 << 20  // that a refusal may cost at most
)

// attestSBOM has both cosigns attest a blob with an SBOM, through the v1 log.
const attestSBOM = `
echo hello > blob
cosign2 attest-blob --yes --identity-token "$TOKEN" --type spdxjson --predicate "$SBOM" --bundle blob.2 --output-attestation blob.att blob
cosign3 attest-blob --yes --identity-token "$TOKEN" --type spdxjson --predicate "$SBOM" --bundle blob.3 blob
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
	var most atomic.Int64
	done := make(chan bool)
	go func() {
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-done:
				tick.Stop()
				close(done)
				return
			case <-tick.C:
				most.Store(max(most.Load(), int64(resident(t, pid))))
			}
		}
	}()
	return func() int {
		done <- true
		<-done
		return int(most.Load())
	}
}

// TestLargeSBOM attests an SBOM of 50 MB with cosign 2 and 3. By default that is more than the v1 log takes: both are
// told the limit and its name, and the server's memory does not move. With a higher limit both succeed, and memory does
// not grow from one to the next.
func TestLargeSBOM(t *testing.T) {
	started, file := time.Now(), sbom(t, sbomBytes)
	figures := map[string]any{"sbom_bytes": sbomBytes, "limits_body": sbomBody}
	t.Run("refused", func(t *testing.T) {
		r := start(t)
		before, stop := resident(t, r.Pid()), peak(t, r.Pid())
		r.script(t, refuseSBOM, r.env(t, "TOKEN="+r.token(t, "dev@example.com"), "SBOM="+file))
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
		for range 3 {
			r, stop := visit(t, f), peak(t, pid)
			r.script(t, attestSBOM, r.env(t, "TOKEN="+r.token(t, "dev@example.com"), "SBOM="+file))
			peaks = append(peaks, stop())
		}
		figures["taken_resident_before_bytes"], figures["taken_resident_at_most_bytes"] = before, peaks
		if peaks[2] > peaks[0]*5/4 || peaks[2] > 12*sbomBytes {
			t.Errorf("%d MB resident before, at most %d, %d and %d MB", before>>20, peaks[0]>>20, peaks[1]>>20, peaks[2]>>20)
		}
	})
	t.Logf("%v", figures)
	keep(t, "sbom", started, figures)
}
