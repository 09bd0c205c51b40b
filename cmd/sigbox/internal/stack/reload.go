package stack

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
)

// watchEvery is how often the files are looked at. They are read and not watched: notifications get lost
// on network file systems and where a mounted directory is swapped as a whole, as Kubernetes does, and a
// few small files a second cost nothing. A change counts when two looks in a row have seen the same,
// so that a file that is being written, or a certificate whose key is on its way, is left to settle.
const watchEvery = time.Second

// reloader takes over what changes in the configuration and in the files that it names.
type reloader struct {
	server *Server
	load   func() (*config.Config, error)
	now    <-chan os.Signal // reload at once; may be nil
	cfg    *config.Config   // what was taken over last
	files  []string         // that are looked at: those of the last configuration that could be read, refused or not

	success, at prometheus.Gauge
	failed      prometheus.Counter
	note        atomic.Pointer[string] // for /readyz; "" for nothing
}

func newReloader(s *Server, o ServerOptions) *reloader {
	r := &reloader{
		server: s, load: o.Load, now: o.Reload, cfg: o.Config, files: o.Config.LiveFiles(),
		success: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sigbox_config_reload_success", Help: "1 where the configuration and its files are what is running, 0 where they are wrong and what was loaded before counts.",
		}),
		at: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sigbox_config_reload_success_timestamp_seconds", Help: "When the configuration was last loaded, Unix time.",
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{Name: "sigbox_config_reload_failures_total", Help: "Times that a changed configuration or file was refused."}),
	}
	s.registry.MustRegister(r.success, r.at, r.failed)
	r.succeeded("")
	s.health.notes = append(s.health.notes, func(context.Context) (string, string) { return "configuration", *r.note.Load() })
	return r
}

func (r *reloader) succeeded(note string) {
	r.success.Set(1)
	r.at.Set(float64(r.server.clock.Now().Unix()))
	r.note.Store(&note)
}

// run looks at the files until ctx ends.
func (r *reloader) run(ctx context.Context) error {
	look := time.NewTicker(watchEvery)
	defer look.Stop()
	done := r.look() // what has been dealt with
	last := done     // what was seen last
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.now:
			done = r.reload(ctx, "SIGHUP")
		case <-look.C:
			seen := r.look()
			if seen != done && seen == last {
				done = r.reload(ctx, "a file has changed")
			}
			last = seen
		}
	}
}

// look returns the fingerprint of everything that a reload reads.
func (r *reloader) look() string { return fingerprint(r.server.cfg.File()) + fingerprint(r.files...) }

// fingerprint has a line for each file. One that cannot be read counts as one more.
func fingerprint(paths ...string) string {
	var b strings.Builder
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%q %x %t\n", path, sha256.Sum256(raw), err != nil)
	}
	return b.String()
}

// reload takes over what can be, all of it or nothing. It returns what it has dealt with, as look does.
// Everything is looked at before it is read: what changes in between is seen to be another change.
func (r *reloader) reload(ctx context.Context, why string) (done string) {
	done = fingerprint(r.server.cfg.File())
	next, err := r.load()
	if err == nil {
		r.files = next.LiveFiles()
	}
	done += fingerprint(r.files...)
	if err == nil {
		err = CheckFiles(next)
	}
	if err == nil {
		err = r.server.live.adopt(ctx, next)
	}
	r.noted(ctx, why, next, err)
	return done
}

// noted says how a reload went; err is why next was refused.
func (r *reloader) noted(ctx context.Context, why string, next *config.Config, err error) {
	log := r.server.log
	if err != nil {
		r.success.Set(0)
		r.failed.Inc()
		note := "the file, or one that it names, has changed and is wrong: what was loaded before goes on to count; the log lines say what is wrong"
		r.note.Store(&note)
		log.ErrorContext(ctx, "configuration refused: what was loaded before goes on to count", "because", why, "error", err)
		return
	}
	changed, _ := config.Changes(r.cfg, next)
	_, restart := config.Changes(r.server.cfg, next)
	r.cfg = next
	note := ""
	if restart != nil {
		note = "a restart is needed for " + strings.Join(restart, ", ")
		log.WarnContext(ctx, "configuration has changed in what counts from the next start only", "keys", restart)
	}
	r.succeeded(note)
	log.InfoContext(ctx, "configuration reloaded", "because", why, "keys", changed)
}

// adopt takes over what a running server can of next. It changes nothing where something is wrong.
func (l *live) adopt(ctx context.Context, next *config.Config) error {
	var apply []func()
	var errs []error
	prepare := func(f func(), err error) {
		apply, errs = append(apply, f), append(errs, err)
	}
	if l.tls != nil && next.TLS != nil {
		prepare(l.tls.read(next.TLS.Certificate, next.TLS.Key, ""))
	}
	for service, id := range l.peers {
		if p := next.Peers(service); p != nil {
			prepare(id.read(p.Certificate, p.Key, p.Authorities))
		}
	}
	if l.issuers != nil && next.CA != nil {
		prepare(l.issuers.read(ctx, next))
	}
	if l.gates != nil && next.TLog != nil {
		prepare(l.gates.read(next.TLog))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, f := range apply {
		f()
	}
	l.take(next)
	return nil
}
