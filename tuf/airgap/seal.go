package airgap

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/sigbox/sigbox/internal/strictjson"
	"github.com/sigbox/sigbox/tuf"
)

// PayloadType is that of the DSSE envelope around a manifest.
const PayloadType = "application/vnd.sigbox.airgap-manifest.v1+json"

// Errors of a key that cannot sign.
var (
	ErrUnknownKey = errors.New("key is not one of the targets keys")
	ErrSigned     = errors.New("key has signed this air gap file already")
)

// Envelope is a manifest with the signatures so far.
type Envelope struct {
	Manifest   Manifest
	Signatures []dsse.Signature // KeyID is that of TUF; of each key one
	payload    []byte
}

// Seal returns the envelope of a manifest, which nobody has signed.
func (m Manifest) Seal() (*Envelope, error) {
	raw, err := m.encode()
	if err != nil {
		return nil, err
	}
	if m, err = parseManifest(raw); err != nil {
		return nil, err
	}
	return &Envelope{Manifest: m, payload: raw}, nil
}

// Encode returns the envelope as it is in the file. By itself it is the receipt of an import: what the next
// export follows.
func (e *Envelope) Encode() ([]byte, error) {
	sigs := e.Signatures
	if sigs == nil {
		sigs = []dsse.Signature{}
	}
	raw, err := json.Marshal(dsse.Envelope{PayloadType: PayloadType, Payload: base64.StdEncoding.EncodeToString(e.payload), Signatures: sigs})
	if err == nil && len(raw) >= maxManifest {
		err = fmt.Errorf("%w: the manifest has %d bytes", ErrTooLarge, len(raw))
	}
	return append(raw, '\n'), err
}

// ParseEnvelope reads what Encode writes, and nothing else. It verifies no signature.
func ParseEnvelope(raw []byte) (*Envelope, error) {
	if len(raw) > maxManifest {
		return nil, fmt.Errorf("%w: the manifest has more than %d bytes", ErrTooLarge, maxManifest)
	}
	if err := strictjson.Check(raw); err != nil {
		return nil, fmt.Errorf("%w: envelope: %w", ErrForm, err)
	}
	var d dsse.Envelope
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, fmt.Errorf("%w: envelope: %w", ErrForm, err)
	}
	payload, err := base64.StdEncoding.Strict().DecodeString(d.Payload)
	if err != nil || d.PayloadType != PayloadType {
		return nil, fmt.Errorf("%w: envelope of type %.80q", ErrForm, d.PayloadType)
	}
	e := &Envelope{Signatures: d.Signatures, payload: payload}
	if e.Manifest, err = parseManifest(payload); err != nil {
		return nil, err
	}
	if again, err := e.Encode(); err != nil || !bytes.Equal(again, raw) {
		return nil, fmt.Errorf("%w: envelope: not as it is written", ErrForm)
	}
	return e, nil
}

// Sign adds the signature of a targets key of a root.
func (e *Envelope) Sign(key crypto.Signer, root []byte) error {
	holders, _, err := targetsKeys(root)
	if err != nil {
		return err
	}
	id, err := tuf.KeyID(key.Public())
	if err != nil || holders[id] == nil {
		return fmt.Errorf("%w: its id is %s", ErrUnknownKey, id)
	}
	for _, s := range e.Signatures {
		if s.KeyID == id {
			return fmt.Errorf("%w: its id is %s", ErrSigned, id)
		}
	}
	digest := e.digest()
	sig, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return fmt.Errorf("sign the manifest: %w", err)
	}
	e.Signatures = append(e.Signatures, dsse.Signature{KeyID: id, Sig: base64.StdEncoding.EncodeToString(sig)})
	return nil
}

func (e *Envelope) digest() [32]byte { return sha256.Sum256(dsse.PAE(PayloadType, e.payload)) }

// Count verifies the signatures by the targets keys of a root, all of which must be right and of different
// keys, and says how many there are and how many the root wants.
func (e *Envelope) Count(root []byte) (have, want int, err error) {
	holders, want, err := targetsKeys(root)
	if err != nil {
		return 0, 0, err
	}
	digest, seen := e.digest(), map[string]bool{}
	for _, s := range e.Signatures {
		pub := holders[s.KeyID]
		sig, err := base64.StdEncoding.Strict().DecodeString(s.Sig)
		switch {
		case pub == nil:
			return 0, 0, fmt.Errorf("%w: one is by key %.16q, which is not one of theirs", ErrSignature, s.KeyID)
		case seen[s.KeyID]:
			return 0, 0, fmt.Errorf("%w: key %.16s is there twice", ErrSignature, s.KeyID)
		case err != nil || !ecdsa.VerifyASN1(pub, digest[:], sig):
			return 0, 0, fmt.Errorf("%w: the one of key %.16s is not of this manifest: it was changed after it was signed", ErrSignature, s.KeyID)
		}
		seen[s.KeyID] = true
	}
	return len(seen), want, nil
}

// targetsKeys are the signers of targets that a root names, by their ids.
func targetsKeys(root []byte) (map[string]*ecdsa.PublicKey, int, error) {
	named, err := tuf.SignersOf(root)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrRepository, err)
	}
	out := map[string]*ecdsa.PublicKey{}
	for _, k := range named.Targets.Keys {
		id, err := tuf.KeyID(k)
		pub, ok := k.(*ecdsa.PublicKey)
		if err != nil || !ok {
			return nil, 0, fmt.Errorf("%w: a targets key is a %T", ErrRepository, k)
		}
		out[id] = pub
	}
	return out, named.Targets.Threshold, nil
}
