package rekorv1_test

import (
	"bytes"
	"crypto"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/entry/hashedrekord"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/rekorv1"
)

// BenchmarkCreate creates hashedrekords in a log in memory, 64 at once, by the handler of production
// without the network. Each has a key of its own, as with Fulcio's certificates.
func BenchmarkCreate(b *testing.B) {
	key, err := keys.NewECDSA()
	if err != nil {
		b.Fatal(err)
	}
	signer, err := checkpoint.NewSigner(host, fmt.Sprintf("%s - %d", host, treeID), key)
	if err != nil {
		b.Fatal(err)
	}
	log := logtest.New(b, func(l *tlog.Config) { l.Signer, l.LeafInput = signer, entry.LeafInput })
	face, err := rekorv1.New(rekorv1.Config{
		TreeID: treeID, Signer: key, Logger: slog.New(slog.DiscardHandler), Log: log,
		Kinds: entry.Kinds{hashedrekord.Kind: hashedrekord.Parse},
	})
	if err != nil {
		b.Fatal(err)
	}
	mux := http.NewServeMux()
	face.Register(mux)
	handler := httpx.Handler(mux, slog.New(slog.DiscardHandler), httpx.NewMetrics(prometheus.NewRegistry()))
	bodies := make(chan []byte, b.N+1024)
	for i := range cap(bodies) {
		private := entrytest.P256(b)
		pub := entrytest.CertPEM(entrytest.Cert(b, private, entrytest.SAN{Emails: []string{fmt.Sprintf("%d@example.org", i)}}, nil, nil))
		digest := entrytest.Digest(crypto.SHA256, fmt.Append(nil, i))
		bodies <- entrytest.HashedRekord(pub, crypto.SHA256, digest, entrytest.SignDigest(b, private, crypto.SHA256, digest))
	}
	b.ReportAllocs()
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w := httptest.NewRecorder()
			r := httptest.NewRequest("POST", entriesPath, bytes.NewReader(<-bodies))
			r.Header.Set("Content-Type", "application/json")
			if handler.ServeHTTP(w, r); w.Code != http.StatusCreated {
				b.Fatalf("%d %s", w.Code, w.Body)
			}
		}
	})
}
