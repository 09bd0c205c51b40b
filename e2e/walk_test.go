package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/clients"
	"github.com/sigbox/sigbox/e2e/internal/fleet"
	"github.com/sigbox/sigbox/e2e/internal/instance"
	"github.com/sigbox/sigbox/internal/pgtest"
)

const (
	walkClients = "cosign 2, 3, gitsign, python-tuf, sigstore-js"
	walkRow     = "13 months of ceremonies and rotations that end now: from the root of month 0, 6 and 12 they come to the newest, and verify what was signed in month 0, 6, 7 and now"

	aheadClients = "go-tuf, python-tuf, tuf-js"
	aheadRow     = "the same by a reference time, and another year of ours: each set is good until its first part expires, and once that is signed again"

	secondsClients = "cosign 2, 3, gitsign, python-tuf, tuf-js"
	secondsRow     = "a root, targets, snapshot or timestamp that expires within seconds: taken before, refused after, with a cache and without"

	// walkHours are 13 months.
	walkHours = 396 * 24
)

// aged is a fleet of one process that is 13 months old.
type aged struct {
	*fleet.Fleet
	*rig
	clock     string   // the file of the offset
	simulated string   // the binary whose clock that is
	env       []string // of scripts that simulate
	months    string   // where what clients of before have is kept, and what was signed
}

// age makes an instance 13 months ago, in the time of a clock of ours, and has the months happen to it. In the end
// it is served by the binary under test, whose clock is the machine's.
func age(t *testing.T) *aged {
	t.Helper()
	dir := t.TempDir()
	a := &aged{clock: filepath.Join(dir, "clock")}
	a.simulated = filepath.Join(world.tmp, "sigbox-simulated")
	if err := instance.Build(context.Background(), "..", a.simulated, "simulated"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.clock, fmt.Appendf(nil, "-%dh", walkHours), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	a.Fleet, err = fleet.OneProcess.Start(context.Background(), fleet.Options{
		Binary: a.simulated, Dir: filepath.Join(dir, "sigbox"), Env: append(newRig(t, dir).base(), "SIGBOX_CLOCK_OFFSET="+a.clock),
		Database: pgtest.Start(t).URL("postgres"), Guard: pgtest.Start(t).URL("postgres"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(a.Log())
		}
		if err := a.Fleet.Stop(); err != nil {
			t.Error(err)
		}
	})
	a.rig = newRig(t, t.TempDir())
	a.issuer, a.mirror, a.rekor, a.months = a.URLs["issuer"], a.URLs["tuf"]+"/tuf", a.URLs["tlog"], a.work
	config := a.Of("tuf")[0].Config()
	a.env = append(a.rig.env(t, logVars(a.rig, 1)...), "CLOCK="+a.clock, fmt.Sprintf("HOURS=%d", walkHours), "SIMULATED="+a.simulated, "CONFIG="+config,
		"KEYS="+filepath.Join(filepath.Dir(config), "offline"), "FULCIO="+a.URLs["ca"])
	for i, part := range thirteenMonths {
		if i > 0 {
			a.restarted(t)
		}
		a.simulate(t, part)
	}
	a.Use(world.sigbox)
	a.restarted(t)
	a.exportTrust(t)
	return a
}

func (a *aged) simulate(t *testing.T, script string) {
	t.Helper()
	out := a.script(t, simulating+script, a.env)
	if os.Getenv("SIGBOX_E2E_SHOW") != "" {
		t.Log(out)
	}
}

func (a *aged) restarted(t *testing.T) {
	t.Helper()
	if err := a.Fleet.Restart(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// python is the modules that sigstore-python was installed with, python-tuf among them.
func python(t *testing.T) string {
	t.Helper()
	dir, err := clients.SigstorePython.Dir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "modules")
}

// TestWalk: clients that have not been run for 13, 7 and 1 months.
func TestWalk(t *testing.T) {
	t.Parallel()
	a := age(t)
	t.Run("now", func(t *testing.T) { walkNow(t, a) })
	t.Run("ahead", func(t *testing.T) { walkAhead(t, a) })
}

// visit is a rig of a client of its own.
func (a *aged) visit(t *testing.T, month int) (*rig, []string) {
	t.Helper()
	r := newRig(t, t.TempDir())
	r.issuer, r.mirror, r.rekor = a.issuer, a.mirror, a.rekor
	return r, append(r.env(t, logVars(r, 1)...), fmt.Sprintf("N=%d", month), "NEWEST="+a.newest(t), "MONTHS="+a.months, "PYMODULES="+python(t))
}

// newest is what clients come to, as the scripts print it.
func (a *aged) newest(t *testing.T) string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(a.script(t, walking+"set +x\nnewest", a.env)), "\n")
	return lines[len(lines)-1]
}

func walkNow(t *testing.T, a *aged) {
	defer cell(t, walkClients, walkRow, 1)()
	defer cellOf(t, walkClients, walkRow, 2, "yes: cosign 3, what is signed now")()
	a.script(t, atGates+signedNow, append(a.rig.env(t, logVars(a.rig, 1)...),
		"MONTHS="+a.months, "HOME="+filepath.Join(a.months, "signer"), "TOKEN="+a.token(t, "dev@example.com")))
	for name, script := range walkers {
		for _, month := range months {
			t.Run(fmt.Sprintf("%s from %d", name, month), func(t *testing.T) {
				r, env := a.visit(t, month)
				r.script(t, walking+script, env)
			})
		}
	}
}

// months are those of which there is a root to begin with.
var months = []int{0, 6, 12}

// walkAhead holds libraries against the set as it is now, and as it is in the year to come.
func walkAhead(t *testing.T, a *aged) {
	defer cell(t, aheadClients, aheadRow, 1)()
	at := func(role string) time.Time { return a.expires(t, role) }
	a.takes(t, "a second before the timestamp expires", at("timestamp").Add(-time.Second))
	a.refuses(t, "when the timestamp has expired", "timestamp", at("timestamp").Add(time.Second))

	a.Use(a.simulated)
	a.goTo(t, 426)
	a.restarted(t)
	a.simulate(t, ahead[0])
	a.takes(t, "day 670", a.day(670))
	a.goTo(t, 729)
	a.restarted(t) // the timestamp is signed again, which it is not any more when the targets have expired
	for deadline := time.Now().Add(time.Minute); at("timestamp").Before(a.day(732)); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the timestamp is not signed again within a minute")
		}
	}
	a.refuses(t, "when the targets have expired", "targets", a.day(731))
	a.goTo(t, 731)
	a.simulate(t, ahead[1])
	a.takes(t, "when the targets are signed again", a.day(731))
}

// day is the time of a day after the beginning, some minutes later.
func (a *aged) day(n int) time.Time {
	return time.Now().Add(time.Duration(n*24-walkHours)*time.Hour + 10*time.Minute).UTC()
}

// goTo moves the clock of what simulates.
func (a *aged) goTo(t *testing.T, day int) {
	t.Helper()
	if err := os.WriteFile(a.clock, fmt.Appendf(nil, "%dh", day*24-walkHours), 0o600); err != nil {
		t.Fatal(err)
	}
}
