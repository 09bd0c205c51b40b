package upstream_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/entry/upstream"
)

// TestVerifiers: each kind tells the key that its signature was verified with, by the fingerprint that
// search finds the entry by, or says that it does not tell.
func TestVerifiers(t *testing.T) {
	for name, proposed := range kept(t) {
		t.Run(name, func(t *testing.T) {
			var v struct{ Kind, APIVersion string }
			if err := json.Unmarshal(proposed, &v); err != nil {
				t.Fatal(err)
			}
			e, err := upstream.Kinds().Parse(entry.Kind{Name: v.Kind, Version: v.APIVersion}, entrytest.Spec(t, proposed))
			if err != nil {
				t.Fatal(err)
			}
			list, err := e.Verifiers()
			if v.Kind == "jar" || v.Kind == "rfc3161" {
				if !errors.Is(err, entry.ErrInvalid) || !strings.Contains(err.Error(), "of kind "+v.Kind+" does not tell") {
					t.Errorf("%v, %v", list, err)
				}
				return
			}
			if err != nil || len(list) != 1 {
				t.Fatalf("%d verifiers, %v", len(list), err)
			}
			if (list[0].Certificate != nil) != (name == "rekord-x509-certificate") {
				t.Errorf("certificate %v", list[0].Certificate)
			}
			found := false
			for _, k := range e.Keys() {
				found = found || string(k) == list[0].Fingerprint
			}
			if !found {
				t.Errorf("fingerprint %s is not among the search keys %q", list[0].Fingerprint, e.Keys())
			}
		})
	}
}
