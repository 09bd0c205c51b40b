package ca_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/ca/storetest"
	"github.com/sigbox/sigbox/keys"
)

// export returns the lines of an export.
func export(t testing.TB, trail ca.Trail, f ca.Filter) (lines []ca.Exported, n ca.Exports) {
	t.Helper()
	var out bytes.Buffer
	n, err := ca.Export(t.Context(), &out, trail, f)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		var e ca.Exported
		dec := json.NewDecoder(strings.NewReader(line))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		lines = append(lines, e)
	}
	return lines, n
}

// TestExport: everything that an issuance made is in its line, and what failed is there too.
func TestExport(t *testing.T) {
	s := newStack(t)
	leaf := s.issue(t, emailToken("dev@example.com"))[0]
	s.clock.Advance(time.Minute)
	if err := s.records.Intend(t.Context(), storetest.Intent(7)); err != nil { // and nothing came of it
		t.Fatal(err)
	}
	lines, n := export(t, s.records, ca.Filter{})
	if len(lines) != 2 || n != (ca.Exports{Records: 2}) {
		t.Fatalf("%+v %+v", n, lines)
	}
	e := lines[0]
	id, err := keys.ID(s.ctKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	pre, err := x509.ParseCertificate(e.Precertificate)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(e.Certificate, leaf.Raw) || pre.SerialNumber.Cmp(leaf.SerialNumber) != 0 || e.Serial != fmt.Sprintf("%040x", leaf.SerialNumber) || e.State != ca.Issued ||
		e.SAN != "dev@example.com" || !e.NotAfter.Equal(leaf.NotAfter) || e.SettledAt == nil || e.SCT == nil || e.SCT.LogID != fmt.Sprintf("%x", id) || e.SCT.Timestamp.IsZero() {
		t.Errorf("issued: %+v", e)
	}
	if open := lines[1]; open.State != ca.Intended || open.SettledAt != nil || open.Certificate != nil || open.SCT != nil || open.Serial != fmt.Sprintf("%040x", 7) {
		t.Errorf("intended: %+v", open)
	}
}

// trail is a store that holds records in memory, so that one can be made that no store holds.
type trail []ca.Record

func (l trail) Records(_ context.Context, after int64, limit int) (page []ca.Record, err error) {
	for _, r := range l {
		if r.ID > after && len(page) < limit {
			page = append(page, r)
		}
	}
	return page, nil
}

// TestExportNamesRules: each row is what let a token through, and how its line says so.
func TestExportNamesRules(t *testing.T) {
	sum := "0305" + strings.Repeat("0", 60)
	for _, tc := range []struct {
		name   string
		intent ca.Intent
		want   string // between the name and the key
	}{
		{"no rules", storetest.Intent(5), `"san":"dev@example.com","spki_sha256"`},
		{"one rule", storetest.Granted(5, "main only"), `"san":"dev@example.com","rules_sha256":"` + sum + `","rules":["main only"],"spki_sha256"`},
		{"two rules", storetest.Granted(5, "our \"own\"", "main only"), `"rules_sha256":"` + sum + `","rules":["our \"own\"","main only"],"spki_sha256"`},
	} {
		var out bytes.Buffer
		if _, err := ca.Export(t.Context(), &out, trail{{ID: 1, Intent: tc.intent, State: ca.Intended}}, ca.Filter{}); err != nil || !strings.Contains(out.String(), tc.want) {
			t.Errorf("%s: %v %s, want %s", tc.name, err, out.String(), tc.want)
		}
	}
}

// TestExportFilters: each row is a filter and the records that it wants.
func TestExportFilters(t *testing.T) {
	var all trail
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range int64(1200) { // more than two pages
		r := ca.Record{ID: 2 * (i + 1), Intent: storetest.Intent(i + 1), State: ca.Intended}
		r.At = at.Add(time.Duration(i) * time.Minute)
		all = append(all, r)
	}
	all[3].Issuer, all[4].Subject, all[5].SAN, all[6].State = "https://other.example.com", "other", "other@example.com", ca.Precertified
	for _, tc := range []struct {
		name  string
		f     ca.Filter
		want  int
		first int64
	}{
		{"all", ca.Filter{}, 1200, 2},
		{"from a time on", ca.Filter{Since: at.Add(1100 * time.Minute)}, 100, 2202},
		{"before a time", ca.Filter{Until: at.Add(10 * time.Minute)}, 10, 2},
		{"issuer", ca.Filter{Issuer: "https://other.example.com"}, 1, 8},
		{"part of an issuer", ca.Filter{Issuer: "https://other.example.co"}, 0, 0},
		{"subject", ca.Filter{Subject: "other"}, 1, 10},
		{"name", ca.Filter{SAN: "other@example.com"}, 1, 12},
		{"state", ca.Filter{State: ca.Precertified}, 1, 14},
		{"after an ID", ca.Filter{After: 2398}, 1, 2400},
		{"two at once", ca.Filter{Issuer: "https://other.example.com", Subject: "other"}, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			lines, n := export(t, all, tc.f)
			if len(lines) != tc.want || n.Records != tc.want || tc.want > 0 && lines[0].ID != tc.first {
				t.Errorf("%d records, want %d from %d", len(lines), tc.want, tc.first)
			}
		})
	}
}

// TestExportFindsProblems: each row is one thing wrong with a record, which its line names.
func TestExportFindsProblems(t *testing.T) {
	s := newStack(t)
	s.issue(t, emailToken("dev@example.com"))
	s.issue(t, emailToken("other@example.com"))
	good := storetest.All(t, s.records)
	for _, tc := range []struct {
		name   string
		change func(r *ca.Record)
		want   string
	}{
		{"nothing", func(*ca.Record) {}, ""},
		{"another precertificate", func(r *ca.Record) { r.Precertificate = good[1].Precertificate }, "precertificate: has the serial number"},
		{"another certificate", func(r *ca.Record) { r.Certificate = good[1].Certificate }, "certificate: has the serial number"},
		{"another time", func(r *ca.Record) { r.NotAfter = r.NotAfter.Add(time.Second) }, "certificate: is valid from"},
		{"another key", func(r *ca.Record) { r.SPKISHA256[0]++ }, "certifies another key"},
		{"another intent", func(r *ca.Record) { r.TBSSHA256[0]++ }, "is not the one that was intended"},
		{"the precertificate twice", func(r *ca.Record) { r.Certificate = r.Precertificate }, "certificate: has no SCT"},
		{"no certificate", func(r *ca.Record) { r.Certificate = []byte("x") }, "certificate: x509"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := good[0]
			r.ID = 1
			tc.change(&r)
			lines, n := export(t, trail{r}, ca.Filter{})
			got := strings.Join(lines[0].Problems, "; ")
			if tc.want == "" && (got != "" || n.Problems != 0) || tc.want != "" && (n.Problems != 1 || !strings.Contains(got, tc.want)) {
				t.Errorf("problems %q, want %q", got, tc.want)
			}
		})
	}
}

// TestExportStops where nothing can be read or written any more.
func TestExportStops(t *testing.T) {
	gone := errors.New("gone")
	if _, err := ca.Export(t.Context(), failing{gone}, trail{{ID: 1, Intent: storetest.Intent(1)}}, ca.Filter{}); !errors.Is(err, gone) {
		t.Errorf("writer is gone: %v", err)
	}
	if _, err := ca.Export(t.Context(), &bytes.Buffer{}, failing{gone}, ca.Filter{}); !errors.Is(err, gone) {
		t.Errorf("database is gone: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
func (f failing) Records(context.Context, int64, int) ([]ca.Record, error) {
	return nil, f.err
}
