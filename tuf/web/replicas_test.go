package web_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/trustroot"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

// away is a store that can be out of reach.
type away struct {
	tuf.Store
	gone  atomic.Bool
	asked atomic.Int32
}

func (a *away) Versions(ctx context.Context) (tuf.Versions, error) {
	a.asked.Add(1)
	if a.gone.Load() {
		return tuf.Versions{}, errors.New("the database is away")
	}
	return a.Store.Versions(ctx)
}

// TestReplicas: clients that a balancer sends from one replica to another see one repository, whichever
// replica has published.
func TestReplicas(t *testing.T) {
	cfg := tuftest.Config(t, clock.System{})
	one := tuf.New(cfg)
	url := serve(t, one).URL
	if err := one.Create(t.Context(), tuftest.Compose(t, tuftest.Material(t, url, time.Now()))); err != nil {
		t.Fatal(err)
	}
	store := &away{Store: cfg.Store}
	cfg.Store = store
	two := tuf.New(cfg)
	other := serve(t, two).URL
	if err := two.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish := func() tuf.Versions {
		t.Helper()
		if changed, err := one.Publish(t.Context(), tuftest.Compose(t, tuftest.Material(t, url, time.Now()))); err != nil || !changed {
			t.Fatal(changed, err)
		}
		return one.Published().Versions()
	}
	t.Run("what the new timestamp names", func(t *testing.T) {
		publish()
		if res, _ := get(t, http.MethodGet, other+"/tuf/2.snapshot.json"); res.StatusCode != http.StatusOK {
			t.Errorf("a snapshot that another replica has published: %d", res.StatusCode)
		}
	})
	t.Run("no older timestamp", func(t *testing.T) {
		publish()
		_, want := get(t, http.MethodGet, url+"/tuf/timestamp.json")
		if _, got := get(t, http.MethodGet, other+"/tuf/timestamp.json"); !bytes.Equal(got, want) {
			t.Errorf("the other replica has an older timestamp:\n%s\n%s", got, want)
		}
	})
	t.Run("clients", func(t *testing.T) {
		both := http.NewServeMux()
		turns := atomic.Int32{}
		both.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, []string{url, other}[turns.Add(1)%2]+r.URL.Path, http.StatusTemporaryRedirect)
		})
		balancer := newServer(t, both)
		all := clients(t, balancer+"/tuf", rootOf(t, one))
		for range 3 {
			publish()
			for generation, c := range all {
				if _, err := c.fetch(trustroot.TrustedRootName); err != nil {
					t.Errorf("%s: %v", generation, err)
				}
			}
		}
	})
	t.Run("without a database", func(t *testing.T) {
		store.gone.Store(true)
		before := store.asked.Load()
		for range 5 {
			if res, _ := get(t, http.MethodGet, other+"/tuf/timestamp.json"); res.StatusCode != http.StatusOK {
				t.Errorf("%d", res.StatusCode)
			}
		}
		if n := store.asked.Load() - before; n != 1 {
			t.Errorf("the database that is away was asked %d times by 5 readers", n)
		}
	})
}
