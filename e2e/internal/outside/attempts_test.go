package outside_test

import (
	"net"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/outside"
)

// TestAttempts: where there is no network, each way to look for one is counted, and what stays on the machine
// is not.
func TestAttempts(t *testing.T) {
	if !outside.Alone(t) {
		return
	}
	dial := func(network, address string) func() error {
		return func() error {
			c, err := net.DialTimeout(network, address, time.Second)
			if err == nil {
				_ = c.Close()
			}
			return err
		}
	}
	for _, tc := range []struct {
		name    string
		counted bool
		try     func() error
	}{
		{"a port of loopback that nobody listens on", false, dial("tcp4", "127.0.0.1:9")},
		{"the same over IPv6", false, dial("tcp6", "[::1]:9")},
		{"a connection", true, dial("tcp4", "192.0.2.1:443")},
		{"a connection over IPv6", true, dial("tcp6", "[2001:db8::1]:443")},
		{"a datagram", true, dial("udp4", "198.51.100.1:53")},
		{"a name", true, func() error { _, err := net.LookupHost("rekor.sigstore.dev"); return err }},
	} {
		before, err := outside.Attempts()
		if err != nil {
			t.Fatal(err)
		}
		if err := tc.try(); err == nil {
			t.Errorf("%s: somebody answers", tc.name)
		}
		after, err := outside.Attempts()
		if err != nil {
			t.Fatal(err)
		}
		if (after > before) != tc.counted {
			t.Errorf("%s: %d attempts before, %d after", tc.name, before, after)
		}
	}
}
