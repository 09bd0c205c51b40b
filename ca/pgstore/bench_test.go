package pgstore_test

import (
	"fmt"
	"math/big"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/ca/pgstore"
	"github.com/sigbox/sigbox/ca/storetest"
	"github.com/sigbox/sigbox/internal/pgtest"
)

// BenchmarkRecords is what the database costs an issuance: the record of the intent and, after it,
// that of the outcome, with certificates of the usual size.
func BenchmarkRecords(b *testing.B) {
	for _, clients := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			server := pgtest.Shared(b)
			s := pgstore.New(openDB(b, server.URL(newDatabase(b, server))))
			der := make([]byte, 1200)
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range clients {
				wg.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						serial := new(big.Int).Mul(big.NewInt(n), big.NewInt(0x9e3779b97f4a7c15>>1)) // all over the index
						in := storetest.Intent(1)
						in.Serial = serial
						err := s.Intend(b.Context(), in)
						if err == nil {
							err = s.Settle(b.Context(), ca.Outcome{Serial: serial, At: time.Now(), Precertificate: der, Certificate: der})
						}
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "issuances/s")
		})
	}
}
