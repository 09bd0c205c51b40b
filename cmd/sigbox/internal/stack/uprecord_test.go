package stack

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tuf/record"
)

// TestUpKeepsARecord: the set of `sigbox up` has the record that it was composed from; a start at
// another URL, even in the same second, adds to it, and one at the same URL changes nothing.
func TestUpKeepsARecord(t *testing.T) {
	now := clock.NewManual(time.Now().UTC().Truncate(time.Second))
	path := filepath.Join(t.TempDir(), "data")
	quiet := slog.New(slog.DiscardHandler)
	err := instance.Create(path, "127.0.0.1", instance.SQLite, now.Now(), func(d *instance.Dir) error {
		return Create(t.Context(), d, "http://127.0.0.1:1", "", now, quiet)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		url     string
		targets int64
	}{{"http://127.0.0.1:1", 1}, {"http://127.0.0.1:1", 1}, {"http://127.0.0.1:2", 2}, {"http://127.0.0.1:2", 2}, {"http://127.0.0.1:1", 3}} {
		d, err := instance.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), Options{Dir: d, URL: step.url, Clock: now, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		cur, err := s.repo.Current(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		rec, err := record.Parse(cur.Record)
		if err != nil {
			t.Fatal(err)
		}
		if cur.Targets.Version != step.targets || len(rec.Keys) != 5 || rec.Instance != d.Info.ID {
			t.Errorf("at %s: targets version %d, %d keys, instance %s; want version %d", step.url, cur.Targets.Version, len(rec.Keys), rec.Instance, step.targets)
		}
		open := 0
		for _, i := range rec.Issuers {
			if i.End.IsZero() {
				open++
				if i.URL != step.url {
					t.Errorf("at %s: issuer %s", step.url, i.URL)
				}
			}
		}
		if open != 1 {
			t.Errorf("at %s: %d issuers in use", step.url, open)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
