package stack

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync/atomic"

	"github.com/sigbox/sigbox/ca/fulcio"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/oidc"
	"github.com/sigbox/sigbox/oidc/devidp"

	"log/slog"
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
	keys  []config.IssuerKeys
	face  *fulcio.Server // nil before there is one

	now atomic.Pointer[trusted]
}

type trusted struct {
	config   *oidc.Config
	verifier *oidc.Verifier
}

// Verify implements fulcio.Verifier.
func (i *issuers) Verify(ctx context.Context, raw string) (*oidc.Token, error) {
	return i.now.Load().verifier.Verify(ctx, raw)
}

// load reads the issuers from a file.
func (i *issuers) load(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("issuers: %w", err)
	}
	cfg, err := oidc.ParseConfig(path, raw)
	if err != nil {
		return err
	}
	pinned, err := pinnedKeys(i.keys)
	if err != nil {
		return err
	}
	v, err := trusting(cfg, i.idp, pinned, i.clock, i.log)
	if err != nil {
		return err
	}
	i.now.Store(&trusted{cfg, v})
	if i.face != nil {
		i.face.SetIssuers(cfg.PublicConfiguration())
	}
	return nil
}

// pinnedKeys reads the key sets that are not fetched.
func pinnedKeys(list []config.IssuerKeys) (map[string]oidc.KeySet, error) {
	pinned := map[string]oidc.KeySet{}
	for _, k := range list {
		raw, err := os.ReadFile(string(k.Keys))
		if err != nil {
			return nil, fmt.Errorf("keys of issuer %s: %w", k.Issuer, err)
		}
		set, err := oidc.ParseJWKS(raw)
		if err != nil {
			return nil, fmt.Errorf("keys of issuer %s: %s: %w", k.Issuer, k.Keys, err)
		}
		pinned[string(k.Issuer)] = set
	}
	return pinned, nil
}
