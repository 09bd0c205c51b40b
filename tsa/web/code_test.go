package web

import (
	"fmt"
	"testing"

	"github.com/sigbox/sigbox/internal/quota"
	"github.com/sigbox/sigbox/tsa"
)

// TestCodeOf: the words for why nothing was stamped (docs/errors.md).
func TestCodeOf(t *testing.T) {
	for want, err := range map[string]error{
		"weak_hash": tsa.ErrWeakHash, "digest_length": tsa.ErrDigestLength, "policy": tsa.ErrPolicy, "extension": tsa.ErrExtension, "nonce": tsa.ErrNonce,
		"hash": tsa.ErrUnsupportedHash, "malformed": tsa.ErrMalformed, "clock": tsa.ErrTime, "quota": &quota.ExceededError{}, "internal": fmt.Errorf("the signer is gone"),
	} {
		if got := codeOf(refusalOf(fmt.Errorf("doing something: %w", err))); got != want {
			t.Errorf("%v is %q, want %q", err, got, want)
		}
	}
}
