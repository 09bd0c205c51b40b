package stack

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox/ca/pki"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/expiry"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/ceremony"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

const (
	dayLong    = 24 * time.Hour
	expiryStep = 6 * time.Hour
	expiryID   = "00112233445566778899aabbccddeeff"
)

// aging is an instance whose parts end at different times, with the functions that serve and the
// commands use, under one clock.
type aging struct {
	t       *testing.T
	clock   *clock.Manual
	repo    *tuf.Repository
	online  tuf.Keys
	signers []crypto.Signer // of root and targets, 1 of 1 each
	frozen  bool            // nobody renews snapshot and timestamp

	rootKey  crypto.Signer // above both authorities
	root     *x509.Certificate
	chains   map[string][]*x509.Certificate // ca, tsa
	dir      string
	identity *identity
}

func newAging(t *testing.T) *aging {
	t.Helper()
	start := time.Now().UTC().Truncate(time.Second).Add(-3 * 365 * dayLong)
	a := &aging{t: t, clock: clock.NewManual(start), chains: map[string][]*x509.Certificate{}, dir: t.TempDir(), identity: &identity{}}
	var err error
	if a.rootKey, a.root, err = pki.NewRoot(a.clock, "Example", "p256"); err != nil {
		t.Fatal(err)
	}
	// The certificate of the CA is for three years, and that of the TSA for five: they are made so long
	// ago that they end within the 400 days.
	a.sign("tsa")
	a.clock.Advance(2*365*dayLong + 100*dayLong)
	tsaEnd := a.chains["tsa"][0].NotAfter
	a.sign("ca")
	a.clock.Set(tsaEnd.Add(-300 * dayLong).Truncate(time.Second))
	a.online = tuf.Keys{Snapshot: tuftest.Key(t), Timestamp: tuftest.Key(t)}
	a.signers = []crypto.Signer{tuftest.Key(t), tuftest.Key(t)}
	a.repo = tuf.New(tuf.Config{Store: &tuftest.Memory{}, Keys: a.online, Lifetimes: tuf.Production(), Clock: a.clock, Log: slog.New(slog.DiscardHandler)})
	one := func(k crypto.Signer) tuf.Signers {
		return tuf.Signers{Keys: []crypto.PublicKey{k.Public()}, Threshold: 1}
	}
	instance := tuftest.NewInstance(t, expiryID, "https://log.example", a.clock.Now())
	rec, taken, err := record.New(expiryID, "log.example").Collect(instance.Statements(t, a.clock.Now()), a.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	a.ceremony(ceremony.Options{Record: rec, Statements: taken, Root: &tuf.RootSigners{
		Root: one(a.signers[0]), Targets: one(a.signers[1]), Snapshot: one(a.online.Snapshot), Timestamp: one(a.online.Timestamp),
	}})
	a.newTLS()
	return a
}

// ceremony asks, signs and publishes, as the commands do.
func (a *aging) ceremony(o ceremony.Options) {
	a.t.Helper()
	now := a.clock.Now()
	o.Instance, o.Lifetimes, o.Now, o.GoodFor = expiryID, tuf.Production(), now, 30*dayLong
	r, err := ceremony.New(o)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, k := range a.signers {
		id, err := tuf.KeyID(k.Public())
		if err != nil {
			a.t.Fatal(err)
		}
		if !slices.ContainsFunc(r.Groups(), func(g ceremony.Group) bool { return slices.Contains(g.Keys, id) }) {
			continue
		}
		if _, err := r.Sign(k, now); err != nil {
			a.t.Fatal(err)
		}
	}
	if _, err := r.Publish(a.t.Context(), a.repo, expiryID, now); err != nil {
		a.t.Fatal(err)
	}
}

// renew is sigbox tuf request with --renew-root or --renew-targets, and what follows.
func (a *aging) renew(role string) {
	a.t.Helper()
	cur, err := a.repo.Current(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	o := ceremony.Options{Current: cur}
	if o.Record, err = record.Parse(cur.Record); err != nil {
		a.t.Fatal(err)
	}
	if role == tuf.Root {
		same, err := tuf.SignersOf(cur.Roots[len(cur.Roots)-1].Bytes)
		if err != nil {
			a.t.Fatal(err)
		}
		o.Root = &same
	}
	o.RenewTargets = role == tuf.Targets
	a.ceremony(o)
}

// sign is sigbox ca key, csr, sign-csr and the check of install-chain.
func (a *aging) sign(purpose string) {
	a.t.Helper()
	key, err := keys.NewECDSA()
	if err != nil {
		a.t.Fatal(err)
	}
	p, err := pki.ParsePurpose(purpose)
	if err != nil {
		a.t.Fatal(err)
	}
	text, err := pki.Request(key, p, pki.Subject(p, "Example"))
	if err != nil {
		a.t.Fatal(err)
	}
	asked, err := pki.ParseRequest(text)
	if err != nil {
		a.t.Fatal(err)
	}
	chain, err := pki.Sign(a.clock, asked, []*x509.Certificate{a.root}, a.rootKey)
	if err == nil {
		err = pki.Check(p, chain, key, a.clock)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	a.chains[purpose] = chain
}

// newTLS replaces the files, and has them taken over as a running server does.
func (a *aging) newTLS() {
	a.t.Helper()
	key, err := keys.NewECDSA()
	if err != nil {
		a.t.Fatal(err)
	}
	now := a.clock.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(now.Unix()), Subject: pkix.Name{CommonName: "log.example"}, DNSNames: []string{"log.example"}, NotBefore: now, NotAfter: now.Add(90 * dayLong)}
	der, err := x509.CreateCertificate(rand.Reader, template, a.root, key.Public(), a.rootKey)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, private := filepath.Join(a.dir, "tls.pem"), filepath.Join(a.dir, "tls.key")
	_ = os.Remove(private)
	if err := keys.Save(private, key); err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	if err := a.identity.load(config.File(cert), config.KeyFile(private), ""); err != nil {
		a.t.Fatal(err)
	}
}

func (a *aging) items(context.Context) ([]expiry.Item, error) {
	m := mends{file: "sigbox.yaml", ca: true, tlog: true, tuf: true, rotates: map[string]bool{"ca": true, "tsa": true}}
	items := append(roleItems(a.repo.Published(), tuf.Production(), m.roles(a.repo.Published(), a.clock.Now())), tlsItems(a.identity.chain(), tlsMend(""))...)
	for purpose, chain := range a.chains {
		items = append(items, m.chainItems(purpose, chain)...)
	}
	return items, nil
}

// mend does what the steps of an item say.
func (a *aging) mend(i expiry.Item) {
	a.t.Helper()
	steps := strings.Join(i.Mend, "\n")
	for _, way := range []struct {
		says string
		does func()
	}{
		{"sigbox tuf request --renew-root --renew-targets ", func() { a.renew(tuf.Root); a.renew(tuf.Targets) }},
		{"sigbox tuf request --renew-root ", func() { a.renew(tuf.Root) }},
		{"sigbox tuf request --renew-targets ", func() { a.renew(tuf.Targets) }},
		{"sigbox rotate ca-intermediate --yes ", func() { a.sign("ca") }},
		{"sigbox rotate tsa --yes ", func() { a.sign("tsa") }},
		{"taken over without a restart", a.newTLS},
		{"sigbox serve ", func() {
			a.frozen = false
			if err := a.repo.Refresh(a.t.Context()); err != nil {
				a.t.Fatal(err)
			}
		}},
	} {
		if strings.Contains(steps, way.says) {
			way.does()
			return
		}
	}
	a.t.Fatalf("%s: nothing does %q", i.Title(), steps)
}

// broken are what does not work at the time, said by those who refuse it and not by package expiry.
func (a *aging) broken() (what []string) {
	now := a.clock.Now()
	if a.identity.valid(now) != nil {
		what = append(what, "tls certificate")
	}
	for purpose, chain := range a.chains {
		if valid(chain, now) != nil {
			what = append(what, purpose+" certificate")
		}
	}
	// The client's own check, of each role.
	if err := repositoryHealth(a.repo, now); err != nil {
		for _, role := range roleNames {
			if strings.HasPrefix(err.Error(), role+" ") {
				what = append(what, "tuf "+role)
			}
		}
	}
	slices.Sort(what)
	return what
}

// TestEveryBreakageIsWarnedOf: over 400 days, with people who do what they are told two days before the
// end, nothing breaks, and each end was warned of at every threshold, once in the log, and in /readyz and the metrics too.
func TestEveryBreakageIsWarnedOf(t *testing.T) {
	a := newAging(t)
	var text bytes.Buffer
	w := &watchedExpiry{clock: a.clock, log: slog.New(slog.NewTextHandler(&text, nil)), file: "sigbox.yaml"}
	w.add(a.items)
	var watch expiry.Watch // the same again, to see what was said about which
	said, mended := map[string][]time.Duration{}, map[string]int{}
	lines := 0
	for end := a.clock.Now().Add(400 * dayLong); a.clock.Now().Before(end); a.clock.Advance(expiryStep) {
		now := a.clock.Now()
		if passed := 400*dayLong - end.Sub(now); passed == 100*dayLong { // the online keys are gone for a while, once
			a.frozen = true
		}
		if !a.frozen {
			if err := a.repo.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if b := a.broken(); b != nil {
			t.Fatalf("day %s: %v broke", now, b)
		}
		w.look(t.Context())
		items, _ := a.items(t.Context())
		for _, n := range watch.News(items, now) {
			lines++
			said[n.What] = append(said[n.What], n.Threshold)
			if n.Urgent(now) != strings.Contains(w.checkText(), n.What) {
				t.Errorf("%s: %s urgent, and readyz says %q", now, n.What, w.checkText())
			}
			if got := w.warnedOf(t, n.What); got != n.Threshold.Seconds() {
				t.Errorf("%s: warned of %s %s before, and the metric says %g seconds", now, n.What, n.Threshold, got)
			}
		}
		for _, i := range expiry.Order(items) {
			if least := i.Thresholds()[len(i.Thresholds())-1]; i.Left(now) > least {
				continue
			}
			want := i.Thresholds()
			if got := said[i.What]; !slices.Equal(got, want) {
				t.Errorf("%s, before its end: warned of at %v, want %v", i.Title(), got, want)
			}
			a.mend(i)
			delete(said, i.What)
			mended[i.What]++
			after, _ := a.items(t.Context())
			for _, j := range after {
				if j.What == i.What && !j.At.After(i.At) {
					t.Errorf("%s: the steps did not move its end", i.Title())
				}
			}
		}
	}
	for what, least := range map[string]int{"tuf root": 1, "tuf targets": 1, "tuf timestamp": 1, "ca certificate": 1, "tsa certificate": 1, "tls certificate": 4} {
		if mended[what] < least {
			t.Errorf("%s was mended %d times: it did not come to an end within the 400 days", what, mended[what])
		}
	}
	if got := strings.Count(text.String(), "will stop working"); got != lines {
		t.Errorf("the log has %d warnings, want %d: once for each threshold", got, lines)
	}
}

// warnedOf is what the metrics say of something.
func (w *watchedExpiry) warnedOf(t *testing.T, what string) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(w)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "sigbox_expires_warning_seconds" && m.GetLabel()[0].GetValue() == what {
				return m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("the metrics say nothing of %q", what)
	return 0
}

func (w *watchedExpiry) checkText() string {
	if err := w.check(context.Background()); err != nil {
		return err.Error()
	}
	return ""
}

// TestEndsAreWhereTheyBreak: with nobody who does anything, each thing works until the time that its item
// says, and no longer.
func TestEndsAreWhereTheyBreak(t *testing.T) {
	for _, what := range []string{"tuf root", "tuf targets", "tuf snapshot", "tuf timestamp", "ca certificate", "tsa certificate", "tls certificate"} {
		a := newAging(t)
		items, _ := a.items(t.Context())
		i := slices.IndexFunc(items, func(i expiry.Item) bool { return i.What == what })
		a.clock.Set(items[i].At.Add(-time.Second))
		before := a.ended(what)
		a.clock.Set(items[i].At.Add(time.Second)) // clients differ about the very second
		if before || !a.ended(what) {
			t.Errorf("%s: ended = %v a second before %s, and %v a second after", what, before, items[i].At, a.ended(what))
		}
	}
}

// ended asks those who refuse it: the TUF library for a role, and what issues and serves for the rest.
func (a *aging) ended(what string) bool {
	a.t.Helper()
	role, is := strings.CutPrefix(what, "tuf ")
	if !is {
		return slices.Contains(a.broken(), what)
	}
	cur, err := a.repo.Current(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	now := a.clock.Now()
	over := func(of tuf.Metadata) bool {
		switch role {
		case tuf.Root:
			m, err := metadata.Root().FromBytes(of.Bytes)
			return err == nil && m.Signed.IsExpired(now)
		case tuf.Targets:
			m, err := metadata.Targets().FromBytes(of.Bytes)
			return err == nil && m.Signed.IsExpired(now)
		case tuf.Snapshot:
			m, err := metadata.Snapshot().FromBytes(of.Bytes)
			return err == nil && m.Signed.IsExpired(now)
		}
		m, err := metadata.Timestamp().FromBytes(of.Bytes)
		return err == nil && m.Signed.IsExpired(now)
	}
	return over(map[string]tuf.Metadata{tuf.Root: cur.Roots[len(cur.Roots)-1], tuf.Targets: cur.Targets, tuf.Snapshot: cur.Snapshot, tuf.Timestamp: cur.Timestamp}[role])
}

// TestKeysThatCannotRenew: serve does not start with online keys that root does not name.
func TestKeysThatCannotRenew(t *testing.T) {
	a := newAging(t)
	cfg := &config.Config{TUF: &config.TUF{Snapshot: "snap.key", Timestamp: "time.key"}}
	other := tuftest.Key(t)
	for _, tc := range []struct {
		name string
		keys tuf.Keys
		want string
	}{
		{"the right ones", a.online, ""},
		{"another snapshot key", tuf.Keys{Snapshot: other, Timestamp: a.online.Timestamp}, "tuf.snapshot_key: snap.key cannot renew snapshot"},
		{"another timestamp key", tuf.Keys{Snapshot: a.online.Snapshot, Timestamp: other}, "tuf.timestamp_key: time.key cannot renew timestamp"},
		{"the two changed over", tuf.Keys{Snapshot: a.online.Timestamp, Timestamp: a.online.Snapshot}, "tuf.snapshot_key"},
	} {
		err := checkRenewable(a.repo.Published(), tc.keys, cfg)
		if (err == nil) != (tc.want == "") || err != nil && !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

// TestRetiredKeyInUse: a key with an end is an item where it is yet to come, or where something signs
// with it all the same; and of several chains only the newest counts.
func TestRetiredKeyInUse(t *testing.T) {
	a := newAging(t)
	now := a.clock.Now()
	cur, err := a.repo.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rec, err := record.Parse(cur.Record)
	if err != nil {
		t.Fatal(err)
	}
	key := rec.Keys[slices.IndexFunc(rec.Keys, func(k record.Key) bool { return k.Role == "rekor-v2" })]
	retire := func(end time.Time) record.Record {
		t.Helper()
		next, err := rec.Retire(key.ID(), end)
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	for _, tc := range []struct {
		name  string
		rec   record.Record
		inUse [][32]byte
		want  bool
	}{
		{"in use, no end", rec, [][32]byte{key.ID()}, false},
		{"an end to come", retire(now.Add(time.Hour)), nil, true},
		{"retired, and nothing signs with it", retire(now.Add(-time.Minute)), nil, false},
		{"retired, and signs", retire(now.Add(-time.Minute)), [][32]byte{key.ID()}, true},
	} {
		items := mends{file: "sigbox.yaml"}.recordItems(tc.rec, tc.inUse, now)
		got := slices.ContainsFunc(items, func(i expiry.Item) bool { return i.What == "rekor-v2 key" })
		if got != tc.want {
			t.Errorf("%s: an item = %v", tc.name, got)
		}
	}
}
