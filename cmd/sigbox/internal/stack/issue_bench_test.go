package stack

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
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
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/oidc/devidp"
)

// BenchmarkIssue measures certificates with an SCT through HTTP, in a whole instance over PostgreSQL, by 1, 16
// and 64 clients that wait for each answer. The load generator runs in the same process. Give -benchtime a
// number of certificates, such as 5000x.
func BenchmarkIssue(b *testing.B) {
	for _, clients := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) { benchmarkIssue(b, clients) })
	}
}

func benchmarkIssue(b *testing.B, clients int) {
	server := pgtest.Shared(b)
	dsn := server.URL(server.Database(b))
	path := filepath.Join(b.TempDir(), "data")
	err := instance.Create(path, "127.0.0.1", instance.PostgreSQL, time.Now(), func(d *instance.Dir) error {
		return Create(b.Context(), d, "http://127.0.0.1:1", dsn, clock.System{}, slog.New(slog.DiscardHandler))
	})
	if err != nil {
		b.Fatal(err)
	}
	origin, stop := serve(b, path, dsn)
	defer stop()
	bodies := signingRequests(b, origin, b.N)
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
				res, err := client.Post(origin+"/api/v2/signingCert", "application/json", bytes.NewReader(bodies[i]))
				if err != nil {
					b.Error(err)
					return
				}
				text, err := io.ReadAll(res.Body)
				if err != nil || res.Body.Close() != nil || res.StatusCode != http.StatusOK {
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
	b.ReportMetric(float64(b.N)/elapsed.Seconds(), "certificates/s")
	for _, p := range []int{50, 99} {
		b.ReportMetric(float64(waits[(b.N-1)*p/100].Microseconds())/1000, fmt.Sprintf("p%d-ms", p))
	}
}

// signingRequests makes bodies of requests, each for a key of its own.
func signingRequests(b *testing.B, origin string, n int) [][]byte {
	const email = "bench@example.com"
	token, err := devidp.FetchToken(b.Context(), origin, map[string]any{"email": email})
	if err != nil {
		b.Fatal(err)
	}
	challenge := sha256.Sum256([]byte(email))
	bodies := make([][]byte, n)
	for i := range bodies {
		key, err := keys.NewECDSA()
		if err != nil {
			b.Fatal(err)
		}
		proof, err := key.Sign(rand.Reader, challenge[:], crypto.SHA256)
		if err != nil {
			b.Fatal(err)
		}
		public, err := keys.PublicPEM(key.Public())
		if err != nil {
			b.Fatal(err)
		}
		bodies[i], err = json.Marshal(map[string]any{
			"credentials":      map[string]any{"oidcIdentityToken": token},
			"publicKeyRequest": map[string]any{"publicKey": map[string]any{"algorithm": "ECDSA", "content": string(public)}, "proofOfPossession": proof},
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return bodies
}
