package record

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sigbox/sigbox/tuf/statement"
	"github.com/sigbox/sigbox/tuf/trustroot"
)

// maxAdopted bounds a chain that is adopted, in certificates.
const maxAdopted = 8

// Adopt takes in a key or chain with which another instance has signed, so that what it signed verifies here.
// Nothing here signs with it, and nobody has shown to have it: so it has an end, and its word is that of whoever signs
// the targets. k is its role (a CA, a TSA, a Rekor v1 or a CT log), URL, key or chain, window, and a log's origin where
// that is known; the start of a chain may be left zero, for that of its first certificate. changed is false where the
// record says all of it already. A refusal wraps ErrRefused and says the reason.
func (r Record) Adopt(k Key, now time.Time) (next Record, changed bool, err error) {
	k.Start, k.End = k.Start.UTC().Truncate(time.Second), k.End.UTC().Truncate(time.Second)
	k.Adopted, k.Stated, k.Issuers = true, now.UTC().Truncate(time.Second), nil
	if len(k.Chain) > 0 && k.Start.IsZero() {
		k.Start = k.Chain[0].NotBefore.UTC()
	}
	i, err := r.refuseAdopted(k, now)
	if err != nil {
		return r, false, fmt.Errorf("%w: %s of another instance: %w", ErrRefused, k.Role, err)
	}
	if i >= 0 {
		return r, false, nil
	}
	next = r.clone()
	next.Keys = append(next.Keys, k)
	if err := next.Material().LintParts(); err != nil {
		return r, false, fmt.Errorf("%w: %s of another instance: %w", ErrRefused, k.Role, err)
	}
	return next, true, nil
}

// refuseAdopted is the table of refusals. It returns where the same is already, -1 for nowhere.
func (r Record) refuseAdopted(k Key, now time.Time) (int, error) {
	var err error
	switch k.Role {
	case statement.CA, statement.TSA:
		err = checkAdoptedChain(k)
	case statement.RekorV1, statement.CT:
		err = checkAdoptedLog(k)
	default:
		err = errors.New("only ca, tsa, rekor-v1 and ct can be adopted")
	}
	if err == nil {
		err = checkAdoptedWindow(k, now)
	}
	if err != nil {
		return -1, err
	}
	says := k.statement(r.Instance)
	if err := r.otherRole(says); err != nil {
		return -1, err
	}
	if i := r.find(k.Role, k.ID()); i >= 0 {
		return i, r.Keys[i].refuseAgain(k)
	}
	if k.Origin != "" {
		if err := r.otherKey(says); err != nil {
			return -1, err
		}
	}
	return -1, r.otherWindow(k)
}

// refuseAgain holds what is to be adopted against what is here of the same key.
func (k Key) refuseAgain(o Key) error {
	id := idOf(k)
	switch {
	case !k.Adopted && k.End.IsZero():
		return fmt.Errorf("key %x is in use here: this instance signs with it itself", id)
	case !k.Adopted:
		return fmt.Errorf("key %x was one of this instance until %s, and what it signed verifies", id, statement.Stamp(k.End))
	case !sameChain(k.Chain, o.Chain):
		return fmt.Errorf("key %x was adopted with another chain, and nothing that was published changes", id)
	case k.URL != o.URL || k.Origin != o.Origin || !k.Start.Equal(o.Start) || !k.End.Equal(o.End):
		return fmt.Errorf("key %x was adopted at %s, from %s until %s, and nothing that was published changes", id, k.URL, statement.Stamp(k.Start), statement.Stamp(k.End))
	}
	return nil
}

// otherWindow: at any time one log speaks for one address.
func (r Record) otherWindow(k Key) error {
	for _, o := range r.Keys {
		if !k.Role.Log() || o.Role != k.Role || o.URL != k.URL {
			continue
		}
		if (o.End.IsZero() || k.Start.Before(o.End)) && o.Start.Before(k.End) {
			return fmt.Errorf("its window overlaps that of key %x, which is at %s too, from %s: let it end by then, or name an address of its own, where the old log is read now",
				idOf(o), o.URL, statement.Stamp(o.Start))
		}
	}
	return nil
}

// checkAdoptedWindow wants a start that has been and an end, within what the first certificate says.
func checkAdoptedWindow(k Key, now time.Time) error {
	switch {
	case k.Start.IsZero():
		return errors.New("it has no start: a public key does not say since when it is used, so name a time before the log's first entry")
	case k.Start.After(now):
		return fmt.Errorf("it is to begin at %s, which is in the future", statement.Stamp(k.Start))
	case k.End.IsZero():
		return errors.New("it has no end: what only verifies ends where its instance signs, or has signed, for the last time")
	case !k.End.After(k.Start):
		return fmt.Errorf("it is to end at %s, and to begin at %s", statement.Stamp(k.End), statement.Stamp(k.Start))
	case len(k.Chain) == 0:
		return nil
	}
	first := k.Chain[0]
	if k.Start.Before(first.NotBefore) || k.End.After(first.NotAfter) {
		return fmt.Errorf("it is to be believed from %s until %s, and its certificate is valid from %s until %s only",
			statement.Stamp(k.Start), statement.Stamp(k.End), statement.Stamp(first.NotBefore), statement.Stamp(first.NotAfter))
	}
	return nil
}

func checkAdoptedLog(k Key) error {
	if k.Public == nil || k.Chain != nil {
		return errors.New("a log has a public key, and no chain")
	}
	if pub, ok := k.Public.(*ecdsa.PublicKey); !ok || pub.Curve != elliptic.P256() {
		return fmt.Errorf("the key is %s: clients take no other than ECDSA P-256 as the key of a log (policy-controller refuses the whole trust root for another one, sigstore-java for another curve)", keyWords(k.Public))
	}
	return nil
}

// checkAdoptedChain wants a chain that clients verify: a CA's from the certificate that issues up to a root, a TSA's
// with its leaf before.
func checkAdoptedChain(k Key) error {
	if k.Public != nil || len(k.Chain) == 0 || len(k.Chain) > maxAdopted {
		return fmt.Errorf("it has %d certificates in PEM, want 1 to %d", len(k.Chain), maxAdopted)
	}
	authorities := k.Chain
	if k.Role == statement.TSA {
		leaf := k.Chain[0]
		if leaf.IsCA {
			return fmt.Errorf("certificate 1, %q, is that of a CA: a chain of timestamps begins with the leaf that signs them", leaf.Subject)
		}
		if !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageTimeStamping) {
			return fmt.Errorf("certificate 1, %q, is not for timestamps", leaf.Subject)
		}
		authorities = authorities[1:]
	}
	for i, c := range authorities {
		if n := len(k.Chain) - len(authorities) + i + 1; !c.IsCA {
			return fmt.Errorf("certificate %d, %q, is a leaf, and no CA's: want the chain of the authority, not of what it issued", n, c.Subject)
		}
	}
	for i, c := range k.Chain {
		issuer := k.Chain[min(i+1, len(k.Chain)-1)]
		if err := c.CheckSignatureFrom(issuer); err != nil && i == len(k.Chain)-1 {
			return fmt.Errorf("the last certificate, %q, is no root: want the whole chain, up to one that signs itself", c.Subject)
		} else if err != nil {
			return fmt.Errorf("certificate %d, %q, is not signed by the next one, %q: want each followed by its issuer", i+1, c.Subject, issuer.Subject)
		}
		if !supported(c.PublicKey) {
			return fmt.Errorf("certificate %d, %q, has %s: clients take ECDSA P-256 and P-384, and RSA of 2048 to 4096 bits", i+1, c.Subject, keyWords(c.PublicKey))
		}
	}
	return nil
}

func supported(pub crypto.PublicKey) bool {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		return k.Curve == elliptic.P256() || k.Curve == elliptic.P384()
	case *rsa.PublicKey:
		return k.N.BitLen() >= 2048 && k.N.BitLen() <= 4096
	}
	return false
}

// keyWords names the kind of a key.
func keyWords(pub crypto.PublicKey) string {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA of %d bits", k.N.BitLen())
	}
	return fmt.Sprintf("a %T", pub)
}

// Window is when the key is believed.
func (k Key) Window() trustroot.Window { return trustroot.Window{Start: k.Start, End: k.End} }
