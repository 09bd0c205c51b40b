package keys

import "crypto"

// Equal says whether two public keys are the same. A key of a type that cannot be compared, nil among
// them, equals none.
func Equal(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
