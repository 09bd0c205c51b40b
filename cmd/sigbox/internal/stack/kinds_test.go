package stack

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/rekorv1"
)

// TestKindsAreThoseOfTheConfiguration: what a configuration can name is what there is, and what it does not
// name is refused.
func TestKindsAreThoseOfTheConfiguration(t *testing.T) {
	var names []string
	for k := range kindsV1(nil) {
		names = append(names, k.Name)
	}
	slices.Sort(names)
	if names = slices.Compact(names); !slices.Equal(names, config.Kinds) {
		t.Errorf("kinds %q, the configuration knows %q", names, config.Kinds)
	}
	few := kindsV1([]config.Kind{"jar", "intoto"})
	if len(few) != 3 { // intoto has two versions
		t.Errorf("%d kinds and versions", len(few))
	}
	_, err := rekorv1.Parse(few, []byte(`{"apiVersion":"0.0.1","kind":"rekord","spec":{}}`))
	if err == nil || !strings.Contains(err.Error(), "not enabled for submission") {
		t.Errorf("rekord: %v", err)
	}
}

// TestAuditKnowsEveryKind: fsck makes the search keys of each kind again from what is stored.
func TestAuditKnowsEveryKind(t *testing.T) {
	files, err := filepath.Glob("../../../../tlog/entry/upstream/testdata/*.json")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		proposed, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		e, err := rekorv1.Parse(kindsV1(nil), proposed)
		if err != nil {
			t.Fatal(err)
		}
		_, data, err := e.Encode(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := keysV1(tlog.Leaf{Data: data})
		if err != nil || len(keys) == 0 || !reflect.DeepEqual(keys, e.Keys()) {
			t.Errorf("%s: %q, %v", filepath.Base(f), keys, err)
		}
		if id, err := bodyIdentity(tlog.Leaf{Data: data}); err != nil || id != e.Identity() {
			t.Errorf("%s: identity %x, %v", filepath.Base(f), id, err)
		}
	}
}
