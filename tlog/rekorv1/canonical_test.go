package rekorv1_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/types"

	"github.com/sigbox/sigbox/internal/record"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/dsse"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/entry/hashedrekord"
	"github.com/sigbox/sigbox/tlog/rekorv1"
)

// canonicalRow is a proposed entry whose one signature is of P-256, with what it takes to check that alone.
type canonicalRow struct {
	name     string
	proposed []byte
	key      *ecdsa.PrivateKey
	digest   []byte // that is signed
	sig      []byte
	body     []byte // room for a copy of proposed
}

var canonicalKinds = entry.Kinds{hashedrekord.Kind: hashedrekord.Parse, dsse.Kind: dsse.Parse}

// canonicalRows are the two kinds that are written all day, with a key and with a certificate as our authority
// issues them. The statement of dsse is a small SLSA provenance.
func canonicalRows(t testing.TB) (rows []canonicalRow) {
	key := entrytest.P256(t)
	digest := entrytest.Digest(crypto.SHA256, []byte("artifact"))
	sig := entrytest.SignDigest(t, key, crypto.SHA256, digest)
	const payloadType = "application/vnd.in-toto+json"
	statement := []byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1","subject":[{"name":"app","digest":{"sha256":"` +
		strings.Repeat("ab", 32) + `"}}],"predicate":{"buildDefinition":{"buildType":"x","externalParameters":{"a":"` + strings.Repeat("x", 1000) + `"}}}}`)
	envelope := entrytest.Envelope(t, payloadType, statement, key)
	var signed struct{ Signatures []struct{ Sig []byte } }
	if err := json.Unmarshal(envelope, &signed); err != nil {
		t.Fatal(err)
	}
	pae := entrytest.Digest(crypto.SHA256, entrytest.PAE(payloadType, statement))
	san := entrytest.SAN{URI: "https://github.com/o/r/.github/workflows/w.yml@refs/heads/main"}
	for _, by := range []struct {
		name string
		pem  []byte
	}{{"key", entrytest.PEM(t, key.Public())}, {"certificate", entrytest.CertPEM(entrytest.Cert(t, key, san, nil, nil))}} {
		rows = append(rows,
			canonicalRow{"hashedrekord, " + by.name, entrytest.HashedRekord(by.pem, crypto.SHA256, digest, sig), key, digest, sig, nil},
			canonicalRow{"dsse, " + by.name, entrytest.DSSE(t, envelope, by.pem), key, pae, signed.Signatures[0].Sig, nil})
	}
	return rows
}

// check is the signature check alone, which nobody can save.
func (r *canonicalRow) check() error {
	if !ecdsa.VerifyASN1(&r.key.PublicKey, r.digest, r.sig) {
		return fmt.Errorf("%s does not verify", r.name)
	}
	return nil
}

// ours is what our server does from the bytes of a request's body to leaf and search keys, its checks of the JSON
// included. The body is read in its own place, into which a copy is put as the network would.
func (r *canonicalRow) ours() ([]byte, error) {
	r.body = append(r.body[:0], r.proposed...)
	e, err := rekorv1.Parse(canonicalKinds, r.body)
	if err != nil {
		return nil, err
	}
	return e.(entry.Proposed).Body(), nil
}

// theirs is what upstream's server does for the same.
func (r *canonicalRow) theirs() ([]byte, error) {
	pe, err := models.UnmarshalProposedEntry(bytes.NewReader(r.proposed), nil)
	if err != nil {
		return nil, err
	}
	impl, err := types.CreateVersionedEntry(pe)
	if err != nil {
		return nil, err
	}
	body, err := types.CanonicalizeEntry(context.Background(), impl)
	if err != nil {
		return nil, err
	}
	_, err = impl.IndexKeys()
	return body, err
}

// cost is what one entry costs, in microseconds of this process's processor time, which other processes on the
// machine do not lengthen; garbage collection is in it. The median of many rounds, each so long that it matters
// little that the system accounts for what another core did at times of its own.
type cost struct {
	Check         float64 `json:"check_us"`
	Ours          float64 `json:"sigbox_us"`
	Theirs        float64 `json:"upstream_us"`
	OursBeyond    float64 `json:"sigbox_beyond_check_us"`
	TheirsBeyond  float64 `json:"upstream_beyond_check_us"`
	OursBytes     uint64  `json:"sigbox_bytes_allocated"`
	TheirsBytes   uint64  `json:"upstream_bytes_allocated"`
	OursObjects   uint64  `json:"sigbox_objects_allocated"`
	TheirsObjects uint64  `json:"upstream_objects_allocated"`
}

// measure takes turns, so that what else the machine does meets all three alike.
func (r *canonicalRow) measure(t testing.TB, rounds, entries int) (c cost) {
	t.Helper()
	work := []func() error{
		r.check,
		func() error { _, err := r.ours(); return err },
		func() error { _, err := r.theirs(); return err },
	}
	var all [3][]time.Duration
	var bytes, objects [3]uint64
	for round := range rounds {
		for i, f := range work {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := processorTime(t)
			for range entries {
				if err := f(); err != nil {
					t.Fatal(err)
				}
			}
			took := processorTime(t) - start
			runtime.ReadMemStats(&after)
			all[i] = append(all[i], took)
			if round > 0 {
				bytes[i], objects[i] = (after.TotalAlloc-before.TotalAlloc)/uint64(entries), (after.Mallocs-before.Mallocs)/uint64(entries)
			}
		}
	}
	us := func(of []time.Duration) float64 {
		return float64(median(of).Nanoseconds()) / 1000 / float64(entries)
	}
	check, ours, theirs := us(all[0]), us(all[1]), us(all[2])
	return cost{
		Check: check, Ours: ours, Theirs: theirs, OursBeyond: ours - check, TheirsBeyond: theirs - check,
		OursBytes: bytes[1], TheirsBytes: bytes[2], OursObjects: objects[1], TheirsObjects: objects[2],
	}
}

func median[T cmp.Ordered](of []T) T {
	slices.Sort(of)
	return of[len(of)/2]
}

func processorTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkParse is ours alone, to be profiled.
func BenchmarkParse(b *testing.B) {
	for _, r := range canonicalRows(b) {
		b.Run(r.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.ours(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCanonical puts the three beside each other: the bare check, ours, and upstream's, in processor time.
func BenchmarkCanonical(b *testing.B) {
	for _, r := range canonicalRows(b) {
		b.Run(r.name, func(b *testing.B) {
			c := r.measure(b, 10*max(b.N, 1), 100)
			for name, v := range map[string]float64{
				"check-µs": c.Check, "sigbox-µs": c.Ours, "upstream-µs": c.Theirs, "sigbox-beyond-µs": c.OursBeyond, "upstream-beyond-µs": c.TheirsBeyond,
				"sigbox-B": float64(c.OursBytes), "upstream-B": float64(c.TheirsBytes), "ns/op": 0,
			} {
				b.ReportMetric(v, name)
			}
		})
	}
}

// TestCanonicalBesideUpstream: both make the same body, and ours costs little beyond the signature check, a small
// part of what upstream's path costs beyond it. `make bench` and `make proof` print and record the figures.
func TestCanonicalBesideUpstream(t *testing.T) {
	started, rounds, entries := time.Now(), 5, 100
	if os.Getenv("SIGBOX_FIGURES") != "" {
		rounds, entries = 25, 1000
	}
	figures := map[string]cost{}
	for _, r := range canonicalRows(t) {
		got, err := r.ours()
		want, wantErr := r.theirs()
		if err != nil || wantErr != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: %s, %v\nupstream %s, %v", r.name, got, err, want, wantErr)
		}
		c := r.measure(t, rounds, entries)
		figures[r.name] = c
		t.Logf("%-26s check %5.1f µs, sigbox %5.1f beyond it, upstream %5.1f beyond it; %d and %d bytes", r.name, c.Check, c.OursBeyond, c.TheirsBeyond, c.OursBytes, c.TheirsBytes)
		if c.OursBytes*4 > c.TheirsBytes*3 { // a third to a half; the race detector adds to ours
			t.Errorf("%s: %d bytes, upstream %d", r.name, c.OursBytes, c.TheirsBytes)
		}
	}
	if err := record.Write("canonical", t.Name(), started, figures); err != nil {
		t.Error(err)
	}
}
