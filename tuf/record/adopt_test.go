package record_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/statement"
	"github.com/sigbox/sigbox/tuf/trustroot"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

// before is when the other instance signed, and after when that was over.
var before, after = now.AddDate(-2, 0, 0), now.AddDate(0, -1, 0)

func adoptedLog(t testing.TB, role statement.Role) record.Key {
	t.Helper()
	return record.Key{Role: role, URL: "https://old.example", Public: tuftest.Key(t).Public(), Start: before, End: after}
}

func adoptedCA(t testing.TB) record.Key {
	t.Helper()
	return record.Key{Role: statement.CA, URL: "https://fulcio.old.example", Chain: tuftest.CAChain(t, before), End: after}
}

func adoptedTSA(t testing.TB) record.Key {
	t.Helper()
	return record.Key{Role: statement.TSA, URL: "https://tsa.old.example/api/v1/timestamp", Chain: tuftest.TSAChain(t, before), End: after}
}

// newKey makes a key of a kind that tuftest does not make.
func newKey(t testing.TB, c elliptic.Curve) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	if c == nil {
		_, key, err = ed25519.GenerateKey(rand.Reader)
	} else {
		key, err = ecdsa.GenerateKey(c, rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// chainOf is a root of a key and a subject.
func chainOf(t testing.TB, key crypto.Signer, subject pkix.Name) []*x509.Certificate {
	t.Helper()
	template := tuftest.CA("root", before)
	template.Subject = subject
	return []*x509.Certificate{tuftest.Issue(t, template, nil, key, key)}
}

// TestAdopt: keys of another instance get into the trust root, each in the role that it had, and nothing signs with
// them; every refusal has a reason of its own.
func TestAdopt(t *testing.T) {
	named := pkix.Name{CommonName: "old"}
	for _, tc := range []struct {
		name string
		make func(b *bench) record.Key
		want string // "" takes it
	}{
		{"a CA", func(b *bench) record.Key { return adoptedCA(b.t) }, ""},
		{"a TSA", func(b *bench) record.Key { return adoptedTSA(b.t) }, ""},
		{"a Rekor v1 log", func(b *bench) record.Key { return adoptedLog(b.t, statement.RekorV1) }, ""},
		{"a CT log", func(b *bench) record.Key { return adoptedLog(b.t, statement.CT) }, ""},
		{"a log that signs there still", func(b *bench) record.Key {
			k := adoptedLog(b.t, statement.RekorV1)
			k.End = now.AddDate(0, 2, 0)
			return k
		}, ""},
		{"a log that began after ours", func(b *bench) record.Key {
			k := adoptedLog(b.t, statement.RekorV1)
			k.Start, k.End = now.Add(-time.Minute), now
			return k
		}, ""},
		{"a log at our address, before ours", func(b *bench) record.Key {
			k := adoptedLog(b.t, statement.RekorV1)
			k.URL = b.in.URL
			return k
		}, ""},
		{"a root alone, P-384, with half a name", func(b *bench) record.Key {
			k := adoptedCA(b.t)
			k.Chain = chainOf(b.t, newKey(b.t, elliptic.P384()), named)
			return k
		}, ""},
		{"a Rekor v2 log", func(b *bench) record.Key { return adoptedLog(b.t, statement.RekorV2) }, "only ca, tsa, rekor-v1 and ct"},
		{"a log without a key", func(b *bench) record.Key {
			k := adoptedLog(b.t, statement.CT)
			k.Public = nil
			return k
		}, "a log has a public key"},
		{"a log without a start", func(b *bench) record.Key {
			k := adoptedLog(b.t, statement.CT)
			k.Start = time.Time{}
			return k
		}, "it has no start"},
		{"without an end", func(b *bench) record.Key {
			k := adoptedCA(b.t)
			k.End = time.Time{}
			return k
		}, "it has no end"},
		{"an end before the start", func(b *bench) record.Key {
			k := adoptedLog(b.t, statement.CT)
			k.End = before.Add(-time.Hour)
			return k
		}, "it is to end at"},
		{"a start in the future", func(b *bench) record.Key {
			k := adoptedLog(b.t, statement.CT)
			k.Start, k.End = now.Add(time.Hour), now.Add(2*time.Hour)
			return k
		}, "in the future"},
		{"a start before the certificate's", func(b *bench) record.Key {
			k := adoptedCA(b.t)
			k.Start = before.AddDate(-1, 0, 0)
			return k
		}, "its certificate is valid from"},
		{"an end after the certificate's", func(b *bench) record.Key {
			k := adoptedTSA(b.t)
			k.End = before.AddDate(6, 0, 0)
			return k
		}, "its certificate is valid from"},
		{"a P-384 log", func(b *bench) record.Key {
			k := adoptedLog(b.t, statement.RekorV1)
			k.Public = newKey(b.t, elliptic.P384()).Public()
			return k
		}, "the key is ECDSA P-384"},
		{"an Ed25519 log", func(b *bench) record.Key {
			k := adoptedLog(b.t, statement.CT)
			k.Public = newKey(b.t, nil).Public()
			return k
		}, "policy-controller refuses"},
		{"an Ed25519 CA", func(b *bench) record.Key {
			k := adoptedCA(b.t)
			k.Chain = chainOf(b.t, newKey(b.t, nil), named)
			return k
		}, "clients take ECDSA P-256 and P-384"},
		{"no chain", func(b *bench) record.Key {
			k := adoptedCA(b.t)
			k.Chain = nil
			return k
		}, "0 certificates"},
		{"a leaf in the place of a CA", func(b *bench) record.Key {
			k := adoptedCA(b.t)
			k.Chain = tuftest.TSAChain(b.t, before)
			return k
		}, "is a leaf, and no CA's"},
		{"a CA in the place of a leaf", func(b *bench) record.Key {
			k := adoptedTSA(b.t)
			k.Chain = tuftest.CAChain(b.t, before)
			return k
		}, "begins with the leaf"},
		{"a leaf for something else", func(b *bench) record.Key {
			k := adoptedTSA(b.t)
			root := tuftest.Key(b.t)
			top := tuftest.Issue(b.t, tuftest.CA("root", before), nil, root, root)
			leaf := tuftest.CA("leaf", before)
			leaf.IsCA, leaf.ExtKeyUsage = false, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
			k.Chain = []*x509.Certificate{tuftest.Issue(b.t, leaf, top, tuftest.Key(b.t), root), top}
			return k
		}, "is not for timestamps"},
		{"no root", func(b *bench) record.Key {
			k := adoptedCA(b.t)
			k.Chain = k.Chain[:1]
			return k
		}, "is no root"},
		{"the root first", func(b *bench) record.Key {
			k := adoptedCA(b.t)
			k.Chain[0], k.Chain[1] = k.Chain[1], k.Chain[0]
			return k
		}, "is not signed by the next one"},
		{"the key of another role", func(b *bench) record.Key {
			k := adoptedLog(b.t, statement.RekorV1)
			k.Public = b.in.Keys[statement.CT].Public()
			return k
		}, "is that of ct already"},
		{"a key that signs here", func(b *bench) record.Key {
			k := adoptedLog(b.t, statement.CT)
			k.Public = b.in.Keys[statement.CT].Public()
			return k
		}, "is in use here"},
		{"a key that signed here", func(b *bench) record.Key {
			k := adoptedLog(b.t, statement.CT)
			k.Public = b.in.Keys[statement.CT].Public()
			id := b.in.Says(statement.CT, now).KeyID()
			var err error
			if b.rec, err = b.rec.Retire(id, now); err != nil {
				b.t.Fatal(err)
			}
			return k
		}, "was one of this instance until"},
		{"an origin that is ours", func(b *bench) record.Key {
			k := adoptedLog(b.t, statement.RekorV1)
			k.Origin = "log.example"
			return k
		}, "belongs to another key"},
		{"a window that overlaps ours at our address", func(b *bench) record.Key {
			k := adoptedLog(b.t, statement.CT)
			k.URL, k.End = b.in.URL, now
			return k
		}, "overlaps that of key"},
		{"a window that overlaps another's that was adopted", func(b *bench) record.Key {
			b.adopt(adoptedLog(b.t, statement.CT))
			return adoptedLog(b.t, statement.CT)
		}, "overlaps that of key"},
		{"again, with another end", func(b *bench) record.Key {
			k := adoptedLog(b.t, statement.CT)
			b.adopt(k)
			k.End = now
			return k
		}, "nothing that was published changes"},
		{"again, with another chain", func(b *bench) record.Key {
			k := adoptedCA(b.t)
			key := tuftest.Key(b.t)
			k.Chain = chainOf(b.t, key, named)
			b.adopt(k)
			k.Chain = chainOf(b.t, key, named)
			return k
		}, "with another chain"},
		{"no address", func(b *bench) record.Key {
			k := adoptedLog(b.t, statement.CT)
			k.URL = "old.example"
			return k
		}, "want http or https"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			k := tc.make(b)
			next, changed, err := b.rec.Adopt(k, now)
			if tc.want != "" {
				if !errors.Is(err, record.ErrRefused) || !strings.Contains(err.Error(), tc.want) || changed || len(next.Keys) != len(b.rec.Keys) {
					t.Fatalf("changed %v: %v, want %q", changed, err, tc.want)
				}
				return
			}
			if err != nil || !changed {
				t.Fatalf("changed %v: %v", changed, err)
			}
			b.checkAdopted(next, k)
		})
	}
}

// adopt takes a key in that must be taken.
func (b *bench) adopt(k record.Key) {
	b.t.Helper()
	var err error
	if b.rec, _, err = b.rec.Adopt(k, now); err != nil {
		b.t.Fatal(err)
	}
}

// checkAdopted wants a record that can be published and follows the one before, in which clients sign where they signed.
func (b *bench) checkAdopted(next record.Record, k record.Key) {
	t := b.t
	t.Helper()
	edition, err := next.Edition()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(next.Follows(b.rec), next.Backed(b.rec, nil)); err != nil {
		t.Error(err)
	}
	was, err := b.rec.Edition()
	if err != nil {
		t.Fatal(err)
	}
	is := map[string][]byte{}
	for _, target := range edition.Targets {
		is[target.Name] = target.Content
	}
	for _, target := range was.Targets {
		if target.Name != trustroot.TrustedRootName && !bytes.Equal(is[target.Name], target.Content) {
			t.Errorf("%s is another one, and it says where clients sign, or is a key by its plain name", target.Name)
		}
	}
	list, err := trustroot.ReadTrustedRoot(edition.Targets[0].Content)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, s := range list {
		if s.KeyID == k.ID() && s.URL == k.URL && s.Valid.End.Equal(k.End) {
			found++
		}
	}
	if found != 1 {
		t.Errorf("the trust root has it %d times", found)
	}
	again, err := record.Parse(edition.Record)
	if err != nil || !reflect.DeepEqual(again, next) {
		t.Errorf("it is read back as another record: %v", err)
	}
	if same, changed, err := next.Adopt(k, now.Add(time.Hour)); err != nil || changed || len(same.Keys) != len(next.Keys) {
		t.Errorf("again: changed %v, %v", changed, err)
	}
}

// TestAdoptedStays: what was adopted cannot become a key that signs, nor an own key one that was adopted.
func TestAdoptedStays(t *testing.T) {
	b := newBench(t)
	s := b.another(statement.CT)
	own := b.rec
	k := adoptedLog(t, statement.CT)
	k.Public = s.Key
	b.adopt(k)
	if _, _, err := b.rec.Take(s, "tlog", now); err == nil || !strings.Contains(err.Error(), "the key was adopted") {
		t.Errorf("a statement of its holder: %v", err)
	}
	raw, err := b.rec.Encode()
	if err != nil || !bytes.HasPrefix(raw, []byte("{\n  \"format\": 2,")) {
		t.Errorf("%v: an older sigbox would misread it:\n%.40s", err, raw)
	}
	if raw, err := own.Encode(); err != nil || !bytes.HasPrefix(raw, []byte("{\n  \"format\": 1,")) {
		t.Errorf("%v: an older sigbox could not read what it could:\n%.40s", err, raw)
	}
	cut := bytes.Index(raw, []byte(`      "valid_until"`))
	if _, err := record.Parse(append(bytes.Clone(raw[:cut]), raw[cut+bytes.IndexByte(raw[cut:], '\n')+1:]...)); err == nil || !strings.Contains(err.Error(), "has no end") {
		t.Errorf("without its end: %v", err)
	}
	for what, change := range map[string]func(*record.Key){
		"is not what it was": func(k *record.Key) { k.Adopted = false },
		"is changed":         func(k *record.Key) { k.End = k.End.Add(time.Hour) },
	} {
		next := b.rec
		next.Keys = append([]record.Key(nil), b.rec.Keys...)
		change(&next.Keys[len(next.Keys)-1])
		if err := next.Follows(b.rec); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want %q", err, what)
		}
	}
	next := b.rec
	next.Keys = append([]record.Key(nil), b.rec.Keys...)
	next.Keys[len(next.Keys)-1].End = time.Time{}
	if err := next.Backed(own, nil); err == nil || !strings.Contains(err.Error(), "has no end") {
		t.Errorf("without an end it needs no statement: %v", err)
	}
}
