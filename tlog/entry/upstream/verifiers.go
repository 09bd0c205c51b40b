package upstream

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"

	"github.com/sigstore/rekor/pkg/pki"
	"github.com/sigstore/rekor/pkg/types"

	"github.com/sigbox/sigbox/tlog/entry"
)

// tells are the kinds whose signature is verified with exactly the key that the entry shows. Of a jar,
// upstream shows the first certificate in its signature block, and takes a signature by any; a timestamp
// names nobody.
var tells = map[string]bool{"rekord": true, "helm": true, "alpine": true, "rpm": true, "cose": true, "tuf": true}

// Verifiers returns the public key: a PGP keyring or TUF root as a whole, whose keys are not told
// apart. Entries of the kinds jar and rfc3161 do not tell.
func (e *Entry) Verifiers() ([]entry.Verifier, error) {
	if e.missing != nil {
		return nil, entry.Invalidf("no signature of the entry has been verified")
	}
	return e.signed, e.untold
}

func (k kind) verifiers(impl types.EntryImpl) (_ []entry.Verifier, err error) {
	if !tells[k.name] {
		return nil, entry.Invalidf("an entry of kind %s does not tell who has signed it", k.name)
	}
	defer func() {
		if r := recover(); r != nil {
			err = entry.Invalid("the keys of the "+k.name+" entry cannot be read", panicked(r))
		}
	}()
	list, err := impl.Verifiers()
	if err != nil || len(list) == 0 {
		return nil, entry.Invalid("an entry of kind "+k.name+" does not tell who has signed it", err)
	}
	out := make([]entry.Verifier, len(list))
	for i, key := range list {
		if out[i], err = verifier(k.name, key); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func verifier(kind string, key pki.PublicKey) (entry.Verifier, error) {
	canonical, err := key.CanonicalValue()
	if err != nil {
		return entry.Verifier{}, refuse(kind, err)
	}
	if block, _ := pem.Decode(canonical); block != nil && (block.Type == "CERTIFICATE" || block.Type == "PUBLIC KEY") {
		k, err := entry.ParseKey(canonical)
		if err != nil {
			return entry.Verifier{}, err
		}
		return k.Verifier(), nil
	}
	sum := sha256.Sum256(canonical)
	return entry.Verifier{Fingerprint: hex.EncodeToString(sum[:])}, nil
}
