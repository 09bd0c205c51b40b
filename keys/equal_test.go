package keys_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"testing"

	"github.com/sigbox/sigbox/keys"
)

// TestEqual: a key equals its own copy and nothing else.
func TestEqual(t *testing.T) {
	newKey := func(generate func() (crypto.Signer, error)) crypto.PublicKey {
		k, err := generate()
		if err != nil {
			t.Fatal(err)
		}
		return k.Public()
	}
	one, other, rsa := newKey(keys.NewECDSA), newKey(keys.NewECDSA), newKey(keys.NewRSA)
	twin := *one.(*ecdsa.PublicKey)
	var none *struct{}
	for _, row := range []struct {
		name string
		a, b crypto.PublicKey
		want bool
	}{
		{"itself", one, one, true},
		{"a copy", one, &twin, true},
		{"another key", one, other, false},
		{"another type", one, rsa, false},
		{"another type, the other way", rsa, one, false},
		{"nothing", one, nil, false},
		{"nothing first", nil, one, false},
		{"nothing twice", nil, nil, false},
		{"no key", none, none, false},
		{"ed25519", ed25519.PublicKey("k"), ed25519.PublicKey("k"), true},
	} {
		if got := keys.Equal(row.a, row.b); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}
