package stack

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"

	"github.com/sigbox/sigbox/ca/fulcio"
	"github.com/sigbox/sigbox/ca/profile"
	"github.com/sigbox/sigbox/ca/rules"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/oidc"
	"github.com/sigbox/sigbox/oidc/devidp"
)

// trusting returns what verifies the tokens of issuers and, if idp is not nil, of the development
// issuer, whose keys need no network then, like those that are pinned. It is added to issuers unless
// they have it.
func trusting(issuers *oidc.Config, idp *devidp.Server, pinned map[string]oidc.KeySet, c clock.Clock, log *slog.Logger) (*oidc.Verifier, error) {
	o := oidc.Options{Clock: c, Logger: log, Keys: pinned}
	if idp == nil {
		return oidc.NewVerifier(issuers, o), nil
	}
	own, err := idp.Keys()
	if err != nil {
		return nil, fmt.Errorf("development issuer: %w", err)
	}
	dev := idp.Issuer()
	if !slices.ContainsFunc(issuers.Issuers, func(i *oidc.Issuer) bool { return i.URL == dev.URL }) {
		if err := issuers.Add(dev); err != nil {
			return nil, fmt.Errorf("development issuer: %w", err)
		}
	}
	o.Keys = map[string]oidc.KeySet{dev.URL: own}
	for issuer, keys := range pinned {
		if issuer != dev.URL {
			o.Keys[issuer] = keys
		}
	}
	return oidc.NewVerifier(issuers, o), nil
}

// issuers are the issuers of a served authority, which a changed file replaces.
type issuers struct {
	idp   *devidp.Server // nil: not in this process
	clock clock.Clock
	log   *slog.Logger
	face  *fulcio.Server // nil before there is one

	now   atomic.Pointer[trusted]
	rules atomic.Pointer[rules.Set]
}

type trusted struct {
	sum      [32]byte // of the file
	config   *oidc.Config
	verifier *oidc.Verifier
}

// Verify implements fulcio.Verifier.
func (i *issuers) Verify(ctx context.Context, raw string) (*oidc.Token, error) {
	return i.now.Load().verifier.Verify(ctx, raw)
}

// Decide implements fulcio.Rules.
func (i *issuers) Decide(t *oidc.Token, id profile.Identity) error {
	return i.rules.Load().Decide(t, id)
}

// load reads and takes over what a configuration says.
func (i *issuers) load(c *config.CA) error {
	apply, err := i.read(c)
	if err == nil {
		apply()
	}
	return err
}

// read reads what load does, and returns what takes it over. Issuers that have not changed are left
// alone, with the keys that were fetched for them.
func (i *issuers) read(c *config.CA) (apply func(), err error) {
	raw, err := readIssuers(c)
	if err != nil {
		return nil, err
	}
	pinned, sums, err := pinnedKeys(c.IssuerKeys)
	if err != nil {
		return nil, err
	}
	next := &trusted{sum: sha256.Sum256(append(sums, raw...))}
	now := i.now.Load()
	if now != nil && now.sum == next.sum {
		next = now
	} else if next.config, err = parseIssuers(c, raw); err != nil {
		return nil, err
	} else if next.verifier, err = trusting(next.config, i.idp, pinned, i.clock, i.log); err != nil {
		return nil, err
	}
	set, err := readRules(c, next.config)
	if err != nil {
		return nil, err
	}
	return func() {
		i.rules.Store(set) // first: a new issuer is not without its rules for a moment
		if next == now {
			return
		}
		i.now.Store(next)
		if i.face != nil {
			i.face.SetIssuers(next.config.PublicConfiguration())
		}
	}, nil
}

// readRules reads the rules on who may sign; nil where there are none.
func readRules(c *config.CA, known *oidc.Config) (*rules.Set, error) {
	if c.Rules == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(string(c.Rules))
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	set, err := rules.Parse(string(c.Rules), raw, known)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	return set, nil
}

// Issuers reads the issuers that an authority takes tokens of.
func Issuers(c *config.CA) (*oidc.Config, error) {
	raw, err := readIssuers(c)
	if err != nil {
		return nil, err
	}
	return parseIssuers(c, raw)
}

// readIssuers returns nil where there is no file.
func readIssuers(c *config.CA) ([]byte, error) {
	if c.Issuers == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(string(c.Issuers))
	if err != nil {
		return nil, fmt.Errorf("issuers: %w", err)
	}
	return raw, nil
}

// parseIssuers adds the development issuer of another process to those of the file.
func parseIssuers(c *config.CA, raw []byte) (*oidc.Config, error) {
	parsed := &oidc.Config{}
	if raw != nil {
		var err error
		if parsed, err = oidc.ParseConfig(string(c.Issuers), raw); err != nil {
			return nil, err
		}
	}
	for _, k := range c.IssuerKeys {
		if !k.Development {
			continue
		}
		if err := parsed.Add(devidp.IssuerAt(string(k.Issuer))); err != nil {
			return nil, fmt.Errorf("issuer_keys: the development issuer: %w", err)
		}
	}
	return parsed, nil
}

// pinnedKeys reads the key sets that are not fetched; sums changes where one of them does.
func pinnedKeys(list []config.IssuerKeys) (pinned map[string]oidc.KeySet, sums []byte, err error) {
	pinned = map[string]oidc.KeySet{}
	for _, k := range list {
		raw, err := os.ReadFile(string(k.Keys))
		if err != nil {
			return nil, nil, fmt.Errorf("keys of issuer %s: %w", k.Issuer, err)
		}
		set, err := oidc.ParseJWKS(raw)
		if err != nil {
			return nil, nil, fmt.Errorf("keys of issuer %s: %s: %w", k.Issuer, k.Keys, err)
		}
		pinned[string(k.Issuer)] = set
		sums = fmt.Appendf(sums, "%q %v %x\n", k.Issuer, k.Development, sha256.Sum256(raw))
	}
	return pinned, sums, nil
}
