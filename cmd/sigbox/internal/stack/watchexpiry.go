package stack

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/expiry"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
)

// expiryEvery is how often a running server looks at what will expire: often enough that a renewal is
// seen at once.
const expiryEvery = 15 * time.Second

// watchedExpiry is what will stop working in this process, for its log, its metrics and /readyz.
type watchedExpiry struct {
	clock   clock.Clock
	log     *slog.Logger
	file    string // configuration file; "" for none
	sources []func(context.Context) ([]expiry.Item, error)
	watch   expiry.Watch
	items   atomic.Pointer[[]expiry.Item] // of the last look
}

func (w *watchedExpiry) add(source func(context.Context) ([]expiry.Item, error)) {
	w.sources = append(w.sources, source)
}

// fixed adds items that stay as they are as long as the process runs.
func (w *watchedExpiry) fixed(items []expiry.Item) {
	w.add(func(context.Context) ([]expiry.Item, error) { return items, nil })
}

// run looks until ctx ends.
func (w *watchedExpiry) run(ctx context.Context) error {
	for {
		w.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(expiryEvery):
		}
	}
}

// look asks all sources, and logs what is news. A source that fails is said by the health of what it
// needs; what the others say still counts.
func (w *watchedExpiry) look(ctx context.Context) {
	var items []expiry.Item
	for _, source := range w.sources {
		list, err := source(ctx)
		if err != nil {
			w.log.DebugContext(ctx, "what expires is not known in full", "error", err)
		}
		items = append(items, list...)
	}
	items = expiry.Order(items)
	now := w.clock.Now()
	for _, n := range w.watch.News(items, now) {
		say := w.log.WarnContext
		if n.Urgent(now) {
			say = w.log.ErrorContext
		}
		text := "will stop working"
		if n.Left(now) <= 0 {
			text = "has stopped working"
		}
		say(ctx, text, "what", n.What, "which", n.Detail, "at", n.At.Format(time.RFC3339), "left", expiry.Words(n.Left(now)), "then", n.Breaks, "to_prevent_it", strings.Join(n.Mend, "; "))
	}
	w.items.Store(&items)
}

func (w *watchedExpiry) known() []expiry.Item {
	if p := w.items.Load(); p != nil {
		return *p
	}
	return nil
}

// check says what is to be mended now, for anybody: no paths.
func (w *watchedExpiry) check(context.Context) error {
	now := w.clock.Now()
	if text := w.say(func(i expiry.Item) bool { return i.Urgent(now) }, now); text != "" {
		return errors.New(text)
	}
	return nil
}

// note says what is warned of and not urgent.
func (w *watchedExpiry) note(context.Context) (name, text string) {
	now := w.clock.Now()
	return "expiry", w.say(func(i expiry.Item) bool {
		_, passed := i.Passed(now)
		return passed && !i.Urgent(now)
	}, now)
}

func (w *watchedExpiry) say(which func(expiry.Item) bool, now time.Time) string {
	var list []string
	for _, i := range w.known() {
		if !which(i) {
			continue
		}
		verb := "ends"
		if i.Left(now) <= 0 {
			verb = "ended"
		}
		text := fmt.Sprintf("%s %s %s, at %s: %s", i.What, verb, expiry.Words(i.Left(now)), i.At.Format(time.RFC3339), i.Breaks)
		if len(i.Mend) > 0 {
			text += ". To prevent it: " + strings.Join(i.Mend, "; ")
		}
		list = append(list, text)
	}
	text := strings.Join(list, "; ")
	if w.file != "" {
		text = strings.ReplaceAll(text, w.file, "FILE")
	}
	return text
}

var (
	expiresAtDesc = prometheus.NewDesc("sigbox_expires_timestamp_seconds", "When it stops working, Unix time; of several the first. \"sigbox expiry\" says what prevents it.", []string{"what"}, nil)
	warnedDesc    = prometheus.NewDesc("sigbox_expires_warning_seconds", "The threshold of the warning that has been given, for example 2592000 for 30 days; 0 for none yet, -1 where it is over.", []string{"what"}, nil)
)

// Describe implements prometheus.Collector.
func (w *watchedExpiry) Describe(ch chan<- *prometheus.Desc) { ch <- expiresAtDesc; ch <- warnedDesc }

// Collect implements prometheus.Collector.
func (w *watchedExpiry) Collect(ch chan<- prometheus.Metric) {
	now, seen := w.clock.Now(), map[string]bool{}
	for _, i := range w.known() { // in order: of several with a name the first to end
		if seen[i.What] {
			continue
		}
		seen[i.What] = true
		t, _ := i.Passed(now)
		warned := t.Seconds()
		if i.Left(now) <= 0 {
			warned = -1
		}
		ch <- prometheus.MustNewConstMetric(expiresAtDesc, prometheus.GaugeValue, float64(i.At.Unix()), i.What)
		ch <- prometheus.MustNewConstMetric(warnedDesc, prometheus.GaugeValue, warned, i.What)
	}
}

// repositoryItems are the roles, the record and what this process signs with, of a repository; none
// before there is a set.
func (m mends) repositoryItems(ctx context.Context, t *TUFRepo, inUse [][32]byte) ([]expiry.Item, error) {
	p := t.Repo.Published()
	if p == nil {
		return nil, nil
	}
	items := append(roleItems(p, tuf.Production(), m.roles(p, t.clock.Now())), foreignItems(p, m.foreign)...)
	_, rec, err := t.Current(ctx)
	if err != nil {
		return items, err
	}
	return append(items, m.recordItems(rec, inUse, t.clock.Now())...), nil
}

// checkRenewable refuses keys with which what is published could not be renewed: nobody would notice
// before it expires.
func checkRenewable(p *tuf.Published, online tuf.Keys, cfg *config.Config) error {
	root, ok := p.File("root.json")
	if !ok {
		return errors.New("the repository has no root")
	}
	named, err := tuf.SignersOf(root.Bytes)
	if err != nil {
		return err
	}
	for _, r := range []struct {
		role, key string
		file      config.KeyFile
		has       crypto.Signer
		named     tuf.Signers
	}{
		{tuf.Snapshot, "tuf.snapshot_key", cfg.TUF.Snapshot, online.Snapshot, named.Snapshot},
		{tuf.Timestamp, "tuf.timestamp_key", cfg.TUF.Timestamp, online.Timestamp, named.Timestamp},
	} {
		has := false
		for _, k := range r.named.Keys {
			has = has || keys.Equal(r.has.Public(), k)
		}
		if !has || r.named.Threshold > 1 {
			return fmt.Errorf("%s: %s cannot renew %s, since root version %d names another key for it: clients refuse everything from %s on. "+
				"Put the key that root names back; where it is lost, have a root signed that names this one: "+
				"sigbox tuf request --root-key PUB... --out root.json --config %s, with all keys of root",
				r.key, r.file, r.role, p.Versions().Root, p.Expires(r.role).UTC().Format(time.RFC3339), cfg.File())
		}
	}
	return nil
}
