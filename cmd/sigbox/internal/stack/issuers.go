package stack

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync/atomic"

	"github.com/sigbox/sigbox/ca/fulcio"
	"github.com/sigbox/sigbox/ca/rules"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/expiry"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/oidc"
	"github.com/sigbox/sigbox/oidc/devidp"
	"github.com/sigbox/sigbox/oidc/presets"
)

// trusting returns what verifies the tokens of issuers. The keys of idp, where it is not nil, need no
// network, like those that are pinned.
func trusting(issuers *oidc.Config, idp *devidp.Server, pinned map[string]oidc.KeySet, policy oidc.HTTPPolicy, c clock.Clock, log *slog.Logger) (*oidc.Verifier, error) {
	o := oidc.Options{Clock: c, Logger: log, Keys: map[string]oidc.KeySet{}, HTTP: policy}
	maps.Copy(o.Keys, pinned)
	if idp != nil {
		own, err := idp.Keys()
		if err != nil {
			return nil, fmt.Errorf("development issuer: %w", err)
		}
		o.Keys[idp.Issuer().URL] = own
	}
	return oidc.NewVerifier(issuers, o), nil
}

// issuers are the issuers of a served authority, which a changed file replaces.
type issuers struct {
	idp   *devidp.Server // nil: not in this process
	own   *config.Issuer // of idp; it is another one only after a restart
	clock clock.Clock
	log   *slog.Logger
	now   atomic.Pointer[trusted]
}

// trusted is what counts together. It does not change.
type trusted struct {
	sum      [32]byte // of the issuers and of keys that are not fetched
	config   *oidc.Config
	verifier *oidc.Verifier
	rules    *rules.Set
	public   []oidc.PublicIssuer
	anybody  []config.IssuerURL // development issuers of other processes
	ends     []expiry.Item      // of keys that are not fetched
}

// trust is for a request.
func (i *issuers) trust() fulcio.Trust {
	t := i.now.Load()
	return fulcio.Trust{Verifier: t.verifier, Rules: t.rules, Issuers: t.public}
}

// load reads and takes over what a configuration says.
func (i *issuers) load(ctx context.Context, cfg *config.Config) error {
	apply, err := i.read(ctx, cfg)
	if err == nil {
		apply()
	}
	return err
}

// read reads what load does, and returns what takes it over. Issuers that have not changed keep their
// verifier, with the keys that were fetched for them.
func (i *issuers) read(ctx context.Context, cfg *config.Config) (apply func(), err error) {
	here := *cfg
	here.Issuer = i.own
	raw, known, err := readIssuers(&here)
	if err != nil {
		return nil, err
	}
	keys, err := pinnedKeys(cfg.CA.IssuerKeys)
	if err != nil {
		return nil, err
	}
	policy, fetched, err := fetchPolicy(cfg.CA.Fetch)
	if err != nil {
		return nil, fmt.Errorf("fetch.certificates: %w", err)
	}
	now, next := i.now.Load(), &trusted{sum: sha256.Sum256(append(append(keys.sum, fetched...), raw...)), config: known, ends: keys.ends}
	if now != nil && now.sum == next.sum {
		next.config, next.verifier = now.config, now.verifier
	} else if next.verifier, err = trusting(known, i.idp, keys.sets, policy, i.clock, i.log); err != nil {
		return nil, err
	}
	if next.rules, err = readRules(cfg.CA, next.config); err != nil {
		return nil, err
	}
	next.public, next.anybody = next.config.PublicConfiguration(), cfg.CA.DevelopmentIssuers()
	return func() {
		for _, url := range next.anybody {
			if now == nil || !slices.Contains(now.anybody, url) {
				i.log.WarnContext(ctx, "FOR DEVELOPMENT: certificates are issued to anybody, on tokens of a development issuer", "issuer", url)
			}
		}
		i.now.Store(next)
	}, nil
}

// fetchPolicy is how the keys of issuers are fetched; sum changes where that does.
func fetchPolicy(f *config.Fetch) (p oidc.HTTPPolicy, sum []byte, err error) {
	if f == nil {
		return p, nil, nil
	}
	if f.Proxy != "" {
		p.Proxy = f.Proxy.URL()
	}
	for _, h := range f.Direct {
		p.Direct = append(p.Direct, string(h))
	}
	for _, n := range f.Private {
		p.AllowPrivate = append(p.AllowPrivate, n.Prefix())
	}
	var pem []byte
	if f.Certificates != "" {
		if pem, err = os.ReadFile(string(f.Certificates)); err != nil {
			return p, nil, err
		}
		if p.Roots, err = x509.SystemCertPool(); err != nil {
			p.Roots = x509.NewCertPool() // there are none: then only these count
		}
		if !p.Roots.AppendCertsFromPEM(pem) {
			return p, nil, fmt.Errorf("%s holds no PEM certificate", f.Certificates)
		}
	}
	return p, fmt.Appendf(nil, "fetch %q %q %q %x\n", f.Proxy, f.Direct, f.Private, sha256.Sum256(pem)), nil
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

// Issuers reads the issuers that the authority of a configuration takes tokens of: those of its file and
// the development issuers, of this process and of others, each once.
func Issuers(cfg *config.Config) (*oidc.Config, error) {
	_, known, err := readIssuers(cfg)
	return known, err
}

// readIssuers returns the text of those that are named too; nil where there are none.
func readIssuers(cfg *config.Config) (raw []byte, known *oidc.Config, err error) {
	raw, known, err = readNamed(cfg.CA)
	if err != nil {
		return nil, nil, err
	}
	development := cfg.CA.DevelopmentIssuers()
	if cfg.Issuer != nil {
		development = append(development, config.IssuerURL(cfg.Issuer.PublicURL))
	}
	for _, url := range development {
		if err := addOnce(known, devidp.IssuerAt(string(url))); err != nil {
			return nil, nil, err
		}
	}
	return raw, known, nil
}

// addOnce adds a development issuer, unless it is there.
func addOnce(known *oidc.Config, dev oidc.Issuer) error {
	if slices.ContainsFunc(known.Issuers, func(i *oidc.Issuer) bool { return i.URL == dev.URL }) {
		return nil
	}
	if err := known.Add(dev); err != nil {
		return fmt.Errorf("development issuer: %w", err)
	}
	return nil
}

// readNamed reads the issuers that the operator has named: in the file of issuers, and by presets.
func readNamed(c *config.CA) (raw []byte, list *oidc.Config, err error) {
	list = &oidc.Config{}
	if c.Issuers != "" {
		if raw, err = os.ReadFile(string(c.Issuers)); err != nil {
			return nil, nil, fmt.Errorf("issuers: %w", err)
		}
		if list, err = oidc.ParseConfig(string(c.Issuers), raw); err != nil {
			return nil, nil, err
		}
	}
	for i, p := range c.Presets {
		filled, err := readPreset(p, list)
		if err != nil {
			return nil, nil, fmt.Errorf("presets[%d] (%s): %w", i, p.Name, err)
		}
		raw = append(raw, filled...)
	}
	return raw, list, nil
}

// readPreset adds the issuers of a preset to a list and returns what it becomes.
func readPreset(p config.Preset, list *oidc.Config) (filled []byte, err error) {
	preset, err := presets.Find(p.Name)
	if err != nil {
		return nil, err
	}
	values := p.Values()
	if p.Certificates != "" {
		pem, err := os.ReadFile(string(p.Certificates))
		if err != nil {
			return nil, fmt.Errorf("certificates: %w", err)
		}
		values[presets.Certificates] = string(pem)
	}
	if filled, err = preset.Configuration(values); err != nil {
		return nil, err
	}
	known, err := oidc.ParseConfig("preset", filled)
	if err != nil {
		return nil, err
	}
	for _, i := range known.Issuers {
		if err := list.Add(*i); err != nil {
			return nil, err
		}
	}
	return filled, nil
}

// pinned are the key sets of issuers that are not fetched.
type pinned struct {
	sets map[string]oidc.KeySet // by issuer
	ends []expiry.Item          // of those that say when
	sum  []byte                 // changes where one of them does
}

// pinnedKeys reads them.
func pinnedKeys(list []config.IssuerKeys) (pinned, error) {
	p := pinned{sets: map[string]oidc.KeySet{}}
	for _, k := range list {
		raw, err := os.ReadFile(string(k.Keys))
		if err != nil {
			return pinned{}, fmt.Errorf("keys of issuer %s: %w", k.Issuer, err)
		}
		set, err := oidc.ParseJWKS(raw)
		if err != nil {
			return pinned{}, fmt.Errorf("keys of issuer %s: %s: %w", k.Issuer, k.Keys, err)
		}
		p.sets[string(k.Issuer)] = set
		if last := set.Ends(); last != nil {
			p.ends = append(p.ends, pinnedItem(k, last))
		}
		p.sum = fmt.Appendf(p.sum, "%q %v %x\n", k.Issuer, k.Development, sha256.Sum256(raw))
	}
	return p, nil
}
