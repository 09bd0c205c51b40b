package upstream_test

import (
	"bytes"
	"slices"
	"testing"
)

// TestAccepted: what the real tools have signed is logged as upstream logs it.
func TestAccepted(t *testing.T) {
	for name, proposed := range kept(t) {
		t.Run(name, func(t *testing.T) {
			want, err := theirs(proposed)
			if err != nil {
				t.Fatalf("the row is wrong: upstream says %v", err)
			}
			got, err := ours(t, proposed)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.body, want.body) {
				t.Errorf("body\n%s, upstream\n%s", got.body, want.body)
			}
			if !bytes.Equal(got.attestation, want.attestation) {
				t.Errorf("attestation %q, upstream %q", got.attestation, want.attestation)
			}
			slices.Sort(got.keys)
			slices.Sort(want.keys)
			if want.keys = slices.Compact(want.keys); len(want.keys) == 0 || !slices.Equal(got.keys, want.keys) {
				t.Errorf("keys %q, upstream %q", got.keys, want.keys)
			}
		})
	}
}
