package ca_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sigbox/sigbox/ca"
)

// TestValidity: a certificate is valid as long as is configured, both ends included, and never longer than
// the one that signs it.
func TestValidity(t *testing.T) {
	for _, tc := range []struct {
		name  string
		set   time.Duration
		left  time.Duration // of the issuing certificate; 0 for years
		want  time.Duration // from the first second to the last
		fails error
	}{
		{"by default", 0, 0, 10*time.Minute - time.Second, nil},
		{"a minute", time.Minute, 0, time.Minute - time.Second, nil},
		{"a day", 24 * time.Hour, 0, 24*time.Hour - time.Second, nil},
		{"to the issuer's end", time.Hour, 5 * time.Minute, 5 * time.Minute, nil},
		{"the default to the issuer's end", 0, time.Minute, time.Minute, nil},
		{"beyond it", time.Hour, -time.Second, 0, ca.ErrNotValid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStack(t, func(_ *stack, c *ca.Config) { c.Validity = tc.set })
			if tc.left != 0 {
				s.clock.Set(s.hierarchy.Intermediate.NotAfter.Add(-tc.left))
			}
			id := identity(t, emailToken("dev@example.com"))
			chain, err := s.authority.Issue(t.Context(), id, prove(t, id.Challenge), ca.Grant{})
			if tc.fails != nil {
				if !errors.Is(err, tc.fails) || chain != nil {
					t.Errorf("%v, want %v", err, tc.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := chain[0].NotAfter.Sub(chain[0].NotBefore); got != tc.want || chain[0].NotAfter.After(s.hierarchy.Intermediate.NotAfter) {
				t.Errorf("valid for %s until %s, want %s", got, chain[0].NotAfter, tc.want)
			}
		})
	}
}
