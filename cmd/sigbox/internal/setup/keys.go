package setup

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/keys/pkcs11"
	"github.com/sigbox/sigbox/oidc/devidp"
)

// Keys of the roles, by file.
const (
	caKey        = "ca/ca.key"
	tsaKey       = "ca/tsa.key"
	rekorV1Key   = "tlog/rekor-v1.key"
	rekorV2Key   = "tlog/rekor-v2.key"
	ctKey        = "tlog/ct.key"
	snapshotKey  = "tuf/snapshot.key"
	timestampKey = "tuf/timestamp.key"
	issuerKey    = "issuer/issuer.key"

	ctPublic  = "public/ct.pub"
	issuersIn = "ca/issuers.yaml"
	jwksFile  = "public/issuer-jwks.json"
)

func (b *builder) makeKeys() error {
	for _, name := range []string{caKey, tsaKey, rekorV1Key, rekorV2Key, ctKey, snapshotKey, timestampKey} {
		if err := b.makeServiceKey(name); err != nil {
			return err
		}
	}
	if !b.plan.Production {
		if err := b.makeKey(issuerKey, keys.NewRSA); err != nil {
			return err
		}
	}
	return b.make(ctPublic, open, func() ([]byte, error) {
		key, err := b.key(ctKey)
		if err != nil {
			return nil, err
		}
		return keys.PublicPEM(key.Public())
	})
}

// makeServiceKey makes the key of a role, in a file or on the token of the plan, which the file then names. A key that
// is on the token already is one that an earlier run has made: its label has the id of the instance.
func (b *builder) makeServiceKey(name string) error {
	if b.plan.Token == "" {
		return b.makeKey(name, keys.NewECDSA)
	}
	return b.make(name, secret, func() ([]byte, error) {
		u, err := pkcs11.ParseToken(b.plan.Token)
		if err != nil {
			return nil, err
		}
		u.Object = "sigbox-" + b.plan.Instance[:16] + "-" + strings.TrimSuffix(path.Base(name), ".key")
		if _, err = pkcs11.Load(u.String()); errors.Is(err, pkcs11.ErrNoKey) {
			_, err = pkcs11.Make(u.String())
		}
		return []byte(u.String() + "\n"), err
	})
}

// makeIssuers writes the list of issuers whose tokens the authority takes, and with --dev the keys of the
// development issuer, which the configuration names.
func (b *builder) makeIssuers() error {
	if !b.plan.Production {
		err := b.make(jwksFile, open, func() ([]byte, error) {
			key, err := b.key(issuerKey)
			if err != nil {
				return nil, err
			}
			return b.jwks(key)
		})
		if err != nil {
			return err
		}
	}
	return b.make(issuersIn, open, func() ([]byte, error) { return []byte(noIssuers), nil })
}

func (b *builder) jwks(key crypto.Signer) ([]byte, error) {
	idp, err := devidp.New(devidp.Config{Issuer: b.plan.URLs.Issuer, Key: key})
	if err != nil {
		return nil, fmt.Errorf("development issuer: %w", err)
	}
	raw, err := json.MarshalIndent(idp.JWKS(), "", "  ")
	return append(raw, '\n'), err
}

// noIssuers is where init begins: nobody gets a certificate before somebody says who may. With --dev
// sigbox.yaml does not name the file yet.
const noIssuers = `# Whose tokens the certificate authority takes, in the format of Fulcio's config.yaml. An issuer
# that is not here is refused, so nobody gets a certificate before you name one. It is read again
# when it changes. Two examples; take away the # in front of what you need:
#
# oidc-issuers:
#   https://keycloak.example.com/realms/main:
#     issuer-url: https://keycloak.example.com/realms/main
#     client-id: sigstore
#     type: email
#   https://gitlab.example.com:
#     issuer-url: https://gitlab.example.com
#     client-id: sigstore
#     type: gitlab-pipeline
oidc-issuers: {}
`
