package record_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/statement"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const instanceID = "00112233445566778899aabbccddeeff"

// bench is what the rows of TestRefused work on: an instance whose keys are all taken in.
type bench struct {
	t   testing.TB
	in  *tuftest.Instance
	rec record.Record
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{t: t, in: tuftest.NewInstance(t, instanceID, "https://log.example", now)}
	var taken [][]byte
	var err error
	b.rec, taken, err = record.New(instanceID, "log.example").Collect(b.in.Statements(t, now), now)
	if err != nil || len(taken) != 5 {
		t.Fatalf("%d taken, %v", len(taken), err)
	}
	return b
}

// another is a statement about a new key of a role, at a new address.
func (b *bench) another(role statement.Role) statement.Statement {
	b.t.Helper()
	if role == statement.CA {
		b.in.NewCA(b.t, now)
	} else {
		b.in.Keys[role] = tuftest.Key(b.t)
	}
	s := b.in.Says(role, now)
	if role.Log() {
		s.URL, s.Origin = "https://log2.example", "log2.example"
	}
	return s
}

// TestRefused: each row is refused for a reason of its own, by the inbox and so by what a person
// brings; the first two are taken, so that the others cannot fail for what they share.
func TestRefused(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(b *bench) (envelope []byte, sender string)
		want string // "" takes it
	}{
		{"a new log", func(b *bench) ([]byte, string) { return b.in.State(b.t, b.another(statement.RekorV2)), "tlog" }, ""},
		{"a new authority, in a file", func(b *bench) ([]byte, string) { return b.in.State(b.t, b.another(statement.CA)), record.File }, ""},
		{"a forged signature", func(b *bench) ([]byte, string) {
			mine, theirs := b.in.State(b.t, b.another(statement.CT)), b.in.State(b.t, b.another(statement.CT))
			sig := func(raw []byte) []byte { return raw[bytes.LastIndex(raw, []byte(`"sig":"`)):] }
			return append(bytes.Clone(mine[:bytes.LastIndex(mine, []byte(`"sig":"`))]), sig(theirs)...), "tlog"
		}, "does not have the key"},
		{"a payload that is none", func(b *bench) ([]byte, string) {
			raw := b.in.State(b.t, b.another(statement.CT))
			return bytes.Replace(raw, []byte(`"payload":"`), []byte(`"payload":"AAAA`), 1), "tlog"
		}, "trust statement: payload"},
		{"another instance's", func(b *bench) ([]byte, string) {
			other := tuftest.NewInstance(b.t, "ffffffffffffffffffffffffffffffff", "https://other.example", now)
			return other.State(b.t, other.Says(statement.CT, now)), "tlog"
		}, "about instance ffffffff"},
		{"a log's, from the authority", func(b *bench) ([]byte, string) { return b.in.State(b.t, b.another(statement.RekorV2)), "ca" }, `"ca" brought it`},
		{"an authority's, from the log", func(b *bench) ([]byte, string) { return b.in.State(b.t, b.another(statement.CA)), "tlog" }, `"tlog" brought it`},
		{"from nobody we know", func(b *bench) ([]byte, string) { return b.in.State(b.t, b.another(statement.CA)), "tuf" }, `"tuf" brought it`},
		{"the key of another role", func(b *bench) ([]byte, string) {
			s := b.another(statement.RekorV2)
			b.in.Keys[statement.RekorV2] = b.in.Keys[statement.CT]
			s.Key = b.in.Keys[statement.CT].Public()
			return b.in.State(b.t, s), "tlog"
		}, "is that of ct already"},
		{"a chain below another role's key", func(b *bench) ([]byte, string) {
			stamping := b.in.Says(statement.TSA, now)
			s := b.another(statement.CA)
			s.Chain = append(s.Chain[:1:1], stamping.Chain[0])
			return b.in.State(b.t, s), "ca"
		}, "is that of tsa already"},
		{"older than the one that is here", func(b *bench) ([]byte, string) {
			s := b.in.Says(statement.RekorV1, now.Add(-time.Hour))
			s.URL = "https://old.example"
			return b.in.State(b.t, s), "tlog"
		}, "an older statement undoes no newer one"},
		{"another of the same second", func(b *bench) ([]byte, string) {
			s := b.in.Says(statement.RekorV1, now)
			s.URL = "https://two.example"
			return b.in.State(b.t, s), "tlog"
		}, "says something else"},
		{"from the future", func(b *bench) ([]byte, string) {
			s := b.another(statement.CT)
			s.Made = now.Add(time.Hour)
			return b.in.State(b.t, s), "tlog"
		}, "in the future"},
		{"a retired key", func(b *bench) ([]byte, string) {
			s := b.in.Says(statement.CT, now.Add(time.Second))
			var err error
			if b.rec, err = b.rec.Retire(s.KeyID(), now); err != nil {
				b.t.Fatal(err)
			}
			return b.in.State(b.t, s), "tlog"
		}, "does not come back"},
		{"an origin that another key has", func(b *bench) ([]byte, string) {
			s := b.another(statement.RekorV2)
			s.Origin = "LOG.example"
			return b.in.State(b.t, s), "tlog"
		}, "belongs to another key"},
		{"an origin that another role has", func(b *bench) ([]byte, string) {
			s := b.another(statement.CT)
			s.Origin = "log.example"
			return b.in.State(b.t, s), "tlog"
		}, "belongs to another key"},
		{"another origin of the same log", func(b *bench) ([]byte, string) {
			s := b.in.Says(statement.CT, now.Add(time.Second))
			s.Origin = "elsewhere.example/ct"
			return b.in.State(b.t, s), "tlog"
		}, "a log keeps its origin"},
		{"another start of the same key", func(b *bench) ([]byte, string) {
			s := b.in.Says(statement.CT, now.Add(time.Second))
			s.ValidFrom = s.ValidFrom.AddDate(-1, 0, 0)
			return b.in.State(b.t, s), "tlog"
		}, "that does not change"},
		{"another chain of the same key", func(b *bench) ([]byte, string) {
			root := tuftest.Key(b.t)
			top := tuftest.Issue(b.t, tuftest.CA("root", now), nil, root, root)
			s := b.in.Says(statement.CA, now.Add(time.Second))
			s.Chain = append(s.Chain[:0:0], tuftest.Issue(b.t, tuftest.CA("intermediate", now), top, b.in.Keys[statement.CA], root), top)
			return b.in.State(b.t, s), "ca"
		}, "a new certificate needs a new key"},
		{"valid before its certificate", func(b *bench) ([]byte, string) {
			s := b.another(statement.CA)
			s.ValidFrom = s.Chain[0].NotBefore.Add(-time.Second)
			return b.in.State(b.t, s), "ca"
		}, "its certificate only is from"},
		{"a chain that some client refuses", func(b *bench) ([]byte, string) {
			s := b.another(statement.CA)
			s.Chain = s.Chain[:1]
			return b.in.State(b.t, s), "ca"
		}, "trust material: CA 2: certificate 1 is not signed by the next"},
		{"a URL that some client shortens", func(b *bench) ([]byte, string) {
			s := b.another(statement.RekorV2)
			s.URL = "https://log.example/path"
			return b.in.State(b.t, s), "tlog"
		}, "some clients drop it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			envelope, sender := tc.make(b)
			box := record.Inbox{Store: &tuftest.Memory{}, Instance: instanceID, Operator: "log.example"}
			out, err := box.Receive(t.Context(), b.rec, sender, [][]byte{envelope}, now)
			if err != nil || len(out) != 1 {
				t.Fatalf("%+v, %v", out, err)
			}
			waits, err := box.Store.Messages(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if tc.want == "" {
				if out[0].Err != nil || !out[0].New || len(waits) != 1 || waits[0].Sender != sender {
					t.Errorf("%+v, %d wait", out[0], len(waits))
				}
				return
			}
			if out[0].Err == nil || !strings.Contains(out[0].Err.Error(), tc.want) || out[0].New || len(waits) != 0 {
				t.Errorf("%+v, %d wait, want a refusal that says %q", out[0], len(waits), tc.want)
			}
			if strings.HasPrefix(tc.want, "trust statement") || strings.Contains(tc.want, "have the key") {
				return
			}
			if !errors.Is(out[0].Err, record.ErrRefused) {
				t.Errorf("%v is no ErrRefused", out[0].Err)
			}
		})
	}
}

// TestInbox: what waits counts for what comes after it, and what says nothing new is not kept.
func TestInbox(t *testing.T) {
	in := tuftest.NewInstance(t, instanceID, "https://log.example", now)
	box := record.Inbox{Store: &tuftest.Memory{}, Instance: instanceID, Operator: "log.example"}
	empty, err := box.Current(tuf.Release{})
	if err != nil {
		t.Fatal(err)
	}
	receive := func(sender string, envelopes ...[]byte) []record.Outcome {
		t.Helper()
		out, err := box.Receive(t.Context(), empty, sender, envelopes, now)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	all := in.Statements(t, now)
	for i, o := range append(receive("ca", all[:2]...), receive("tlog", all[2:]...)...) {
		if o.Err != nil || !o.New {
			t.Errorf("statement %d: %+v", i, o)
		}
	}
	// A service that restarts says the same with another time and another signature.
	for _, o := range receive("tlog", in.State(t, in.Says(statement.CT, now.Add(time.Minute)))) {
		if o.Err != nil || o.New {
			t.Errorf("the same again: %+v", o)
		}
	}
	taken := in.Says(statement.RekorV2, now)
	in.Keys[statement.RekorV2] = tuftest.Key(t)
	taken.Key = in.Keys[statement.RekorV2].Public()
	if o := receive("tlog", in.State(t, taken))[0]; o.Err == nil || !strings.Contains(o.Err.Error(), "belongs to another key") {
		t.Errorf("an origin that waits already: %+v", o)
	}
	with, pending, err := box.Pending(t.Context(), empty, now)
	if err != nil || len(pending) != 5 || len(with.Keys) != 5 {
		t.Fatalf("%d pending, %d keys, %v", len(pending), len(with.Keys), err)
	}
	if _, err := with.Edition(); err != nil {
		t.Error(err)
	}
	// What is said of one key can be left out.
	id := in.Says(statement.CT, now).KeyID()
	if with, pending, err := box.Pending(t.Context(), empty, now, id); err != nil || len(pending) != 4 || len(with.Keys) != 4 {
		t.Errorf("without one: %d pending, %d keys, %v", len(pending), len(with.Keys), err)
	}
	// Once it is in the record, nothing waits.
	if _, pending, err := box.Pending(t.Context(), with, now); err != nil || len(pending) != 0 {
		t.Errorf("%d pending, %v", len(pending), err)
	}
	other := record.Inbox{Store: box.Store, Instance: "ffffffffffffffffffffffffffffffff"}
	raw, err := with.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Current(tuf.Release{Record: raw, Roots: make([]tuf.Metadata, 1)}); err == nil || !strings.Contains(err.Error(), "the configuration says") {
		t.Errorf("the repository of another instance: %v", err)
	}
	if _, err := box.Current(tuf.Release{Roots: make([]tuf.Metadata, 1)}); err == nil || !strings.Contains(err.Error(), "published without one") {
		t.Errorf("a set without record: %v", err)
	}
}

// TestFull: a peer gone wild fills the inbox to its bound.
func TestFull(t *testing.T) {
	in := tuftest.NewInstance(t, instanceID, "https://log.example", now)
	box := record.Inbox{Store: &tuftest.Memory{}, Instance: instanceID, Operator: "log.example"}
	var many [][]byte
	for i := range 257 {
		s := in.Says(statement.RekorV1, now.Add(time.Duration(i)*time.Second-time.Hour))
		if i%2 > 0 {
			s.URL = "https://log2.example"
		}
		many = append(many, in.State(t, s))
	}
	out, err := box.Receive(t.Context(), record.New(instanceID, "log.example"), "tlog", many, now)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range out {
		if full := o.Err != nil && strings.Contains(o.Err.Error(), "256 statements wait already"); full != (i == 256) {
			t.Fatalf("statement %d: %+v", i, o)
		}
	}
}

// TestEncoding: a record is read as it was written, and in no other form.
func TestEncoding(t *testing.T) {
	b := newBench(t)
	rec, err := b.rec.Retire(b.rec.Keys[2].ID(), now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := rec.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := record.Parse(raw)
	if err != nil || !reflect.DeepEqual(again.Material(), rec.Material()) {
		t.Fatalf("%+v, %v", again, err)
	}
	for name, change := range map[string][2]string{
		"a later format":    {`"format": 1`, `"format": 2`},
		"an unknown field":  {`"format": 1`, `"format": 1, "x": 1`},
		"another form":      {`"format": 1`, `"format":  1`},
		"an unknown role":   {`"role": "ca"`, `"role": "cb"`},
		"a chain for a log": {`"role": "ca"`, `"role": "ct"`},
		"no time":           {`"valid_from": "2026`, `"valid_from": "x`},
	} {
		if changed := strings.Replace(string(raw), change[0], change[1], 1); changed == string(raw) {
			t.Errorf("%s: nothing was changed", name)
		} else if _, err := record.Parse([]byte(changed)); !errors.Is(err, record.ErrRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFollows: what one record may not do to the one before it.
func TestFollows(t *testing.T) {
	b := newBench(t)
	ended, err := b.rec.Retire(b.rec.Keys[4].ID(), now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	edit := func(from record.Record, f func(*record.Record)) record.Record {
		from.Keys, from.Issuers = append([]record.Key{}, from.Keys...), append([]record.Issuer{}, from.Issuers...)
		f(&from)
		return from
	}
	for _, tc := range []struct {
		name       string
		prev, next record.Record
		want       string
	}{
		{"itself", b.rec, b.rec, ""},
		{"a key that ends", b.rec, ended, ""},
		{"another instance", b.rec, edit(b.rec, func(r *record.Record) { r.Instance = "ff" }), "that of instance"},
		{"a key less", b.rec, edit(b.rec, func(r *record.Record) { r.Keys = r.Keys[1:] }), "lost a key"},
		{"an issuer less", b.rec, edit(b.rec, func(r *record.Record) { r.Issuers = nil }), "lost a key or an issuer"},
		{"another key", b.rec, edit(b.rec, func(r *record.Record) { r.Keys[2].Public = tuftest.Key(t).Public() }), "is not what it was"},
		{"another start", b.rec, edit(b.rec, func(r *record.Record) { r.Keys[2].Start = now.AddDate(-1, 0, 0) }), "is not what it was"},
		{"an older statement", b.rec, edit(b.rec, func(r *record.Record) { r.Keys[2].Stated = now.AddDate(-1, 0, 0) }), "goes back"},
		{"a retired key that comes back", ended, b.rec, "was retired"},
		{"a retired key that ends later", ended, edit(ended, func(r *record.Record) { r.Keys[4].End = now.AddDate(1, 0, 0) }), "was retired"},
		{"another issuer", b.rec, edit(b.rec, func(r *record.Record) { r.Issuers[0].URL = "https://x.example" }), "issuer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.next.Follows(tc.prev)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

// TestIssuers: clients are told of an issuer as long as an authority in use names it, or a person has.
func TestIssuers(t *testing.T) {
	b := newBench(t)
	rec := b.rec.WithIssuer("https://people.example", now)
	s := b.in.Says(statement.CA, now.Add(time.Minute))
	s.Issuers = []string{"https://new.example"}
	rec, changed, err := rec.Take(s, "ca", now)
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	open := map[string]bool{}
	for _, i := range rec.Issuers {
		open[i.URL] = i.End.IsZero()
	}
	if want := map[string]bool{"https://log.example": false, "https://people.example": true, "https://new.example": true}; !reflect.DeepEqual(open, want) {
		t.Errorf("%v, want %v", open, want)
	}
	if rec, err = rec.Retire(s.KeyID(), now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for _, i := range rec.Issuers {
		if i.URL == "https://new.example" && i.End.IsZero() {
			t.Error("the issuer of an authority that was retired has no end")
		}
	}
}

// TestRetire: what a person may ask for and does not make sense.
func TestRetire(t *testing.T) {
	b := newBench(t)
	id := b.rec.Keys[2].ID()
	if _, err := b.rec.Retire([32]byte{1}, now); err == nil || !strings.Contains(err.Error(), "there is no key") {
		t.Errorf("an unknown key: %v", err)
	}
	if _, err := b.rec.Retire(id, now.AddDate(-1, 0, 0)); err == nil || !strings.Contains(err.Error(), "before it begins") {
		t.Errorf("an end before the start: %v", err)
	}
	rec, err := b.rec.Retire(id, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rec.Retire(id, now); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("twice: %v", err)
	}
	// The only Rekor v1 log: clients could not sign.
	if _, err := rec.Edition(); err == nil || !strings.Contains(err.Error(), "could not sign") {
		t.Errorf("nothing to sign with: %v", err)
	}
}
