package setup

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/oidc"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/ceremony"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/statement"
)

// What the trust root is made from, and what comes of it.
const (
	statementsDir = "public/statements"
	tufRootKey    = "offline/tuf-root.key"
	tufTargetsKey = "offline/tuf-targets.key"
	requestFile   = "requests/tuf.json"
	firstRoot     = "public/root.json"
)

// makeTrust makes the trust statements, and the first set of the TUF repository from them.
func (b *builder) makeTrust(ctx context.Context) error {
	cfg, err := b.loadConfig()
	if err != nil {
		return err
	}
	if err := stack.CheckFiles(cfg); err != nil {
		return err
	}
	if err := b.makeStatements(ctx, cfg); err != nil {
		return err
	}
	repo, err := stack.OpenTUF(ctx, cfg, b.clock, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer repo.Close()
	if err := repo.Repo.Open(ctx); errors.Is(err, tuf.ErrNotCreated) {
		if err := b.makeSet(ctx, repo); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	return b.make(firstRoot, open, func() ([]byte, error) {
		root, ok := repo.Repo.Published().File("1.root.json")
		if !ok {
			return nil, errors.New("the repository has no first root")
		}
		return root.Bytes, nil
	})
}

// makeStatements writes what ca and tlog say about their keys, until there is a set: serve says it anew
// where something changes.
func (b *builder) makeStatements(ctx context.Context, cfg *config.Config) error {
	if done, err := b.there(firstRoot); err != nil || done {
		return err
	}
	list, err := b.statements(ctx, cfg)
	if err != nil {
		return err
	}
	return b.keepStatements(list)
}

// keepStatements writes statements, over those that say something else. Once the request is made from
// them they stay as they are, since people have begun to sign them.
func (b *builder) keepStatements(list [][]byte) error {
	asked, err := b.there(requestFile)
	if err != nil {
		return err
	}
	for _, raw := range list {
		s, err := statement.Open(raw)
		if err != nil {
			return err
		}
		name := statementsDir + "/" + stack.StatementFile(s)
		if said, err := stack.Said(b.path(name), s); err != nil {
			return err
		} else if said {
			continue
		}
		if asked {
			if _, err := fmt.Fprintf(b.out, "%s is not what this instance says any more, and %s was made from it: to have what it says now signed, remove %s and run init again\n",
				name, requestFile, requestFile); err != nil {
				return fmt.Errorf("standard output: %w", err)
			}
			continue
		}
		verb := "made"
		if is, err := b.there(name); err != nil {
			return err
		} else if is {
			verb = "replaced"
		}
		if err := instance.WriteFile(b.path(name), raw, open); err != nil {
			return err
		}
		if err := b.say("%s %s", verb, name); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) statements(ctx context.Context, cfg *config.Config) ([][]byte, error) {
	issuers, err := stack.Issuers(cfg)
	if err != nil {
		return nil, err
	}
	if b.issuer, err = b.namedIssuer(cfg, issuers); err != nil {
		return nil, err
	}
	now := b.clock.Now()
	list, err := stack.CAStatements(cfg, issuers, now)
	if err != nil {
		return nil, err
	}
	served, err := servedLogs(ctx, cfg)
	if err != nil {
		return nil, err
	}
	created, err := logTimes(ctx, cfg)
	if err != nil {
		return nil, err
	}
	logs, err := stack.LogStatements(cfg, served, created, now)
	return append(list, logs...), err
}

// namedIssuer is the issuer that the trust root names where no people sign in: there are clients that take
// none without.
func (b *builder) namedIssuer(cfg *config.Config, issuers *oidc.Config) (string, error) {
	for _, i := range issuers.Issuers {
		if !i.Meta {
			return strings.TrimSuffix(i.URL, "/"), nil
		}
	}
	return "", &Waiting{For: "an issuer", Todo: fmt.Sprintf(`The certificate authority takes nobody's tokens yet. Write at least one issuer into

  %s

(its comments show how), and run init again. Others can be added at any time.
`, string(cfg.CA.Issuers))}
}

// makeSet makes the first set: with the keys that are here, or by asking for signatures.
func (b *builder) makeSet(ctx context.Context, repo *stack.TUFRepo) error {
	if b.plan.Production {
		return b.askForSet(ctx, repo)
	}
	for _, name := range []string{tufRootKey, tufTargetsKey} {
		if err := b.makeKey(name, keys.NewECDSA); err != nil {
			return err
		}
	}
	root, err := b.key(tufRootKey)
	if err != nil {
		return err
	}
	targets, err := b.key(tufTargetsKey)
	if err != nil {
		return err
	}
	r, err := b.newRequest(repo, oneSigner(root), oneSigner(targets), tuf.Production())
	if err != nil {
		return err
	}
	for _, key := range []crypto.Signer{root, targets} {
		if _, err := r.Sign(key, b.clock.Now()); err != nil {
			return err
		}
	}
	if _, err := repo.Publish(ctx, r); err != nil {
		return err
	}
	return b.say("published the first trust root")
}

// newRequest asks for signatures of the first set, with everything that was stated.
func (b *builder) newRequest(repo *stack.TUFRepo, root, targets tuf.Signers, lifetimes tuf.Lifetimes) (*ceremony.Request, error) {
	envelopes, err := stack.ReadStatements(b.path(statementsDir))
	if err != nil {
		return nil, err
	}
	now := b.clock.Now()
	rec, taken, err := record.New(repo.Inbox.Instance, repo.Inbox.Operator).Collect(envelopes, now)
	if err != nil {
		return nil, err
	}
	if len(rec.Issuers) == 0 {
		rec = rec.WithIssuer(b.issuer, now.Add(-time.Hour))
	}
	return ceremony.New(ceremony.Options{
		Instance: repo.Inbox.Instance, Record: rec, Statements: taken, Lifetimes: lifetimes, Now: now,
		Root: &tuf.RootSigners{Root: root, Targets: targets, Snapshot: oneSigner(repo.Keys.Snapshot), Timestamp: oneSigner(repo.Keys.Timestamp)},
	})
}

// askForSet writes the request, and publishes it once it is signed by those who were named.
func (b *builder) askForSet(ctx context.Context, repo *stack.TUFRepo) error {
	raw, err := os.ReadFile(b.path(requestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return b.writeRequest(repo)
	}
	if err != nil {
		return err
	}
	r, err := ceremony.Parse(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", b.path(requestFile), err)
	}
	if err := b.checkSigners(r, repo.Keys); errors.Is(err, fs.ErrNotExist) {
		return b.waitForSigners()
	} else if err != nil {
		return err
	}
	if now := b.clock.Now(); now.After(r.GoodUntil) {
		return fmt.Errorf("%s was good until %s, and was not published: remove it and run init again, which asks for new signatures",
			b.path(requestFile), r.GoodUntil.Format(time.RFC3339))
	}
	if !r.Complete() {
		return b.waitForSignatures(r)
	}
	if _, err := repo.Publish(ctx, r); err != nil {
		return err
	}
	return b.say("published the first trust root")
}

// writeRequest makes the request with the signers' keys.
func (b *builder) writeRequest(repo *stack.TUFRepo) error {
	root, targets, err := b.signers()
	if errors.Is(err, fs.ErrNotExist) {
		return b.waitForSigners()
	}
	if err != nil {
		return err
	}
	r, err := b.newRequest(repo, root, targets, tuf.Production())
	if err != nil {
		return err
	}
	if err := b.make(requestFile, open, r.Encode); err != nil {
		return err
	}
	return b.waitForSignatures(r)
}

func (b *builder) waitForSigners() error {
	return &Waiting{For: "the public keys of those who sign the trust root", Todo: fmt.Sprintf(`Root and targets of the trust root are signed with keys that are kept elsewhere. Whoever holds one makes
it there, and gives you the file that ends in .pub:

  sigbox tuf key --out root-1.key
  sigbox tuf key --out targets-1.key

Then, here, name them all. More than half of them must sign, unless --tuf-root-threshold or
--tuf-targets-threshold says how many:

  sigbox init --dir %s --tuf-root-key root-1.key.pub --tuf-root-key root-2.key.pub --tuf-root-key root-3.key.pub \
    --tuf-targets-key targets-1.key.pub --tuf-targets-key targets-2.key.pub --tuf-targets-key targets-3.key.pub
`, b.relative("."))}
}

func (b *builder) waitForSignatures(r *ceremony.Request) error {
	var t strings.Builder
	fmt.Fprintf(&t, "The trust root is to be signed. What is signed so far of %s:\n\n", b.relative(requestFile))
	for _, g := range r.Groups() {
		fmt.Fprintf(&t, "  %-10s %d of the %d that are needed, %d keys may\n", g.What, g.Have(), g.Threshold, len(g.Keys))
	}
	fmt.Fprintf(&t, "\nTake the file from one holder of a key to the next. Each is shown what it means, and signs:\n\n")
	id, name := r.ID(), filepath.Base(requestFile)
	fmt.Fprintf(&t, "  sigbox tuf sign %s --key root-1.key\n  sigbox tuf sign %s --key targets-1.key\n", name, name)
	fmt.Fprintf(&t, "\nThe request's id is %x: each signer is asked for it, so that all sign the same.\n", id[:8])
	fmt.Fprintf(&t, "\nThen bring it back to the same place, and:\n\n  sigbox tuf publish %s --config %s\n  sigbox init --dir %s\n", b.relative(requestFile), b.relative(configFile), b.relative("."))
	return &Waiting{For: "signatures of the trust root", Todo: t.String()}
}
