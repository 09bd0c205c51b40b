package stack

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
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
	load(b, clients, origin+"/api/v2/signingCert", signingRequests(b, origin, b.N), http.StatusOK)
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
