//go:build postgres

package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sigbox/sigbox/tlog/entry/entrytest"
)

// TestServeAll runs everything in one process and in three: a certificate, a timestamp, an entry, a
// trust root, and the end after SIGTERM.
func TestServeAll(t *testing.T) {
	for _, processes := range [][][]string{{nil}, {{"issuer"}, {"tlog"}, {"ca"}, {"tuf"}}} {
		t.Run(strings.Repeat("I", len(processes)), func(t *testing.T) {
			s := newTrio(t)
			file := s.config(t)
			var runs []*instanceRun
			for _, only := range processes {
				runs = append(runs, s.serve(t, file, only...))
			}
			s.certified(t)
			s.stamped(t)
			added(t, "http://"+s.at["tlog"]+"/api/v1/log/entries", entrytest.NewHashedRekord(t, []byte("a")))
			s.trustRootAppears(t, file)
			for service, want := range map[string][]string{
				"ca":   {"database ca", "ca certificates", "ca ct log", "tsa certificates"},
				"tlog": {"database tlog", "log ct", "log rekor-v1", "log rekor-v2", "guard"},
				"tuf":  {"database tuf", "tuf"},
			} {
				code, body := readyz(t, "http://"+s.at[service])
				for _, check := range want {
					if code != 200 || body.Status != "ok" || body.Checks[check] != "ok" {
						t.Errorf("%s: /readyz: %s is %q: %d %+v", service, check, body.Checks[check], code, body)
					}
				}
			}
			for service, want := range map[string][]string{
				"ca": {"Fulcio (CA)", "Timestamps"}, "tlog": {"Rekor v1", "Rekor v2", "CT log"}, "tuf": {"TUF mirror", "/clients"}, "issuer": {"Development issuer"},
			} {
				page := get(t, "http://"+s.at[service]+"/")
				for _, name := range want {
					if !strings.Contains(page, name) {
						t.Errorf("the page of %s has no %s", service, name)
					}
				}
			}
			if page := get(t, "http://"+s.at["tuf"]+"/clients/cosign-3"); !strings.Contains(page, "--fulcio-url http://"+s.at["ca"]+" --rekor-url http://"+s.at["tlog"]) {
				t.Errorf("/clients does not name the three services:\n%s", page)
			}
			if m := get(t, "http://"+s.at["ca"]+"/metrics"); !strings.Contains(m, "sigbox_ca_ct_seconds_count 1") {
				t.Errorf("metrics of the CA have not counted the promise")
			}
			for _, r := range runs {
				if code := r.stop(t, syscall.SIGTERM); code != 0 {
					t.Errorf("exit code %d after SIGTERM:\n%s", code, r.stderr)
				}
			}
		})
	}
}

// trustRootAppears looks at a repository without a set, and has one made of what the services have said.
func (s *trio) trustRootAppears(t *testing.T, file string) {
	t.Helper()
	url := "http://" + s.at["tuf"]
	status, _, header, err := answer(t.Context(), http.MethodGet, url+"/tuf/1.root.json", nil)
	if err != nil || status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("before the first set: %d %v %v", status, header, err)
	}
	if code, body := readyz(t, url); code != 200 || body.Status != "degraded" || !strings.Contains(body.Checks["tuf"], "no set yet") {
		t.Errorf("before the first set: /readyz: %d %+v", code, body)
	}
	await(t, "all statements wait", 20*time.Second, func() bool {
		_, body := readyz(t, url)
		return strings.HasPrefix(body.Notes["trust statements"], "5 wait for the holders of the targets keys (ca, ct, rekor-v1, rekor-v2, tsa)")
	})
	s.publish(t, file)
	await(t, "the first set is served, and nothing waits", 20*time.Second, func() bool {
		status, text, _, err := answer(t.Context(), http.MethodGet, url+"/trust/trusted_root.json", nil)
		_, body := readyz(t, url)
		return err == nil && status == http.StatusOK && body.Notes["trust statements"] == "" && trusts(t, text)
	})
	await(t, "metrics say when the first set expires", time.Minute, func() bool { // every 15 seconds
		m := get(t, url+"/metrics")
		return strings.Contains(m, `sigbox_expires_timestamp_seconds{what="tuf root"}`) && strings.Contains(m, "\nsigbox_tuf_statements_waiting 0\n")
	})
}

// trusts looks for one of each in a trusted root.
func trusts(t *testing.T, text string) bool {
	t.Helper()
	var root struct{ Tlogs, CertificateAuthorities, Ctlogs, TimestampAuthorities []any }
	if err := json.Unmarshal([]byte(text), &root); err != nil {
		t.Fatal(err)
	}
	return len(root.Tlogs) == 2 && len(root.Ctlogs) == 1 && len(root.CertificateAuthorities) == 1 && len(root.TimestampAuthorities) == 1
}
