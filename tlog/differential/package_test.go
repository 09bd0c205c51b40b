package differential_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/types"

	// Upstream's kinds register themselves.
	_ "github.com/sigstore/rekor/pkg/types/dsse/v0.0.1"
	_ "github.com/sigstore/rekor/pkg/types/hashedrekord/v0.0.1"
	_ "github.com/sigstore/rekor/pkg/types/intoto/v0.0.1"
	_ "github.com/sigstore/rekor/pkg/types/intoto/v0.0.2"

	"github.com/sigbox/sigbox/tlog/differential"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/rekorv1"
)

// made is what either implementation makes of a proposed entry.
type made struct {
	body []byte
	keys []string // sorted, each once, in lower case
}

// theirs runs upstream's package, in the order of its server. What panics there is refused.
func theirs(proposed []byte) (m made, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("upstream panics: %v", p)
		}
	}()
	pe, err := models.UnmarshalProposedEntry(bytes.NewReader(proposed), nil)
	if err != nil {
		return m, err
	}
	impl, err := types.CreateVersionedEntry(pe)
	if err != nil {
		return m, err
	}
	if m.body, err = types.CanonicalizeEntry(context.Background(), impl); err != nil {
		return m, err
	}
	keys, err := impl.IndexKeys()
	for _, k := range keys {
		m.keys = append(m.keys, strings.ToLower(k)) // as its index does
	}
	if kind := pe.Kind(); kind == "dsse" || kind == "intoto" { // ours are found by the key too
		m.keys = append(m.keys, entrytest.Fingerprints(impl.Verifiers())...)
	}
	m.keys = once(m.keys)
	return m, err
}

func ours(proposed []byte) (m made, err error) {
	e, err := rekorv1.Parse(kinds(), bytes.Clone(proposed))
	if err != nil {
		return m, err
	}
	if m.body, _, err = e.Encode(1, 1); err != nil {
		return m, err
	}
	for _, k := range e.Keys() {
		m.keys = append(m.keys, string(k))
	}
	m.keys = once(m.keys)
	return m, nil
}

func once(keys []string) []string {
	slices.Sort(keys)
	return slices.Compact(keys)
}

// stricter are entries that we refuse and upstream takes (docs/design/0005).
var stricter = regexp.MustCompile(`^broken/(url in .*|dsse payload twice)$`)

// TestPackage holds the same entries against upstream's package, without a server: what both take has the same
// body, the same search keys, and nothing is taken that upstream refuses.
func TestPackage(t *testing.T) {
	recorded, err := differential.Recorded("rekor-v1")
	if err != nil {
		t.Fatal(err)
	}
	byServer := map[string]int{} // statuses: the server refuses algorithms that it is not configured for
	for _, a := range recorded.Answers {
		byServer[a.Name] = a.Status
	}
	taken, refused := 0, 0
	for _, r := range differential.RekorV1(corpus(t)) {
		kind, _, _ := strings.Cut(r.Name, "/")
		if !slices.Contains([]string{"create", "member", "broken"}, kind) {
			continue
		}
		want, wantErr := theirs([]byte(r.Body))
		got, err := ours([]byte(r.Body))
		switch {
		case err == nil && wantErr == nil:
			taken++
			if !bytes.Equal(got.body, want.body) {
				t.Errorf("%s: body\n%s, upstream\n%s", r.Name, got.body, want.body)
			}
			if !slices.Equal(got.keys, want.keys) {
				t.Errorf("%s: keys %q, upstream %q", r.Name, got.keys, want.keys)
			}
		case err == nil:
			t.Errorf("%s: taken, upstream says %v", r.Name, wantErr)
		case wantErr == nil && stricter.MatchString(r.Name) != (byServer[r.Name] < 400 || byServer[r.Name] == 409):
			t.Errorf("%s: refused with %v, upstream takes it; its server answers %d", r.Name, err, byServer[r.Name])
		default:
			refused++
		}
	}
	if taken < 50 || refused < 500 {
		t.Errorf("%d taken, %d refused: the table has lost its rows", taken, refused)
	}
}

// FuzzRekorV1AgainstUpstream: of every kind, nothing is taken that upstream's package refuses, and what is taken
// has its body.
func FuzzRekorV1AgainstUpstream(f *testing.F) {
	c, err := differential.Corpus(tlogDir())
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(c)) {
		if !strings.HasPrefix(name, "v2-") {
			f.Add([]byte(c[name]))
		}
	}
	f.Fuzz(func(t *testing.T, proposed []byte) {
		got, err := ours(proposed)
		if err != nil {
			return // the fuzzers of the hot kinds ask whether upstream refuses it too
		}
		want, err := theirs(proposed)
		if err != nil || !bytes.Equal(got.body, want.body) {
			t.Fatalf("taken as\n%s, upstream (%v)\n%s", got.body, err, want.body)
		}
	})
}
