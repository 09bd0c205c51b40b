package tsa

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
)

// ErrTime says that the authority does not trust its clock now: it was set, differs from another one, or
// the time is outside the validity of the chain. Nothing is stamped until that is mended.
var ErrTime = errors.New("time source not trusted")

// Accuracy is what tokens state: the true time is within it of genTime.
const Accuracy = time.Second

// DefaultPolicy is the policy OID that Sigstore's own authority uses.
var DefaultPolicy = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2}

// Config is what an authority needs.
type Config struct {
	Key    crypto.Signer         // the leaf's key; ECDSA
	Chain  []*x509.Certificate   // leaf first, root last, at least two
	Clock  clock.Clock           // required
	Logger *slog.Logger          // nil: no lines
	Policy asn1.ObjectIdentifier // nil: DefaultPolicy; the only policy that a request may name
	// Trust says whether a reading of the clock may be stamped, by an error that wraps ErrTime where not:
	// [Guard.Check]. nil: every one that goes with the chain and with the stamps before it.
	Trust func(now time.Time) error
}

// Authority stamps digests. It is safe for concurrent use.
type Authority struct {
	key    crypto.Signer
	hash   crypto.Hash
	chain  []*x509.Certificate
	clock  clock.Clock
	log    *slog.Logger
	policy asn1.ObjectIdentifier
	trust  func(time.Time) error

	mu   sync.Mutex
	last time.Time // latest genTime given out; whole seconds
}

// New checks the chain and the key as clients will and returns an authority over them. The error
// names the certificate and what is wrong with it, and wraps ErrChain.
func New(cfg Config) (*Authority, error) {
	hash, err := checkChain(cfg.Chain, cfg.Key, cfg.Clock.Now())
	if err != nil {
		return nil, err
	}
	a := &Authority{key: cfg.Key, hash: hash, chain: cfg.Chain, clock: cfg.Clock, log: cfg.Logger, policy: cfg.Policy, trust: cfg.Trust}
	if a.policy == nil {
		a.policy = DefaultPolicy
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	return a, nil
}

// Chain returns the certificates leaf first, root last.
func (a *Authority) Chain() []*x509.Certificate { return a.chain }

// ChainPEM returns the certificates as PEM, leaf first.
func (a *Authority) ChainPEM() []byte {
	var out bytes.Buffer
	for _, c := range a.chain {
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a bytes.Buffer takes everything
	}
	return out.Bytes()
}

// Policy returns the policy OID of the tokens.
func (a *Authority) Policy() asn1.ObjectIdentifier { return a.policy }

// Stamp answers a request with a TimeStampResp in DER (RFC 3161 2.4.2), status granted. Errors
// wrap a sentinel of the request's, ErrTime, or none, which is a fault of ours.
func (a *Authority) Stamp(ctx context.Context, req Request) ([]byte, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	if len(req.Policy) > 0 && !req.Policy.Equal(a.policy) {
		return nil, ErrPolicy
	}
	at, err := a.genTime()
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	resp, err := a.encode(req, serial, at)
	if err != nil {
		return nil, fmt.Errorf("sign timestamp: %w", err)
	}
	if err := a.verify(resp, req, serial, at); err != nil {
		return nil, fmt.Errorf("own timestamp does not verify, withheld: %w", err)
	}
	a.log.InfoContext(ctx, "timestamp issued", "serial", serial.Text(16),
		"gen_time", at.Format(time.RFC3339), "hash", req.Hash.String())
	return resp, nil
}

// genTime reads the clock once. A step back within the accuracy is held at the last genTime, so
// that order is kept; a longer one is an untrusted clock.
func (a *Authority) genTime() (time.Time, error) {
	reading := a.clock.Now()
	if a.trust != nil {
		if err := a.trust(reading); err != nil {
			return time.Time{}, err
		}
	}
	now := reading.UTC().Truncate(time.Second) // GeneralizedTime without a fraction
	for _, c := range a.chain {
		if now.Before(c.NotBefore) || now.After(c.NotAfter) {
			return time.Time{}, fmt.Errorf("%w: %s is outside the validity of %q", ErrTime, now.Format(time.RFC3339), c.Subject.CommonName)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if back := a.last.Sub(now); back > Accuracy {
		return time.Time{}, fmt.Errorf("%w: clock is %s behind the last timestamp", ErrTime, back)
	} else if back > 0 {
		return a.last, nil
	}
	a.last = now
	return now, nil
}
