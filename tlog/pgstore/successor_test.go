package pgstore_test

import (
	"errors"
	"testing"

	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/pgstore"
)

// TestSuccessor: a log has one successor, which is of use only where that is kept.
func TestSuccessor(t *testing.T) {
	s := pgtest.Shared(t)
	db := openDB(t, s.URL(newDatabase(t, s)))
	create := func(name, follows string) error {
		cfg := logtest.Config(t, func(c *tlog.Config) {
			c.Name, c.Follows, c.Signer = name, follows, logtest.Signer(t, "log.test", "log.test - "+name)
		})
		return tlog.Create(t.Context(), openStore(t, db, name), cfg, nil)
	}
	for _, step := range []struct {
		name, follows string
		refused       bool
	}{
		{"1", "", false}, {"2", "1", false}, {"3", "1", true}, {"3", "2", false}, {"4", "4", true}, {"5", "nobody", true}, {"6", "", false},
	} {
		if err := create(step.name, step.follows); (err != nil) != step.refused {
			t.Errorf("log %s that goes on for %q: %v", step.name, step.follows, err)
		}
	}
	list, err := pgstore.List(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		if want := map[string]string{"1": "", "2": "1", "3": "2", "6": ""}[d.Name]; d.Follows != want {
			t.Errorf("log %s goes on for %q, want %q", d.Name, d.Follows, want)
		}
	}
	if err := create("7", "1"); !errors.Is(err, tlog.ErrExists) {
		t.Errorf("a second successor: %v", err)
	}
}
