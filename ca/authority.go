package ca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
)

// Defaults of Config.
const (
	defaultValidity   = 10 * time.Minute
	defaultLogTimeout = 8 * time.Second
)

// Config is what an Authority needs. All fields but the last two are required.
type Config struct {
	Key     crypto.Signer       // the issuing key, of Chain[0]
	Chain   []*x509.Certificate // the issuing certificate, its issuers, the root last
	SCTs    SCTSource
	SCTKey  crypto.PublicKey // the CT log's key as clients have it in their trust root
	Records Store
	Clock   clock.Clock
	Logger  *slog.Logger

	Validity   time.Duration // of a certificate, both ends included; 10 minutes by default
	LogTimeout time.Duration // how long the CT log may take; 8 s by default
}

// Authority issues code signing certificates. It is safe for concurrent use.
type Authority struct {
	key      crypto.Signer
	alg      algorithm
	chain    []*x509.Certificate
	validity time.Duration

	scts       SCTSource
	promises   promises
	logTimeout time.Duration

	records Store
	clock   clock.Clock
	logger  *slog.Logger

	mu     sync.Mutex
	latest time.Time // the latest clock reading of an issuance
}

// New checks the key and the chain and returns the authority. A chain that has expired, or is not
// valid yet, is no error here: Issue refuses then.
func New(cfg Config) (*Authority, error) {
	if cfg.Key == nil || cfg.SCTs == nil || cfg.Records == nil || cfg.Clock == nil || cfg.Logger == nil {
		return nil, errors.New("ca: key, SCT source, record store, clock and logger are required")
	}
	if cfg.Validity == 0 {
		cfg.Validity = defaultValidity
	}
	if cfg.LogTimeout == 0 {
		cfg.LogTimeout = defaultLogTimeout
	}
	if cfg.Validity < time.Minute || cfg.Validity > 24*time.Hour || cfg.LogTimeout < 0 {
		return nil, fmt.Errorf("ca: validity of %s: want a minute to a day", cfg.Validity)
	}
	if err := CheckChain(cfg.Chain, cfg.Key.Public()); err != nil {
		return nil, err
	}
	alg, err := algorithmOf(cfg.Key.Public())
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	p, err := newPromises(cfg.SCTKey)
	if err != nil {
		return nil, err
	}
	for _, c := range cfg.Chain {
		if keys.Equal(c.PublicKey, cfg.SCTKey) {
			return nil, errors.New("ca: the CT log and the authority share a key; every role needs a key of its own")
		}
	}
	return &Authority{
		key: cfg.Key, alg: alg, chain: slices.Clone(cfg.Chain), validity: cfg.Validity,
		scts: cfg.SCTs, promises: p, logTimeout: cfg.LogTimeout,
		records: cfg.Records, clock: cfg.Clock, logger: cfg.Logger,
	}, nil
}

// Chain returns the issuing certificate and its issuers, the root last.
func (a *Authority) Chain() []*x509.Certificate { return slices.Clone(a.chain) }

// CheckChain wants what [New] wants of a chain: a path of CA certificates from the issuing one, which is
// that of pub, to a self-signed root, in order and complete, that may issue code signing certificates.
func CheckChain(chain []*x509.Certificate, pub crypto.PublicKey) error {
	if len(chain) == 0 {
		return errors.New("ca: empty certificate chain")
	}
	if !keys.Equal(chain[0].PublicKey, pub) {
		return errors.New("ca: the key is not the one of the issuing certificate")
	}
	for i, c := range chain {
		parent := chain[min(i+1, len(chain)-1)]
		switch err := c.CheckSignatureFrom(parent); {
		case err != nil:
			return fmt.Errorf("ca: chain certificate %d (%q) is not issued by the next, or the last is not self-signed: %w", i, c.Subject, err)
		case !bytes.Equal(c.RawIssuer, parent.RawSubject):
			return fmt.Errorf("ca: chain certificate %d (%q) names another issuer than the next", i, c.Subject)
		case !c.IsCA || !c.BasicConstraintsValid || c.KeyUsage&x509.KeyUsageCertSign == 0:
			return fmt.Errorf("ca: chain certificate %d (%q) is not a CA that may sign certificates", i, c.Subject)
		case len(c.SubjectKeyId) == 0 || len(c.Subject.Organization) == 0 || c.Subject.CommonName == "":
			return fmt.Errorf("ca: chain certificate %d (%q) lacks a key identifier, an organization or a common name, which clients need", i, c.Subject)
		case len(c.UnhandledCriticalExtensions) > 0:
			return fmt.Errorf("ca: chain certificate %d (%q) has a critical extension that clients do not know", i, c.Subject)
		case c.MaxPathLen >= 0 && (c.MaxPathLen > 0 || c.MaxPathLenZero) && i > c.MaxPathLen:
			return fmt.Errorf("ca: chain certificate %d (%q) may not have %d CAs below it", i, c.Subject, i)
		}
	}
	if len(chain) > 1 && !slices.Contains(chain[0].ExtKeyUsage, x509.ExtKeyUsageCodeSigning) {
		return errors.New("ca: the issuing certificate lacks the extended key usage code signing")
	}
	for i, c := range chain[1:] {
		if len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) > 0 &&
			!slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageCodeSigning) && !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny) {
			return fmt.Errorf("ca: chain certificate %d (%q) does not allow code signing below it", i+1, c.Subject)
		}
	}
	return nil
}
