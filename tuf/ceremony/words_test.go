package ceremony

import (
	"strings"
	"testing"
)

// TestPlain: what somebody else wrote into a request does nothing to the terminal of who reads it (B-220).
func TestPlain(t *testing.T) {
	for _, s := range []string{"a\x1b[2Jb", "a\nb", "a\rb", "a\tb", "a\u202eb", "caf\u00e9", "a\x00", "\xff", `a"b`, "a\u009bb"} {
		got := plain(s)
		if got == s || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q is shown as %q", s, got)
		}
	}
	if got := plain("https://sigstore.example.com"); got != "https://sigstore.example.com" {
		t.Errorf("plain text is shown as %q", got)
	}
}
