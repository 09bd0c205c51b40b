package config

import (
	"reflect"
	"strings"
	"testing"
)

// TestChanges: each row changes one thing.
func TestChanges(t *testing.T) {
	before, err := Parse("sigbox.yaml", []byte(together))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		old, new      string
		live, restart string // keys with spaces between
	}{
		{"", "# a comment\n", "", ""},
		{"level: info", "level: debug", "logging.level", ""},
		{"format: json", "format: json, requests: false", "logging.requests", ""},
		{"format: json", "format: text", "", "logging.format"},
		{"10.0.0.0/8, ", "", "trusted_proxies", ""},
		{"10.0.0.0/8", "10.0.0.0/16", "trusted_proxies", ""},
		{"certificate: cert.pem, key: key.pem", "certificate: cert2.pem, key: key2.pem", "tls.certificate tls.key", ""},
		{"tls: {certificate: cert.pem, key: key.pem}", "", "", "tls"},
		{"issuers: issuers.yaml", "issuers: other.yaml", "ca.issuers", ""},
		{"key: ca.pem", "key: ca2.pem", "", "ca.key"},
		{"tlog2:9443", "tlog3:9443", "", "ca.ct.address[1]"},
		{", \"tlog2:9443\"", "", "", "ca.ct.address"},
		{"9443\", certificate: peer.crt, key: peer.key, authorities: peers.pem}\n", "9443\", certificate: peer2.crt, key: peer2.key, authorities: peers2.pem}\n", "tlog.peers.certificate tlog.peers.key tlog.peers.authorities", ""},
		{"  poll: 200ms\n", "  poll: 200ms\n  quotas: {address: 5/1m}\n  authorities: ca.pem\n", "tlog.authorities tlog.quotas", ""},
		{"duplicates: return\n", "duplicates: return\n    writers: {certificates: true}\n", "tlog.rekor_v1.writers", ""},
		{"rekor_v2: {key: v2.pem}", "rekor_v2: {key: v2.pem, writers: {keys: [release.pub]}}", "tlog.rekor_v2.writers", ""},
		{"chain: tsachain.pem", "chain: tsachain.pem, quotas: {address: 5/1m}", "ca.tsa.quotas", ""},
		{"guard: {file: guard}", "guard: none", "", "tlog.guard"},
		{"guard: {file: guard}", "guard: {file: other}", "", "tlog.guard.file"},
		{"tree_id: 7", "tree_id: 8", "", "tlog.rekor_v1.shards[0].tree_id"},
		{"issuer: {key: issuer.pem}\n", "", "", "issuer"},
		{"listen: 127.0.0.1:8080", "listen: 127.0.0.1:8081", "", "listen ca.listen tlog.listen tuf.listen issuer.listen"},
	} {
		if !strings.Contains(together, tc.old) {
			t.Fatalf("there is no %q", tc.old)
		}
		after, err := Parse("sigbox.yaml", []byte(strings.Replace(together, tc.old, tc.new, 1)))
		if err != nil {
			t.Fatal(err)
		}
		live, restart := Changes(before, after)
		if strings.Join(live, " ") != tc.live || strings.Join(restart, " ") != tc.restart {
			t.Errorf("%q to %q: live %v, restart %v", tc.old, tc.new, live, restart)
		}
	}
	var names []string
	for _, path := range before.LiveFiles() {
		names = append(names, path[strings.LastIndex(path, "/")+1:])
	}
	want := strings.Fields("cert.pem key.pem issuers.yaml jwks.json peer.crt peer.key peers.pem roots.pem peer.crt peer.key peers.pem peer.crt peer.key peers.pem")
	if !reflect.DeepEqual(names, want) {
		t.Errorf("live files %v, want %v", names, want)
	}
}
