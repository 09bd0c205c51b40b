package ceremony_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/ceremony"
	"github.com/sigbox/sigbox/tuf/statement"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

// wire is a request file as somebody with an editor sees it.
type wire map[string]any

func open(t testing.TB, r *ceremony.Request) wire {
	t.Helper()
	raw, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var w wire
	if err := json.Unmarshal(raw, &w); err != nil {
		t.Fatal(err)
	}
	return w
}

// text changes what a field holds in base64.
func (w wire) text(t testing.TB, field, old, new string) {
	t.Helper()
	s, _ := w[field].(string)
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil || !bytes.Contains(raw, []byte(old)) {
		t.Fatalf("%s does not hold %q: %v\n%s", field, old, err, raw)
	}
	w[field] = base64.StdEncoding.EncodeToString(bytes.Replace(raw, []byte(old), []byte(new), 1))
}

// metadata changes signed metadata as JSON.
func (w wire) metadata(t testing.TB, field string, change func(m map[string]any)) {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(w[field].(string))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	if raw, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	w[field] = base64.StdEncoding.EncodeToString(raw)
}

func sigs(m map[string]any) []any { return m["signatures"].([]any) }

// TestTampered: a file that somebody has changed is refused by everybody who opens it, with the reason.
// It is the second request of an instance, signed by one of two. The first row changes nothing.
func TestTampered(t *testing.T) {
	s := newSite(t)
	s.publish(s.sign(s.first(), s.root[0], s.root[1], s.targets[0], s.targets[1]))
	s.instance.NewCA(t, now)
	statements := [][]byte{s.instance.State(t, s.instance.Says(statement.CA, now))}
	good := s.sign(s.ask(statements, func(o *ceremony.Options) { o.Root = s.signers(2) }), s.root[0], s.targets[0])
	unsigned := s.ask(statements, func(*ceremony.Options) {})
	signedByTwo := open(t, s.sign(good, s.root[1]))
	for _, tc := range []struct {
		name   string
		from   *ceremony.Request
		change func(w wire)
		want   string // "" accepts
		is     error
	}{
		{"as it was", good, func(wire) {}, "", nil},
		{"as it was, unsigned", unsigned, func(wire) {}, "", nil},
		{"a later format", good, func(w wire) { w["sigbox_ceremony"] = 2 }, "this sigbox knows 1", ceremony.ErrRequest},
		{"an unknown field", good, func(w wire) { w["note"] = "please sign" }, `unknown field "note"`, ceremony.ErrRequest},
		{"good for longer", good, func(w wire) { w["good_until"] = "2026-12-01T00:00:00Z" }, "it was changed after it was signed", ceremony.ErrRequest},
		{"good for ever", unsigned, func(w wire) { w["good_until"] = "2096-12-01T00:00:00Z" }, "at most a year", ceremony.ErrRequest},
		{"made later", good, func(w wire) { w["made"] = "2026-03-02T00:00:00Z" }, "it was changed after it was signed", ceremony.ErrRequest},
		{"another instance", unsigned, func(w wire) { w["instance"] = "ffffffffffffffffffffffffffffffff" }, "its record says " + instanceID, ceremony.ErrInstance},
		{"targets that live longer", good, func(w wire) { w.text(t, "targets", `"expires":"2027`, `"expires":"2036`) }, "the request was changed after it was signed", ceremony.ErrRequest},
		{"a root that lives longer", good, func(w wire) { w.text(t, "root", `"expires":"2027`, `"expires":"2036`) }, "the request was changed after it was signed", ceremony.ErrRequest},
		{"targets of another version", unsigned, func(w wire) { w.text(t, "targets", `"version":2`, `"version":9`) }, "and 2 is to follow", ceremony.ErrRequest},
		{"root of another version", good, func(w wire) { w.text(t, "root", `"version":2`, `"version":3`) }, "and 2 is to follow", ceremony.ErrRequest},
		{"a lower threshold", good, func(w wire) { w.text(t, "root", `"threshold":2`, `"threshold":1`) }, "changed after it was signed", ceremony.ErrRequest},
		{"a threshold of none", good, func(w wire) { w.text(t, "root", `"threshold":2`, `"threshold":0`) }, "threshold 0", ceremony.ErrRequest},
		{"a root with something in it", good, func(w wire) { w.text(t, "root", `"signed":{`, `"signed":{"x":1,`) }, "does not write", ceremony.ErrRequest},
		{"targets with something in it", unsigned, func(w wire) { w.text(t, "targets", `"signed":{`, `"signed":{"x":1,`) }, "not what its record composes to", ceremony.ErrRequest},
		{"another content", unsigned, func(w wire) { w["contents"].([]any)[0].(map[string]any)["content"] = "AAAA" }, `of targets version 2: length/hash`, ceremony.ErrRequest},
		{"a content less", unsigned, func(w wire) { w["contents"] = w["contents"].([]any)[1:] }, "files, there are", ceremony.ErrRequest},
		{"another record", unsigned, func(w wire) { w.text(t, "record", `"https://log.example"`, `"https://evil.example"`) }, "not what its record composes to", ceremony.ErrRequest},
		{"another origin", unsigned, func(w wire) { w.text(t, "record", `"log.example/ct"`, `"evil.example/ct"`) }, "changed without a statement", ceremony.ErrRequest},
		{"a record that was not written by sigbox", unsigned, func(w wire) { w.text(t, "record", `{`, `{ `) }, "not in the form", ceremony.ErrRequest},
		{"no statement", unsigned, func(w wire) { delete(w, "statements") }, "no statement shows", ceremony.ErrRequest},
		{"a statement that is none", unsigned, func(w wire) { w["statements"] = []any{"AAAA"} }, "trust statement", ceremony.ErrRequest},
		{"another base root", unsigned, func(w wire) {
			b := wire(w["base"].(map[string]any))
			b.text(t, "root", `"expires":"2027`, `"expires":"2036`)
		}, "base root is not signed", ceremony.ErrRequest},
		{"a content under another name", unsigned, func(w wire) { w["contents"].([]any)[0].(map[string]any)["name"] = "other.json" }, `"other.json" is no file that targets version 2 names`, ceremony.ErrRequest},
		{"a root that is none", good, func(w wire) { w["root"] = "AAAA" }, "root: ", ceremony.ErrRequest},
		{"a base record that is none", unsigned, func(w wire) { w["base"].(map[string]any)["record"] = "AAAA" }, "base: record of trust material", ceremony.ErrRequest},
		{"a base root that is none", unsigned, func(w wire) { w["base"].(map[string]any)["root"] = "AAAA" }, "base root: ", ceremony.ErrRequest},
		{"a base root that counts nobody", unsigned, func(w wire) {
			wire(w["base"].(map[string]any)).text(t, "root", `"threshold":2`, `"threshold":0`)
		}, "base root: ", ceremony.ErrRequest},
		{"base targets that are none", unsigned, func(w wire) { w["base"].(map[string]any)["targets"] = "AAAA" }, "base targets: ", ceremony.ErrRequest},
		{"other base targets", unsigned, func(w wire) {
			b := wire(w["base"].(map[string]any))
			b.text(t, "targets", `"expires":"2027`, `"expires":"2036`)
		}, "base targets are not signed", ceremony.ErrRequest},
		{"another base content", unsigned, func(w wire) {
			w["base"].(map[string]any)["contents"].([]any)[0].(map[string]any)["content"] = "AAAA"
		}, `file "ctfe.pub" of targets version 1`, ceremony.ErrRequest},
		{"another base record", unsigned, func(w wire) {
			b := wire(w["base"].(map[string]any))
			b.text(t, "record", `"stated": "2026-03-01T12:00:00Z"`, `"stated": "2026-03-01T12:00:01Z"`)
		}, "goes back to an older statement", ceremony.ErrRequest},
		{"another base record, signed", good, func(w wire) {
			b := wire(w["base"].(map[string]any))
			b.text(t, "record", `"https://log.example/api/v1/timestamp"`, `"https://log.example/api/v1/x"`)
		}, "changed without a statement", ceremony.ErrRequest},
		{"no base", unsigned, func(w wire) { w["base"] = nil }, "a first set needs root", ceremony.ErrRequest},
		{"nothing to sign", unsigned, func(w wire) {
			for _, f := range []string{"targets", "contents", "record", "statements"} {
				delete(w, f)
			}
		}, "neither root nor targets", ceremony.ErrRequest},
		{"one signature twice", good, func(w wire) {
			w.metadata(t, "targets", func(m map[string]any) { m["signatures"] = append(sigs(m), sigs(m)[0]) })
		}, "multiple signatures found for key ID", ceremony.ErrRequest},
		{"one approval twice", good, func(w wire) { w["approvals"] = append(w["approvals"].([]any), w["approvals"].([]any)[0]) }, "has approved it twice", ceremony.ErrRequest},
		{"no approval", good, func(w wire) { w["approvals"] = []any{} }, "its approval is missing", ceremony.ErrRequest},
		{"an approval of something else", good, func(w wire) {
			w["approvals"].([]any)[0].(map[string]any)["at"] = "2026-03-01T12:00:01Z"
		}, "is not one of this request", ceremony.ErrRequest},
		{"an approval of a role that it did not sign", good, func(w wire) {
			w["approvals"].([]any)[0].(map[string]any)["roles"] = []any{"root", "targets"}
		}, "and has signed", ceremony.ErrRequest},
		{"a signature less", good, func(w wire) {
			w.metadata(t, "targets", func(m map[string]any) { m["signatures"] = []any{} })
		}, "and has signed", ceremony.ErrRequest},
		{"the signature of a key of another role", good, func(w wire) {
			w.metadata(t, "targets", func(m map[string]any) {
				sigs(m)[0].(map[string]any)["keyid"] = approvalsOf(signedByTwo)[2]
			})
		}, "not one of its signers'", ceremony.ErrUnknownKey},
		{"one signer's signature for another's", good, func(w wire) {
			id, err := tuf.KeyID(s.targets[1].Public())
			if err != nil {
				t.Fatal(err)
			}
			w.metadata(t, "targets", func(m map[string]any) { sigs(m)[0].(map[string]any)["keyid"] = id })
		}, "is not one of these bytes", ceremony.ErrRequest},
		{"the approval of a stranger", good, func(w wire) { w["approvals"].([]any)[0].(map[string]any)["key_id"] = "00" }, "is not a signer's", ceremony.ErrUnknownKey},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := open(t, tc.from)
			tc.change(w)
			raw, err := json.Marshal(w)
			if err != nil {
				t.Fatal(err)
			}
			_, err = ceremony.Parse(raw)
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v\nwant one that says %q", err, tc.want)
			}
		})
	}
	if _, err := ceremony.Parse(bytes.Repeat([]byte(" "), ceremony.MaxSize+1)); !errors.Is(err, ceremony.ErrRequest) || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a file that is too large: %v", err)
	}
	if _, err := ceremony.Parse([]byte("{")); !errors.Is(err, ceremony.ErrRequest) {
		t.Errorf("no JSON: %v", err)
	}
}

func approvalsOf(w wire) (ids []string) {
	for _, a := range w["approvals"].([]any) {
		ids = append(ids, a.(map[string]any)["key_id"].(string))
	}
	return ids
}

// TestSignRefuses: each row is a reason why a key must not sign.
func TestSignRefuses(t *testing.T) {
	s := newSite(t)
	r := s.sign(s.first(), s.root[0])
	for _, tc := range []struct {
		name string
		key  func() error
		is   error
	}{
		{"a stranger", func() error { _, err := carry(t, r).Sign(tuftest.Key(t), now); return err }, ceremony.ErrUnknownKey},
		{"an online key", func() error { _, err := carry(t, r).Sign(s.online.Timestamp, now); return err }, ceremony.ErrUnknownKey},
		{"who has signed", func() error { _, err := carry(t, r).Sign(s.root[0], now); return err }, ceremony.ErrSigned},
		{"too late", func() error { _, err := carry(t, r).Sign(s.root[1], now.AddDate(0, 0, 31)); return err }, ceremony.ErrExpired},
		{"a request of the future", func() error { _, err := carry(t, r).Sign(s.root[1], now.Add(-time.Hour)); return err }, ceremony.ErrExpired},
	} {
		err := tc.key()
		if !errors.Is(err, tc.is) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if tc.is == ceremony.ErrUnknownKey && !strings.Contains(err.Error(), "the signers' are") {
			t.Errorf("%s: %v does not say whose keys are wanted", tc.name, err)
		}
	}
	if roles, err := carry(t, r).Sign(s.root[1], now); err != nil || !slices.Equal(roles, []string{tuf.Root}) {
		t.Errorf("%v, %v", roles, err)
	}
}

// TestPublishRefuses: each row leaves the repository as it was.
func TestPublishRefuses(t *testing.T) {
	s := newSite(t)
	first := s.first()
	all := []int{0, 1}
	sign := func(r *ceremony.Request, root, targets []int) *ceremony.Request {
		for _, i := range root {
			r = s.sign(r, s.root[i])
		}
		for _, i := range targets {
			r = s.sign(r, s.targets[i])
		}
		return r
	}
	publish := func(r *ceremony.Request, instance string, at time.Time) error {
		_, err := r.Publish(t.Context(), s.repo, instance, at)
		return err
	}
	if err := first.CheckTime(now.AddDate(0, 0, 31)); !errors.Is(err, ceremony.ErrExpired) || strings.Contains(err.Error(), "sigbox tuf request") {
		t.Errorf("a first set that is over: %v", err)
	}
	for _, tc := range []struct {
		name string
		do   func() error
		is   error
		want string
	}{
		{"nobody has signed", func() error { return publish(first, instanceID, now) }, ceremony.ErrThreshold, "root has 0 of 2"},
		{"one of two for root", func() error { return publish(sign(carry(t, first), all[:1], all), instanceID, now) }, ceremony.ErrThreshold, "root has 1 of 2"},
		{"one of two for targets", func() error { return publish(sign(carry(t, first), all, all[:1]), instanceID, now) }, ceremony.ErrThreshold, "targets has 1 of 2"},
		{"another instance", func() error { return publish(sign(carry(t, first), all, all), "ff", now) }, ceremony.ErrInstance, "this is ff"},
		{"too late", func() error { return publish(sign(carry(t, first), all, all), instanceID, now.AddDate(0, 0, 31)) }, ceremony.ErrExpired, "good until"},
	} {
		if err := tc.do(); !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if cur, _ := s.current(); cur.Created() {
			t.Fatalf("%s: published", tc.name)
		}
	}
	s.publish(sign(first, all, all))
	// Two requests that follow the same set: the second one is overtaken.
	renew := func(o *ceremony.Options) { o.RenewTargets = true }
	one, two := s.ask(nil, renew), s.ask(nil, func(o *ceremony.Options) { o.RenewTargets, o.Lifetimes.Targets = true, o.Lifetimes.Targets-time.Hour })
	one = sign(one, nil, all)
	s.publish(one)
	if err := publish(sign(two, nil, all), instanceID, now); !errors.Is(err, tuf.ErrStale) || !strings.Contains(err.Error(), "was overtaken") {
		t.Errorf("overtaken: %v", err)
	}
	// A request that was published, brought back after another set.
	s.publish(sign(s.ask(nil, renew), nil, all))
	if err := publish(one, instanceID, now); !errors.Is(err, tuf.ErrStale) {
		t.Errorf("replayed: %v", err)
	}
	if _, err := ceremony.New(ceremony.Options{Instance: instanceID, Lifetimes: tuf.Production(), Now: now}); err == nil {
		t.Error("a first request without signers and keys")
	}
}

// TestInstall: the repository takes what was signed only over the very set that it was asked for, and
// its client refuses what lacks a signature, whatever Signed says.
func TestInstall(t *testing.T) {
	s := newSite(t)
	s.publish(s.sign(s.first(), s.root[0], s.root[1], s.targets[0], s.targets[1]))
	r := s.ask(nil, func(o *ceremony.Options) { o.RenewTargets = true })
	half := s.sign(r, s.targets[0])
	signed, err := s.sign(half, s.targets[1]).Signed()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		change func(x *tuf.Signed)
		is     error
	}{
		{"over another root", func(x *tuf.Signed) { x.FollowsRoot = []byte("{}") }, tuf.ErrStale},
		{"over other targets", func(x *tuf.Signed) { x.FollowsTargets = nil }, tuf.ErrStale},
		{"over another record", func(x *tuf.Signed) { x.FollowsRecord = []byte("{}") }, tuf.ErrStale},
		{"half signed", func(x *tuf.Signed) { x.Targets = half.Targets }, tuf.ErrRejected},
		{"another content", func(x *tuf.Signed) { x.Contents = x.Contents[1:] }, tuf.ErrRejected},
		{"a root that is no root", func(x *tuf.Signed) { x.Root = []byte("{}") }, tuf.ErrRejected},
	} {
		x := signed
		tc.change(&x)
		if _, err := s.repo.Install(t.Context(), x); !errors.Is(err, tc.is) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if got := s.repo.Published().Versions(); got.Timestamp != 1 {
		t.Errorf("versions %+v", got)
	}
	if changed, err := s.repo.Install(t.Context(), signed); err != nil || !changed {
		t.Errorf("changed %v, %v", changed, err)
	}
}
