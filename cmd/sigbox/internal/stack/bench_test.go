package stack

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/entry/hashedrekord"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/pgstore"
)

// BenchmarkCreate measures new hashedrekord entries through HTTP, in a whole instance over PostgreSQL
// and over SQLite, by 1, 32 and 128 clients that wait for each answer. The load generator runs in the
// same process. It reports entries per second and percentiles of the waiting. Give -benchtime a
// number of entries, such as 20000x.
func BenchmarkCreate(b *testing.B) {
	for _, database := range []string{instance.PostgreSQL, instance.SQLite} {
		for _, api := range []string{"v1", "v2"} {
			for _, clients := range []int{1, 32, 128} {
				b.Run(fmt.Sprintf("database=%s/api=%s/clients=%d", database, api, clients), func(b *testing.B) {
					benchmarkCreate(b, database, api, clients)
				})
			}
		}
	}
}

func benchmarkCreate(b *testing.B, database string, api string, clients int) {
	var dsn string
	if database == instance.PostgreSQL {
		server := pgtest.Shared(b)
		dsn = server.URL(server.Database(b))
	}
	path := filepath.Join(b.TempDir(), "data")
	err := instance.Create(path, "127.0.0.1", database, time.Now(), func(d *instance.Dir) error {
		return Create(b.Context(), d, "http://127.0.0.1:1", dsn, clock.System{}, slog.New(slog.DiscardHandler))
	})
	if err != nil {
		b.Fatal(err)
	}
	origin, stop := serve(b, path, dsn)
	defer stop()
	key := entrytest.P256(b)
	bodies := make([][]byte, b.N)
	for i := range bodies {
		bodies[i] = proposed(b, api, key, fmt.Appendf(nil, "artifact %d", i))
	}
	load(b, clients, origin+"/api/"+api+"/log/entries", bodies, http.StatusCreated)
}

// load sends one body after the other, by clients that wait for each answer, and reports how many are answered a
// second and how long that takes.
func load(b *testing.B, clients int, url string, bodies [][]byte, want int) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer client.CloseIdleConnections()
	waits := make([]time.Duration, b.N)
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	start := time.Now()
	for range clients {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				begin := time.Now()
				res, err := client.Post(url, "application/json", bytes.NewReader(bodies[i]))
				if err != nil {
					b.Error(err)
					return
				}
				text, err := io.ReadAll(res.Body)
				if err != nil || res.Body.Close() != nil || res.StatusCode != want {
					b.Errorf("%s %v: %s", res.Status, err, text)
					return
				}
				waits[i] = time.Since(begin)
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	b.StopTimer()
	slices.Sort(waits)
	b.ReportMetric(float64(b.N)/elapsed.Seconds(), "answers/s")
	for _, p := range []int{50, 90, 99} {
		b.ReportMetric(float64(waits[(b.N-1)*p/100].Microseconds())/1000, fmt.Sprintf("p%d-ms", p))
	}
}

// proposed returns the body of a request that adds an entry.
func proposed(b *testing.B, api string, key *ecdsa.PrivateKey, artifact []byte) []byte {
	digest := sha256.Sum256(artifact)
	sig := entrytest.SignDigest(b, key, crypto.SHA256, digest[:])
	if api == "v1" {
		return entrytest.HashedRekord(entrytest.PEM(b, key.Public()), crypto.SHA256, digest[:], sig)
	}
	body, err := json.Marshal(map[string]any{"hashedRekordRequestV002": map[string]any{
		"digest": digest[:],
		"signature": map[string]any{"content": sig, "verifier": map[string]any{
			"publicKey": map[string]any{"rawBytes": entrytest.SPKI(b, key.Public())}, "keyDetails": "PKIX_ECDSA_P256_SHA_256",
		}},
	}})
	if err != nil {
		b.Fatal(err)
	}
	return body
}

// BenchmarkFsck checks a Rekor v1 log in PostgreSQL, of entries by one key and of entries by as many
// certificates. It reports leaves per second. Give -benchtime the size of the log, such as 100000x.
func BenchmarkFsck(b *testing.B) {
	for _, by := range []string{"key", "certificates"} {
		b.Run("by="+by, func(b *testing.B) {
			store, cfg := filled(b, by == "certificates")
			b.ResetTimer()
			signed, err := tlog.Fsck(b.Context(), store, tlog.Audit{Verifier: cfg.Signer.Verifier(), Identity: bodyIdentity, Keys: keysV1})
			if err != nil || signed.Size != int64(b.N) {
				b.Fatal(signed.Size, err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "leaves/s")
		})
	}
}

// filled makes a log of b.N hashedrekord entries.
func filled(b *testing.B, certificates bool) (tlog.Store, tlog.Config) {
	server := pgtest.Shared(b)
	url := server.URL(server.Database(b))
	if err := pg.Migrate(b.Context(), url, "tlog"); err != nil {
		b.Fatal(err)
	}
	db, err := pg.Open(b.Context(), pg.Config{URL: url, Schema: "tlog"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(db.Close)
	store, err := pgstore.Open(b.Context(), db, "test")
	if err != nil {
		b.Fatal(err)
	}
	cfg := logtest.Config(b)
	if err := tlog.Create(b.Context(), store, cfg, nil); err != nil {
		b.Fatal(err)
	}
	log := logtest.Open(b, store, cfg)
	key, issuerKey := entrytest.P256(b), entrytest.P256(b)
	issuer, err := x509.ParseCertificate(entrytest.Cert(b, issuerKey, entrytest.SAN{}, nil, nil))
	if err != nil {
		b.Fatal(err)
	}
	pub := entrytest.PEM(b, key.Public())
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 128 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				signer := pub
				if certificates {
					signer = entrytest.CertPEM(entrytest.Cert(b, key, entrytest.SAN{URI: fmt.Sprintf("https://ci.test/%d", i)}, issuer, issuerKey))
				}
				digest := sha256.Sum256(fmt.Appendf(nil, "artifact %d", i))
				e, err := parse(entrytest.HashedRekord(signer, crypto.SHA256, digest[:], entrytest.SignDigest(b, key, crypto.SHA256, digest[:])))
				if err == nil {
					_, err = log.Append(b.Context(), e)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return store, cfg
}

func parse(proposed []byte) (entry.Proposed, error) {
	var body struct{ Spec any }
	if err := json.Unmarshal(proposed, &body); err != nil {
		return nil, err
	}
	return hashedrekord.Parse(body.Spec)
}
