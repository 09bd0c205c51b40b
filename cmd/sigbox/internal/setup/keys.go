package setup

import (
	"crypto"
	"encoding/json"
	"fmt"

	"github.com/sigbox/sigbox/keys"
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
		if err := b.makeKey(name, keys.NewECDSA); err != nil {
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
