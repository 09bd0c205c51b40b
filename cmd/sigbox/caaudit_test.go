package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestAuditExport: the records of an instance are exported while nothing runs; what cannot be asked for is said.
func TestAuditExport(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"no instance", []string{"--data", filepath.Join(t.TempDir(), "none")}, "there is no sigbox instance in"},
		{"no time", []string{"--since", "yesterday"}, `--since "yesterday": want a time such as`},
		{"no state", []string{"--state", "revoked"}, `--state "revoked": want intended, precertified or issued`},
		{"two places", []string{"--data", "x", "--config", "y"}, "none of the others can be"},
		{"no configuration", []string{"--config", "/none.yaml"}, "cannot be read"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, stderr, code := run(t, append([]string{"ca", "audit", "export"}, tc.args...)...)
			if code == 0 || out != "" || !strings.Contains(stderr, tc.want) {
				t.Errorf("code %d, %q %q, want %s", code, out, stderr, tc.want)
			}
		})
	}
}
