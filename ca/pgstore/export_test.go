package pgstore_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/ca/pgstore"
	"github.com/sigbox/sigbox/internal/pgtest"
)

// TestExport: the line of an issuance has all that PostgreSQL keeps of it, and is sound.
func TestExport(t *testing.T) {
	server := pgtest.Shared(t)
	v := newVictim(t, server, server.URL)
	chain, err := v.issue(t)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	n, err := ca.Export(t.Context(), &out, v.healthy, ca.Filter{State: ca.Issued, Subject: "subject-1"})
	if err != nil || n != (ca.Exports{Records: 2}) {
		t.Fatalf("%+v %v", n, err)
	}
	lines := bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n"))
	var last ca.Exported
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil || !bytes.Equal(last.Certificate, chain[0].Raw) || last.SCT == nil || last.Precertificate == nil {
		t.Errorf("%v %+v", err, last)
	}
}

// TestTimes: the clock of the database, and the time of the latest intent, which is the authority's.
func TestTimes(t *testing.T) {
	server := pgtest.Shared(t)
	empty := pgstore.New(openDB(t, server.URL(newDatabase(t, server))))
	now, latest, err := empty.Times(t.Context())
	if err != nil || !latest.IsZero() || time.Since(now).Abs() > time.Minute {
		t.Errorf("empty: %s, %s, %v", now, latest, err)
	}
	v := newVictim(t, server, server.URL) // has issued one
	if _, latest, err = v.healthy.Times(t.Context()); err != nil || !latest.Equal(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)) {
		t.Errorf("latest %s, %v", latest, err)
	}
}
