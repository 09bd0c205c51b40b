package pgstore_test

import (
	"crypto"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/logtest"
)

// slowKey is a key that is somewhere else: in an HSM, or behind a network.
type slowKey struct {
	crypto.Signer
	wait time.Duration
}

func (k slowKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	time.Sleep(k.wait)
	return k.Signer.Sign(random, digest, opts)
}

// BenchmarkSlowSigner is BenchmarkAppend with keys that take some time to sign: docs/design/0004 says
// what follows from it.
func BenchmarkSlowSigner(b *testing.B) {
	for _, wait := range []time.Duration{0, 5 * time.Millisecond, 30 * time.Millisecond} {
		for _, writers := range []int{1, 64, 256} {
			b.Run(fmt.Sprintf("wait=%s/writers=%d", wait, writers), func(b *testing.B) {
				key, err := keys.NewECDSA()
				if err != nil {
					b.Fatal(err)
				}
				signer, err := checkpoint.NewSigner(logtest.Origin, logtest.Origin, slowKey{key, wait})
				if err != nil {
					b.Fatal(err)
				}
				logtest.BenchmarkWriters(b, newStore(b), logtest.Config(b, func(c *tlog.Config) { c.Signer = signer }), writers)
			})
		}
	}
}
