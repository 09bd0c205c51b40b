package stack

import (
	"crypto/x509"
	"slices"
	"testing"
)

// TestNarrow: each row is chains, by the names of their certificates, and which of them a CT log takes alone
// under their roots.
func TestNarrow(t *testing.T) {
	certs := map[byte]*x509.Certificate{}
	named := func(names string) (chain []*x509.Certificate) {
		for _, n := range []byte(names) {
			if certs[n] == nil {
				certs[n] = &x509.Certificate{Raw: []byte{n}}
			}
			chain = append(chain, certs[n])
		}
		return chain
	}
	for _, tc := range []struct{ chains, want []string }{
		{[]string{"ar"}, nil},
		{[]string{"r"}, nil},
		{[]string{"abr"}, []string{"abr"}},
		{[]string{"abr", "cs"}, []string{"abr"}},
		{[]string{"abr", "cr"}, []string{"abr", "cr"}}, // else the one of two would be refused
		{[]string{"abr", "cdes"}, []string{"abr", "cdes"}},
	} {
		l := ServedLog{}
		for _, c := range tc.chains {
			l.Chains = append(l.Chains, named(c))
		}
		var got []string
		for _, c := range l.Narrow() {
			names := ""
			for _, cert := range c {
				names += string(cert.Raw)
			}
			got = append(got, names)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%q: %q, want %q", tc.chains, got, tc.want)
		}
	}
}
