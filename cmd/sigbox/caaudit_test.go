package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/internal/sqlite"
)

// TestAuditExport: each row is what is asked for beside a running instance that has issued one certificate, and
// whether its line is there. One that does not fit is named, and the exit code says so.
func TestAuditExport(t *testing.T) {
	data := newData(t)
	r := start(t, "--data", data, "--listen", freeAddr(t))
	if status, answer := postTo(t, r.url+"/api/v2/signingCert", certRequest(t, r.url)); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	export := func(args ...string) (e ca.Exported, stderr string, code int) {
		t.Helper()
		out, stderr, code := run(t, append([]string{"ca", "audit", "export", "--data", data}, args...)...)
		if out != "" && json.Unmarshal([]byte(out), &e) != nil {
			t.Errorf("%q: want one line: %s", args, out)
		}
		return e, stderr, code
	}
	all, stderr, code := export()
	if code != 0 || all.SAN != "dev@example.com" || all.State != ca.Issued || len(all.Problems) > 0 {
		t.Fatalf("code %d, %+v %s", code, all, stderr)
	}
	now := time.Now().UTC()
	ago, ahead, id := now.Add(-time.Hour).Format(time.RFC3339), now.Add(time.Hour).Format(time.RFC3339), fmt.Sprint(all.ID)
	for _, tc := range []struct {
		flag, those, others string
	}{
		{"--since", ago, ahead}, {"--until", ahead, ago}, {"--issuer", all.Issuer, r.url + "/other"}, {"--subject", all.Subject, "other"},
		{"--san", all.SAN, "other@example.com"}, {"--state", "issued", "precertified"}, {"--after", "0", id},
	} {
		if e, stderr, code := export(tc.flag, tc.those); code != 0 || e.ID != all.ID {
			t.Errorf("%s %s: code %d, %+v %s", tc.flag, tc.those, code, e, stderr)
		}
		if e, stderr, code := export(tc.flag, tc.others); code != 0 || e.ID != 0 {
			t.Errorf("%s %s: code %d, %+v %s", tc.flag, tc.others, code, e, stderr)
		}
	}
	if code := r.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("up ended with %d", code)
	}
	db, err := sqlite.Open(t.Context(), filepath.Join(data, "sigbox.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Writer().ExecContext(t.Context(), "UPDATE ca_issuance SET not_after = not_after + 1"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if e, stderr, code := export(); code != 1 || len(e.Problems) != 2 || !strings.Contains(stderr, "1 of 1 records have problems") {
		t.Errorf("changed: code %d, %q %s", code, e.Problems, stderr)
	}
}

// TestAuditExportRefuses: each row is something that cannot be asked for.
func TestAuditExportRefuses(t *testing.T) {
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
