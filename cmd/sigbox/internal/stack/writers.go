package stack

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/quota"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/upstream"
	"github.com/sigbox/sigbox/tlog/writers"
)

// gates decide who may write to the Rekor logs of a running server.
type gates struct {
	v1, v2 *writers.Gate // nil: the log is not in this process
}

// openGates returns the gates of the logs that a configuration has.
func openGates(t *config.TLog, c clock.Clock) (*gates, error) {
	open, err := writers.NewPolicy(nil, nil)
	if err != nil {
		return nil, err
	}
	g := &gates{}
	if t.RekorV1 != nil {
		g.v1 = writers.NewGate(open, c)
	}
	if t.RekorV2 != nil {
		g.v2 = writers.NewGate(open, c)
	}
	apply, err := g.read(t)
	if err != nil {
		return nil, err
	}
	apply()
	return g, nil
}

// of returns the gate of a log, nil for a CT log, which has its own rule.
func (g *gates) of(face string) *writers.Gate {
	switch face {
	case config.FaceRekorV1:
		return g.v1
	case config.FaceRekorV2:
		return g.v2
	}
	return nil
}

// read reads who may write, and returns what takes it over. A log that the configuration has no more goes
// on under the rule that it has.
func (g *gates) read(t *config.TLog) (apply func(), err error) {
	var list []func()
	add := func(key string, gate *writers.Gate, w *config.Writers) error {
		p, err := readPolicy(t, w)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		list = append(list, func() { gate.Set(p) })
		return nil
	}
	if g.v1 != nil && t.RekorV1 != nil {
		if err := add("tlog.rekor_v1.writers", g.v1, t.RekorV1.Writers); err != nil {
			return nil, err
		}
	}
	if g.v2 != nil && t.RekorV2 != nil {
		if err := add("tlog.rekor_v2.writers", g.v2, t.RekorV2.Writers); err != nil {
			return nil, err
		}
	}
	return func() {
		for _, f := range list {
			f()
		}
	}, nil
}

// readPolicy reads the authorities and the keys that may write; everybody may where w is nil.
func readPolicy(t *config.TLog, w *config.Writers) (*writers.Policy, error) {
	var chains writers.Chains
	if t.Authorities != "" {
		var err error
		if chains, err = readChains(string(t.Authorities)); err != nil {
			return nil, err
		}
	}
	if w == nil {
		return writers.NewPolicy(chains, nil)
	}
	rule := &writers.Rule{Certificates: w.Certificates}
	for _, i := range w.Issuers {
		rule.Issuers = append(rule.Issuers, string(i))
	}
	for _, file := range w.Keys {
		fingerprint, err := readFingerprint(string(file))
		if err != nil {
			return nil, err
		}
		rule.Keys = append(rule.Keys, fingerprint)
	}
	return writers.NewPolicy(chains, rule)
}

// maxKeyFile is larger than any public key that an entry may have.
const maxKeyFile = 1 << 20

// readFingerprint reads a file with a public key in one of the formats that entries have.
func readFingerprint(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	fingerprint, err := fingerprintOf(raw)
	if err != nil {
		return "", fmt.Errorf("%s is not one public key that may write: %w", path, err)
	}
	return fingerprint, nil
}

func fingerprintOf(raw []byte) (string, error) {
	text := bytes.TrimSpace(raw)
	has := func(prefixes ...string) bool {
		for _, p := range prefixes {
			if bytes.HasPrefix(text, []byte(p)) {
				return true
			}
		}
		return false
	}
	switch {
	case len(raw) > maxKeyFile:
		return "", fmt.Errorf("it is larger than %d bytes", maxKeyFile)
	case bytes.Contains(text, []byte("PRIVATE KEY")), bytes.Contains(text, []byte("SECRET KEY")):
		return "", errors.New("it is a private key, which belongs to the one who signs: name the public one")
	case has("-----BEGIN PGP"):
		return upstream.Fingerprints()["pgp"](raw)
	case has("ssh-", "ecdsa-sha2-", "sk-"):
		return upstream.Fingerprints()["ssh"](raw)
	case has("untrusted comment:"):
		return upstream.Fingerprints()["minisign"](raw)
	case has("{"):
		return upstream.Fingerprints()["tuf"](raw)
	}
	key, err := entry.ParseKey(raw)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w; want PEM (PUBLIC KEY), PGP, SSH, minisign or the root of a TUF repository", err)
	case key.Verifier().Certificate != nil:
		return "", errors.New("it is a certificate, for whose names nobody would stand: name the key alone, or the authority in tlog.authorities")
	}
	return key.Fingerprint(), nil
}

// newQuotas returns the quotas of a service, which follow the configuration.
func (s *Server) newQuotas(service string, rates func(*config.Config) quota.Rates) *quota.Quotas {
	q := quota.New(quota.Config{Service: service, Clients: &s.live.requests, Clock: s.clock, Metrics: s.registry})
	q.Set(rates(s.cfg))
	s.live.quotas = append(s.live.quotas, liveQuotas{q, rates})
	return q
}

// liveQuotas are quotas with where they are in a configuration.
type liveQuotas struct {
	quotas *quota.Quotas
	rates  func(*config.Config) quota.Rates
}

func logRates(c *config.Config) quota.Rates {
	if c.TLog == nil {
		return quota.Rates{}
	}
	return c.TLog.Quotas.Rates()
}

func caRates(c *config.Config) quota.Rates {
	if c.CA == nil {
		return quota.Rates{}
	}
	return c.CA.Quotas.Rates()
}

func tsaRates(c *config.Config) quota.Rates {
	if c.CA == nil || c.CA.TSA == nil {
		return quota.Rates{}
	}
	return c.CA.TSA.Quotas.Rates()
}
