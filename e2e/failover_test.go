package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/fleet"
	"github.com/sigbox/sigbox/e2e/internal/witness"
	"github.com/sigbox/sigbox/internal/pgtest"
)

// cluster is a PostgreSQL primary with a streaming standby, and a fleet that knows both by name.
type cluster struct {
	primary, standby *pgtest.Server
	fleet            *fleet.Fleet
}

func startCluster(t *testing.T, s fleet.Shape) cluster {
	t.Helper()
	c := cluster{primary: pgtest.Start(t)}
	c.standby = c.primary.Standby(t, "standby")
	c.fleet = startFleet(t, s, fmt.Sprintf("postgres://postgres@%s,%s/postgres?sslmode=disable&target_session_attrs=read-write", c.primary.Address(), c.standby.Address()))
	return c
}

const promotionRow = "PostgreSQL primary lost under load, synchronous standby promoted: nothing is missing"

// TestPromotion loses the primary under load and promotes a synchronous standby: nothing that was
// acknowledged is missing, and the services go on by themselves.
func TestPromotion(t *testing.T) {
	defer cell(t, "cosign 3", promotionRow, 0)()
	c := startCluster(t, fleet.ThreeProcesses)
	c.primary.SetSync(t, "standby")
	s, stop := besiege(t, c.fleet)
	defer func() { stop() }()
	s.await(t)
	s.gaps()
	c.primary.Kill(t)
	lost := time.Now()
	time.Sleep(time.Second) // those who watch a primary take a while to be sure
	c.standby.Promote(t)
	promoted := time.Now()
	c.standby.SetSync(t, "")
	s.await(t)
	fmt.Printf("promotion of a synchronous standby %s after the primary was lost: all requests succeed again %s later; longest without success: %s\n",
		promoted.Sub(lost).Round(time.Millisecond), time.Since(promoted).Round(time.Millisecond), s.gaps())
	stop()
	s.settle(t)
	stop = func() {}
}

// TestLossyPromotion promotes a standby that lacks the last commits: reads go on, no log takes an entry
// or signs a head, and every process says ROLLBACK DETECTED.
func TestLossyPromotion(t *testing.T) {
	c := startCluster(t, fleet.Replicated)
	s, stop := besiege(t, c.fleet)
	defer func() { stop() }()
	s.await(t)
	before := len(s.v1.Entries())
	c.standby.Kill(t) // it misses what follows, and comes back when the primary is gone
	s.await(t)
	s.await(t)
	if len(s.v1.Entries()) == before {
		t.Fatal("nothing was acknowledged that the standby lacks")
	}
	c.primary.Kill(t)
	c.standby.Restart(t)
	c.standby.Promote(t)
	for _, m := range c.fleet.Of("tlog") {
		awaitRollback(t, m.First)
	}
	stop()
	stop = func() {}
	if s.broken != nil {
		t.Fatal(s.broken)
	}
	tlog := witness.NewClient(c.fleet.URLs["tlog"])
	defer tlog.Close()
	ctx := context.Background()
	w, err := witness.NewWriter()
	if err != nil {
		t.Fatal(err)
	}
	size := len(s.v1.Entries())
	if err := w.WriteV1(ctx, tlog, s.v1); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("write after the loss: %v, want a 503", err)
	}
	if len(s.v1.Entries()) != size {
		t.Error("an entry was acknowledged by a log that has lost others")
	}
	first := s.v1.Entries()[0]
	if err := witness.CheckEntriesV1(ctx, tlog, s.v1, s.v1.Entries()[:1]); err != nil {
		t.Errorf("entry %d cannot be read: %v", first.Index, err)
	}
}

// awaitRollback waits until a process says in /readyz that its database has lost entries. listening is
// what follows "ready " in its first line.
func awaitRollback(t *testing.T, listening string) {
	t.Helper()
	addr, _, _ := strings.Cut(listening, " ")
	var body string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get("http://" + addr + "/readyz")
		if err != nil {
			body = err.Error()
			continue
		}
		var r struct {
			Status string
			Checks map[string]string
		}
		err = json.NewDecoder(resp.Body).Decode(&r)
		resp.Body.Close()
		body = fmt.Sprint(resp.StatusCode, r, err)
		if err == nil && resp.StatusCode == http.StatusOK && r.Status == "degraded" && strings.Contains(fmt.Sprint(r.Checks), "ROLLBACK DETECTED") {
			return
		}
	}
	t.Fatalf("%s/readyz a minute after the loss: %s", addr, body)
}
