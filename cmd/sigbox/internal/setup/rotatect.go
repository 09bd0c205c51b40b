package setup

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	ct "github.com/google/certificate-transparency-go"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/statement"
)

// ctLogs rotates the CT log of a configuration. A number stands for a log with a key and an address of its own: number
// 1 is tlog.ct, the others are in tlog.ct.next. All are served, and ca.ct.log says which one certificates go into.
type ctLogs struct{ *Rotation }

func (c *ctLogs) work() rotation.Work {
	return rotation.Work{Make: c.make, Drop: c.drop, Publish: c.publish, Switch: c.change, Retire: c.retire}
}

// name is that of the log of a number.
func (c *ctLogs) name(n int) config.Name {
	first := c.cfg.TLog.CT.Name
	if n == 1 {
		return first
	}
	return config.Name(fmt.Sprintf("%s-%d", first, n))
}

// named wants the configuration to name the log of a number, with the key file of that number.
func (c *ctLogs) named(n int) error {
	want, err := c.path(n)
	if err != nil {
		return err
	}
	log, is := c.cfg.TLog.CTNamed(c.name(n))
	if !is {
		return fmt.Errorf("by %s certificates go into the log %s, and %s has no such log in tlog.ct.next", c.journal().Path, c.name(n), c.cfg.File())
	}
	if have, err := log.Key.Path(); err != nil || have != want {
		return errors.Join(err, fmt.Errorf("%s.key is %s, and by %s it would be %s: name the key file so", log.Section, have, c.journal().Path, want))
	}
	return nil
}

// publicFile is that of the public key of a number: beside the one of ca.ct, which ca can read, else beside the key.
func (c *ctLogs) publicFile(n int) (string, error) {
	if c.cfg.CA != nil && c.cfg.CA.CT != nil {
		return sibling(string(c.cfg.CA.CT.Key), n), nil
	}
	path, err := c.path(n)
	return strings.TrimSuffix(path, filepath.Ext(path)) + ".pub", err
}

// next is the configuration with the log of a number among those that are served.
func (c *ctLogs) next(n int) (*config.Config, error) {
	if _, is := c.cfg.TLog.CTNamed(c.name(n)); is {
		return c.cfg, nil
	}
	path, err := c.path(n)
	if err != nil {
		return nil, err
	}
	cfg, t, log := *c.cfg, *c.cfg.TLog, *c.cfg.TLog.CT
	log.Next = append(slices.Clip(log.Next), config.NextCT{Name: c.name(n), Key: config.KeyFile(path)})
	t.CT, cfg.TLog = &log, &t
	return &cfg, nil
}

// logs runs do on the logs, with that of a number among them.
func (c *ctLogs) logs(ctx context.Context, n int, do func(*config.Config, *stack.Logs) error) (err error) {
	cfg, err := c.next(n)
	if err != nil {
		return err
	}
	logs, err := stack.OpenConfiguredLogs(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, logs.Close()) }()
	return do(cfg, logs)
}

// make makes the key and the log, which nobody sees.
func (c *ctLogs) make(ctx context.Context, t rotation.Rotation) error {
	path, err := c.path(t.To)
	if err != nil {
		return err
	}
	if err := stack.MakeKey(path); err != nil {
		return err
	}
	key, err := keys.Load(path)
	if err != nil {
		return err
	}
	text, err := keys.PublicPEM(key.Public())
	if err != nil {
		return err
	}
	pub, err := c.publicFile(t.To)
	if err == nil {
		err = instance.WriteFile(pub, text, open)
	}
	if err != nil {
		return err
	}
	return c.logs(ctx, t.To, func(_ *config.Config, logs *stack.Logs) error { return logs.CreateBeside(ctx, string(c.name(t.To))) })
}

// drop wants the log to be served no more, so that tuf is not told of it, and removes the key of one that was not
// made: a log is never removed, and is none without its key.
func (c *ctLogs) drop(ctx context.Context, n int) error {
	path, err := c.path(n)
	if err != nil {
		return err
	}
	if _, is := c.cfg.TLog.CTNamed(c.name(n)); is {
		return c.waits("the configuration",
			fmt.Sprintf("in %s, on every machine that runs tlog: take %s out of the list next of tlog.ct, and restart the replicas", c.cfg.File(), c.name(n)),
			"what they have told tuf of it waits there: leave it out of the next request (sigbox tuf status, sigbox tuf request --without KEY)",
			fmt.Sprintf("then: sigbox rotate %s --undo --config %s", c.component, c.cfg.File()))
	}
	made, err := logTimes(ctx, c.cfg)
	if _, is := made[c.name(n)]; is || err != nil {
		return err
	}
	pub, err := c.publicFile(n)
	if err != nil {
		return err
	}
	for _, p := range []string{path, pub} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// again is the line that says how to go on.
func (c *ctLogs) again() string {
	return fmt.Sprintf("then: sigbox rotate %s --resume --yes --config %s", c.component, c.cfg.File())
}

// publish wants the log to be served, and then asks for a set that names its key.
func (c *ctLogs) publish(ctx context.Context, n int) error {
	if err := c.served(ctx, n); err != nil {
		return err
	}
	s, raw, err := c.said(ctx, n)
	if err != nil {
		return err
	}
	return c.repository(ctx, func(t *stack.TUFRepo, _ tuf.Release, rec record.Record) error {
		if rec.Find(s.Role, s.KeyID()) != nil {
			return nil
		}
		return c.request(ctx, t, c.file(n, "-publish.json"), stack.Wish{Statements: [][]byte{raw}}, "the holders of the targets keys")
	})
}

// said is what the log of a number says about itself, and its statement.
func (c *ctLogs) said(ctx context.Context, n int) (s statement.Statement, raw []byte, err error) {
	err = c.logs(ctx, n, func(cfg *config.Config, logs *stack.Logs) error {
		if raw, err = logs.Statement(ctx, cfg, string(c.name(n)), c.clock.Now()); err != nil {
			return err
		}
		s, err = statement.Open(raw)
		return err
	})
	return s, raw, err
}

// served wants the configuration to name the log of a number, and the service to answer with its tree heads.
func (c *ctLogs) served(ctx context.Context, n int) error {
	want, err := c.path(n)
	if err != nil {
		return err
	}
	log, is := c.cfg.TLog.CTNamed(c.name(n))
	have := ""
	if is {
		if have, err = log.Key.Path(); err != nil {
			return err
		}
	}
	if have != want {
		return c.waits("the configuration",
			fmt.Sprintf("in %s, on every machine that runs tlog, with this file beside that of before, to the list next of tlog.ct: {name: %s, key: %s}", c.cfg.File(), c.name(n), want),
			"then restart the replicas, one after the other; each serves the new log beside the old one from then on, and nothing goes into it", c.again())
	}
	key, err := keys.Load(want)
	if err != nil {
		return err
	}
	url := string(c.cfg.TLog.PublicURL) + log.Path + ct.GetSTHPath
	for range shownTimes {
		raw, err := fetch(ctx, url)
		if err == nil {
			err = checkHead(raw, key.Public())
		}
		if err != nil {
			return c.waits("the service", fmt.Sprintf("%s has no tree head of %s (%v): restart the replicas that have not been, and run this again", url, c.name(n), err))
		}
	}
	return nil
}

// checkHead says why an answer is no tree head that is signed with a key.
func checkHead(raw []byte, key crypto.PublicKey) error {
	var answer ct.GetSTHResponse
	if err := json.Unmarshal(raw, &answer); err != nil {
		return err
	}
	head, err := answer.ToSignedTreeHead()
	if err != nil {
		return err
	}
	v, err := ct.NewSignatureVerifier(key)
	if err != nil {
		return err
	}
	return v.VerifySTHSignature(*head)
}

// change wants ca to use the log of a number: the configuration, where this file has ca, and what the logs hold.
func (c *ctLogs) change(ctx context.Context, from, n int) error {
	pub, err := c.publicFile(n)
	if err != nil {
		return err
	}
	name := c.name(n)
	where := "the configuration of ca"
	if c.cfg.CA != nil {
		where = c.cfg.File()
	}
	lines := []string{
		fmt.Sprintf("in %s, on every machine that runs ca, with this file: ca.ct.log: %s and ca.ct.key: %s", where, name, pub),
		"then restart the replicas, one after the other; each logs its certificates there from then on, and clients trust both logs", c.again(),
	}
	if n == 1 {
		lines[0] = fmt.Sprintf("in %s, on every machine that runs ca: ca.ct.log: %s, and ca.ct.key as it was", where, name)
	}
	if here := c.cfg.CA; here != nil {
		used := c.cfg.TLog.CT.Name
		if here.CT != nil {
			used = here.CT.Log
		}
		if used != name {
			return c.waits("the configuration", lines...)
		}
	}
	took, err := c.tookAfter(ctx, n, from)
	if err != nil || took {
		return err
	}
	return c.waits("certificates in "+string(name), append(lines, fmt.Sprintf("it is seen by the logs: the last %d certificates have to be in %s, and none after them in %s; where few sign, sign that often", shownTimes, name, c.name(from)))...)
}

// tookAfter says whether the last certificates all are in the log of one number, and none in that of the other.
func (c *ctLogs) tookAfter(ctx context.Context, n, other int) (took bool, err error) {
	err = c.logs(ctx, max(n, other), func(_ *config.Config, logs *stack.Logs) error {
		took, err = logs.TookAfter(ctx, string(c.name(n)), string(c.name(other)), shownTimes)
		return err
	})
	return took, err
}

// retire asks for a set that gives a log an end, after a last look that nothing goes into it.
func (c *ctLogs) retire(ctx context.Context, n int, end time.Time) error {
	s, _, err := c.said(ctx, n)
	if err != nil {
		return err
	}
	j, _, err := c.journal().Read()
	if err != nil {
		return err
	}
	return c.repository(ctx, func(t *stack.TUFRepo, _ tuf.Release, rec record.Record) error {
		said := rec.Find(s.Role, s.KeyID())
		if said == nil || !said.End.IsZero() {
			return nil
		}
		var more []string
		if k := j.Kind(c.kind()); k.InUse != n && k.Rotation != nil && k.Rotation.Step == rotation.Switched {
			if took, err := c.tookAfter(ctx, k.InUse, n); err != nil || !took {
				return errors.Join(err, c.waits("certificates in "+string(c.name(k.InUse)), fmt.Sprintf("a replica of ca still logs in %s, which is to end: have it use %s, and run this again when the last %d certificates are there", c.name(n), c.name(k.InUse), shownTimes)))
			}
			more = append(more, fmt.Sprintf("an hour later, and when nothing asks for it any more: sigbox log freeze %s --yes --config %s; it is served on", c.name(n), c.cfg.File()))
		}
		return c.request(ctx, t, c.file(n, "-retire.json"), stack.Wish{Retire: []stack.Retirement{{ID: s.KeyID(), End: end}}}, "the holders of the targets keys", more...)
	})
}
