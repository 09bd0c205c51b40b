package foreign_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/foreign"
	"github.com/sigbox/sigbox/tuf/trustroot"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

// TestTake: what the workflow brings, through a change of every key.
func TestTake(t *testing.T) {
	w := newWorld(t)
	r := w.taken()
	root, targets := r.Versions()
	if !bytes.Equal(r.Content, w.content) || root != 1 || targets != 1 || !r.Expires.Equal(now.Add(100*day)) || !slices.Equal(r.Issuers, []string{"https://foreign.example"}) {
		t.Errorf("version %d and %d, expires %s, issuers %v", root, targets, r.Expires, r.Issuers)
	}
	same, err := r.Refresh(t.Context(), w, now.Add(time.Hour))
	if err != nil || !same.Same(r) {
		t.Errorf("nothing new: %v", err)
	}
	for _, role := range []string{tuf.Timestamp, tuf.Snapshot, tuf.Targets, tuf.Root, tuf.Root} {
		w.another(role)
		w.next()
	}
	w.content, _ = targetsOf(t, "https://foreign.example")
	w.life[tuf.Root] = 50 * day
	w.root++
	w.next()
	next, err := r.Refresh(t.Context(), w, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	root, targets = next.Versions()
	if root != 7 || targets != 7 || len(next.Roots) != 7 || !bytes.Equal(next.Content, w.content) || next.Same(r) || !next.Expires.Equal(now.Add(50*day)) {
		t.Errorf("version %d and %d, %d roots, expires %s", root, targets, len(next.Roots), next.Expires)
	}
	if err := next.Check(); err != nil {
		t.Error(err)
	}
}

// TestTakeRefused: each row is refused for a reason of its own.
func TestTakeRefused(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(w *world) (as string, pinned []byte)
		is   error
		want string
	}{
		{"a name with a path", func(w *world) (string, []byte) { return "../acme", w.files["1.root.json"] }, foreign.ErrForeign, "is no name for it"},
		{"a name that is a file", func(w *world) (string, []byte) { return "acme.json", w.files["1.root.json"] }, foreign.ErrForeign, "is no name for it"},
		{"another root", func(w *world) (string, []byte) { return "acme", newWorld(w.t).files["1.root.json"] }, foreign.ErrForeign, "acme: timestamp"},
		{"no root", func(*world) (string, []byte) { return "acme", []byte("x") }, foreign.ErrForeign, "root to start from"},
		{"a root that the one before has not signed", func(w *world) (string, []byte) {
			w.keys[tuf.Root] = tuftest.Key(w.t)
			w.root++
			w.publish(w.keys[tuf.Root])
			return "acme", w.files["1.root.json"]
		}, foreign.ErrForeign, "root version 2"},
		{"an expired root", func(w *world) (string, []byte) {
			w.life[tuf.Root] = -day
			w.root++
			w.next()
			return "acme", w.files["1.root.json"]
		}, foreign.ErrExpired, "expired"},
		{"an expired timestamp", func(w *world) (string, []byte) {
			w.life[tuf.Timestamp] = -day
			w.next()
			return "acme", w.files["1.root.json"]
		}, foreign.ErrExpired, "timestamp"},
		{"an expired snapshot", func(w *world) (string, []byte) {
			w.life[tuf.Snapshot] = -day
			w.next()
			return "acme", w.files["1.root.json"]
		}, foreign.ErrExpired, "snapshot"},
		{"expired targets", func(w *world) (string, []byte) {
			w.life[tuf.Targets] = -day
			w.next()
			return "acme", w.files["1.root.json"]
		}, foreign.ErrExpired, "targets"},
		{"a target that is another", func(w *world) (string, []byte) {
			for path := range w.files {
				if strings.HasSuffix(path, trustroot.TrustedRootName) {
					w.files[path] = bytes.Replace(w.files[path], []byte("foreign"), []byte("foreigm"), 1)
				}
			}
			return "acme", w.files["1.root.json"]
		}, foreign.ErrForeign, "target trusted_root.json"},
		{"no target", func(w *world) (string, []byte) {
			w.content = nil
			w.next()
			return "acme", w.files["1.root.json"]
		}, foreign.ErrForeign, "has no target trusted_root.json"},
		{"a target that clients do not read", func(w *world) (string, []byte) {
			w.content = bytes.Replace(w.content, []byte("ctlogs"), []byte("otlogs"), 1)
			w.next()
			return "acme", w.files["1.root.json"]
		}, foreign.ErrForeign, "not one that clients read"},
		{"a target that is too large", func(w *world) (string, []byte) {
			w.content = append(w.content, bytes.Repeat([]byte(" "), foreign.MaxContent)...)
			w.next()
			return "acme", w.files["1.root.json"]
		}, foreign.ErrForeign, "want at most"},
		{"a snapshot of another repository", func(w *world) (string, []byte) {
			w.files["1.snapshot.json"] = newWorld(w.t).files["1.snapshot.json"]
			return "acme", w.files["1.root.json"]
		}, foreign.ErrForeign, "acme: snapshot"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			as, pinned := tc.do(w)
			r, err := foreign.Take(t.Context(), w, foreign.Root{Name: as}, pinned, now)
			if !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			if r.Content != nil {
				t.Error("something is taken")
			}
		})
	}
}

// TestRollback: what a repository may not do to what was seen of it.
func TestRollback(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(w *world)
		want string // "" is taken
	}{
		{"nothing new", func(*world) {}, ""},
		{"newer", func(w *world) { w.next() }, ""},
		{"older targets", func(w *world) { w.timestamp, w.snapshot, w.targets = 9, 9, 4; w.publish(w.keys[tuf.Root]) }, "targets version 4 after 5"},
		{"other targets of the version", func(w *world) { w.life[tuf.Targets] = 99 * day; w.publish(w.keys[tuf.Root]) }, "targets version 5 is not what it was"},
		{"an older timestamp", func(w *world) { w.timestamp = 4; w.publish(w.keys[tuf.Root]) }, "timestamp version 4 after 5"},
		{"an older snapshot", func(w *world) { w.timestamp, w.snapshot = 6, 4; w.publish(w.keys[tuf.Root]) }, "snapshot version 4 after 5"},
		{"an older timestamp of another key: the way back from versions that were driven up", func(w *world) {
			w.timestamp, w.snapshot = 1, 1
			w.another(tuf.Timestamp)
		}, ""},
		{"an older snapshot after another key of targets", func(w *world) {
			w.timestamp, w.snapshot = 6, 1
			w.another(tuf.Targets)
		}, "snapshot version 1 after 5"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.timestamp, w.snapshot, w.targets = 5, 5, 5
			w.publish(w.keys[tuf.Root])
			r := w.taken()
			tc.do(w)
			_, err := r.Refresh(t.Context(), w, now.Add(time.Hour))
			if tc.want == "" && err != nil || tc.want != "" && (!errors.Is(err, foreign.ErrRollback) || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

// TestCheck: who signs a record sees without the network what does not fit together.
func TestCheck(t *testing.T) {
	w := newWorld(t)
	w.another(tuf.Root)
	w.next()
	other := newWorld(t)
	for _, tc := range []struct {
		name   string
		change func(r *foreign.Root)
		want   string
	}{
		{"as it is", func(*foreign.Root) {}, ""},
		{"another content", func(r *foreign.Root) { r.Content = other.content }, "it is not the target"},
		{"another target", func(r *foreign.Root) { r.Target = "x" }, "has no target x"},
		{"targets of another", func(r *foreign.Root) { r.Targets = other.files["1.targets.json"] }, "not signed by the keys of its root"},
		{"a root of another", func(r *foreign.Root) { r.Roots[1] = other.files["1.root.json"] }, "does not follow version 1"},
		{"a root that nobody before has signed", func(r *foreign.Root) {
			o := newWorld(t)
			o.root = 2
			o.publish(o.keys[tuf.Root])
			r.Roots[1] = o.files["2.root.json"]
		}, "not signed by the keys of the one before"},
		{"a first root that signs itself not", func(r *foreign.Root) {
			r.Roots[0] = bytes.Replace(r.Roots[0], []byte(`"version":1`), []byte(`"version":9`), 1)
			r.Roots = r.Roots[:1]
		}, "not signed by its own keys"},
		{"no root", func(r *foreign.Root) { r.Roots = nil }, "lacks"},
		{"another expiry", func(r *foreign.Root) { r.Expires = r.Expires.Add(day) }, "and says"},
		{"a repository that is none", func(r *foreign.Root) { r.Repository = "file:///etc" }, "is not the URL"},
		{"a secret in its URL", func(r *foreign.Root) { r.Repository = "https://u:p@x.example" }, "nothing secret"},
		{"a file with roots", func(r *foreign.Root) { r.Target = "" }, "a file with parts of a repository"},
		{"an issuer that is none", func(r *foreign.Root) { r.Issuers = []string{"x"} }, "is no URL"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := w.taken()
			r.Roots = slices.Clone(r.Roots)
			tc.change(&r)
			err := r.Check()
			if tc.want == "" && err != nil || tc.want != "" && (!errors.Is(err, foreign.ErrForeign) || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

// TestFile: a file says nothing of its age, so that it may lose nothing.
func TestFile(t *testing.T) {
	old, _ := targetsOf(t, "https://foreign.example")
	another, _ := targetsOf(t, "https://another.example")
	newer, breaks, err := trustroot.Merge(old, another)
	if err != nil || len(breaks) > 0 {
		t.Fatal(err, breaks)
	}
	r, err := foreign.FromFile("acme", old, []string{"https://b.example", "https://a.example", "https://a.example"}, now, now.Add(90*day))
	if err != nil || !slices.Equal(r.Issuers, []string{"https://a.example", "https://b.example"}) || !r.Expires.Equal(now.Add(90*day)) {
		t.Fatalf("%v, %v", r.Issuers, err)
	}
	later := now.Add(day)
	r, err = r.Again(newer, later, later.Add(90*day))
	if err != nil || !bytes.Equal(r.Content, newer) || len(r.Issuers) != 2 {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name      string
		content   []byte
		at, until time.Time
		is        error
		want      string
	}{
		{"the older one", old, later, later.Add(day), foreign.ErrRollback, "lacks the"},
		{"an earlier time", newer, now, later.Add(day), foreign.ErrRollback, "was taken at"},
		{"over", newer, later, later, foreign.ErrExpired, "that is over"},
		{"no file", []byte("{}"), later, later.Add(day), foreign.ErrForeign, "media type"},
	} {
		if _, err := r.Again(tc.content, tc.at, tc.until); !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	if _, err := r.Refresh(t.Context(), newWorld(t), later); err == nil || !strings.Contains(err.Error(), "bring a newer file") {
		t.Errorf("a refresh of a file: %v", err)
	}
	if err := newWorld(t).taken().Follows(r); !errors.Is(err, foreign.ErrRollback) {
		t.Errorf("a repository after a file: %v", err)
	}
}

func TestIndex(t *testing.T) {
	w := newWorld(t)
	file, err := foreign.FromFile("zeta", newWorld(t).content, nil, now, now.Add(day))
	if err != nil {
		t.Fatal(err)
	}
	list, err := foreign.Publish([]foreign.Root{file, w.taken()})
	if err != nil || len(list) != 3 {
		t.Fatal(len(list), err)
	}
	for _, target := range list {
		if !tuf.ValidTargetName(target.Name) {
			t.Errorf("target %s", target.Name)
		}
	}
	ix, err := foreign.ReadIndex(list[2].Content)
	if err != nil || list[2].Name != foreign.IndexName || len(ix.Roots) != 2 || ix.Roots[0].Name != "acme" {
		t.Fatalf("%+v, %v", ix, err)
	}
	e := ix.Find("acme")
	if e.Target != "acme.trusted_root.json" || e.Path != "/trust/acme/trusted_root.json" || e.Root != 1 || e.Targets != 1 || !e.ExpiresAt().Equal(now.Add(100*day)) {
		t.Errorf("%+v", e)
	}
	if ix.Find("other") != nil {
		t.Error("found what is not there")
	}
	if none, err := foreign.Publish(nil); err != nil || none != nil {
		t.Error("an index of nothing")
	}
	for _, bad := range []string{"x", `{"format":2}`, `{"format":1,"roots":[{"name":"../x"}]}`} {
		if _, err := foreign.ReadIndex([]byte(bad)); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
}

func TestVouch(t *testing.T) {
	got := foreign.Vouch([]foreign.Party{
		{"own", []string{"https://token.actions.githubusercontent.com", "https://own.example", "https://oidc.eks.eu-1.amazonaws.com/id/AB"}},
		{"acme", []string{"https://token.actions.githubusercontent.com", "https://acme.example"}},
		{"public", []string{"https://token.actions.githubusercontent.com", "https://oidc.eks.*.amazonaws.com/id/*"}},
	})
	want := []foreign.Common{
		{"https://oidc.eks.eu-1.amazonaws.com/id/AB", []string{"own", "public"}},
		{"https://token.actions.githubusercontent.com", []string{"own", "acme", "public"}},
	}
	if !slices.EqualFunc(got, want, func(a, b foreign.Common) bool { return a.Issuer == b.Issuer && slices.Equal(a.Parties, b.Parties) }) {
		t.Errorf("%v", got)
	}
}

func TestParseIssuers(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want []string
	}{
		{`{"issuers":[{"issuerUrl":"https://b.example","audience":"sigstore"},{"wildcardIssuerUrl":"https://*.a.example"}]}`, []string{"https://*.a.example", "https://b.example"}},
		{"https://b.example\nhttps://a.example\n", []string{"https://a.example", "https://b.example"}},
		{"", nil}, {"{}", nil}, {"x", nil}, {`{"issuers":[{"issuerUrl":"x"}]}`, nil},
	} {
		got, err := foreign.ParseIssuers([]byte(tc.in))
		if (err != nil) != (tc.want == nil) || !slices.Equal(got, tc.want) {
			t.Errorf("%q: %v, %v", tc.in, got, err)
		}
	}
}
