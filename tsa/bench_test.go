package tsa_test

import (
	"crypto"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tsa"
)

// BenchmarkStamp is what a timestamp costs without HTTP, the check of our own token included.
func BenchmarkStamp(b *testing.B) {
	chain, err := tsa.NewChain(clock.System{}, "sigbox")
	if err != nil {
		b.Fatal(err)
	}
	a, err := tsa.New(tsa.Config{Key: chain.Leaf.Key, Chain: chain.Certificates(), Clock: clock.System{}})
	if err != nil {
		b.Fatal(err)
	}
	for n := 0; b.Loop(); n++ {
		digest := sha256.Sum256(fmt.Append(nil, n))
		if _, err := a.Stamp(b.Context(), tsa.Request{Hash: crypto.SHA256, Digest: digest[:], Certificates: true}); err != nil {
			b.Fatal(err)
		}
	}
}
