//go:build postgres

package main

import (
	"bytes"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const aDay = 24 * time.Hour

// expiryLine is a kind of line that sigbox expiry prints for a configuration.
type expiryLine struct {
	name    string        // of the row, where what is not enough
	what    string        // as the line names it
	life    time.Duration // of what ends
	warned  time.Duration // before the end, the first time
	before  func(*lived)  // it is made
	prepare func(*lived)  // after that
	first   string        // how the first step begins
	planned bool          // the end stays as it was wanted, and when it comes nothing signs with the key any more
	after   func(*lived)  // what holds a second after a planned end, while it serves
}

// expiryLines are all kinds: what is made of certificates and roles when an instance is, then what the trust root
// gives an end.
var expiryLines = []expiryLine{
	{what: "tuf root", life: 365 * aDay, warned: 365 * aDay / 4, first: "sigbox tuf request --renew-root --renew-targets"},
	{what: "tuf targets", life: 365 * aDay, warned: 365 * aDay / 4, first: "sigbox tuf request --renew-root --renew-targets"},
	{what: "tuf snapshot", life: 30 * aDay, warned: 30 * aDay / 4, first: "sigbox serve --config"},
	{what: "tuf timestamp", life: 7 * aDay, warned: 7 * aDay / 2, first: "sigbox serve --config"},
	{what: "ca certificate", life: 3 * 365 * aDay, warned: 90 * aDay, first: "sigbox rotate ca-intermediate --yes"},
	{what: "tsa certificate", life: 5 * 365 * aDay, warned: 90 * aDay, prepare: keepsCA, first: "sigbox rotate tsa --yes"},
	{name: "ca certificate, as long as its issuer", what: "ca certificate", life: 700 * aDay, warned: 90 * aDay, before: rootOf(700 * aDay), first: "sigbox ca root --out ROOT"},
	{what: "ca issuer", life: 700 * aDay, warned: 90 * aDay, before: rootOf(700 * aDay), first: "sigbox ca root --out ROOT"},
	{what: "tsa issuer", life: 700 * aDay, warned: 90 * aDay, before: rootOf(700 * aDay), first: "sigbox ca root --out ROOT"},
	{what: "tls certificate", life: 90 * aDay, warned: 90 * aDay / 4, before: withTLS(90*aDay, 1000*aDay), first: "replace "},
	{what: "tls issuer", life: 400 * aDay, warned: 90 * aDay, before: withTLS(700*aDay, 400*aDay), first: "replace "},
	{what: "tlog peers certificate", life: 365 * aDay, warned: 365 * aDay / 4, prepare: shortPeer, first: "rm "},
	{name: "ca peers certificate, as long as its authority", what: "ca peers certificate", life: 700 * aDay, warned: 90 * aDay, prepare: shortPeers, first: "rm "},
	{what: "ca peers authority", life: 700 * aDay, warned: 90 * aDay, prepare: shortPeers, first: "rm "},
	{what: "ca key", life: 130 * aDay, warned: 90 * aDay, prepare: retiresCA, first: "sigbox rotate ca-intermediate --resume --yes"},
	{what: "tsa key", life: 130 * aDay, warned: 90 * aDay, prepare: retiresTSA, first: "before then, name in "},
	{what: "rekor-v2 key", planned: true, life: 130 * aDay, warned: 90 * aDay, prepare: retiresRekorV2, first: "sigbox rotate rekor-v2 --resume --yes"},
	{what: "rekor-v1 key", planned: true, life: 130 * aDay, warned: 90 * aDay, prepare: retiresRekorV1, first: "sigbox log freeze rekor-v1 --yes", after: refusesEntries},
	{what: "ct key", planned: true, life: 130 * aDay, warned: 90 * aDay, prepare: retiresCT, first: "sigbox rotate ct --resume --yes", after: inSecondCT},
	{name: "foreign root, a file", what: "foreign root", life: 90 * aDay, warned: 90 * aDay / 4, prepare: servesFile, first: "sigbox trust refresh acme --file NEWER.json"},
	{name: "foreign root, a repository", what: "foreign root", life: 365 * aDay, warned: 365 * aDay / 4, prepare: servesRepository, first: "sigbox trust refresh acme --out"},
	{what: "issuer keys", life: 400 * aDay, warned: 90 * aDay, prepare: pinsIssuer, first: "replace "},
	{what: "adopted ca", planned: true, life: 130 * aDay, warned: 90 * aDay, prepare: adopts, first: "let everybody who signs there"},
}

// TestExpiryLines has an instance that serves grow old until a line of sigbox expiry is near its end, once for each
// kind of line. A minute before the first threshold the running server warns of nothing, and then it does. What is
// printed is done as it is printed, by a shell and by people, with the machine's days going by where they wait: the
// line is gone, or its end has moved. The clock of all these programs is a file (tag simulated).
func TestExpiryLines(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "sigbox-simulated")
	build := exec.Command("go", "build", "-tags", "simulated", "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, row := range expiryLines {
		name := row.name
		if name == "" {
			name = row.what
		}
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) { row.lives(newLived(t, binary, row.life-row.warned+30*aDay)) })
	}
}

func (row expiryLine) lives(l *lived) {
	t := l.t
	if row.before != nil {
		row.before(l)
	}
	l.init()
	if row.prepare != nil {
		row.prepare(l)
	}
	l.start()
	line, list := steps(t, l.expiry(), row.what)
	end := endOf(t, line)
	if !strings.HasPrefix(list[0], row.first) {
		t.Fatalf("%s\nthe first step is %q, want %q", line, list[0], row.first)
	}
	l.goTo(end.Add(-row.warned - time.Minute))
	if got := l.warning(row.what); got != "0" {
		t.Errorf("a minute before its first threshold: warned of %s seconds", got)
	}
	l.goTo(end.Add(-row.warned + 10*time.Second))
	if got, err := strconv.ParseFloat(l.warning(row.what), 64); err != nil || math.Abs(got-row.warned.Seconds()) > 60 { // what was taken in has a life that is some seconds less
		t.Errorf("%s before its end: warned of %v seconds (%v)", row.warned, got, err)
	}
	if body := l.get("/readyz"); !strings.Contains(body, row.what+" ends in") {
		t.Errorf("readyz is silent: %s", body)
	}
	l.stop()
	l.upkeep(row.what)
	if l.meanwhile != nil {
		l.meanwhile()
	}
	_, list = steps(t, l.expiry(), row.what)
	l.mend(list)
	if row.planned {
		l.stop()
		l.goTo(end.Add(time.Second))
		l.start()
		if got := l.warning(row.what); got != "" {
			t.Errorf("the server says that it signs with it after its end: %s", got)
		}
		if row.after != nil {
			row.after(l)
		}
	}
	for after := range strings.Lines(l.expiry()) {
		if _, of, is := strings.Cut(after, "Z  "); is && strings.HasPrefix(of, row.what+" ") && !endOf(t, after).After(end) {
			t.Errorf("before: %s\nafter:  %s", line, after)
		}
	}
	l.stop()
}

// TestExpiryLinesAreAll: each row has a line in docs/expiry.md.
func TestExpiryLinesAreAll(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "expiry.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range expiryLines {
		what := row.what
		for _, service := range []string{"ca", "tlog", "tuf"} {
			if rest, is := strings.CutPrefix(what, service+" peers "); is {
				what = "SERVICE peers " + rest
			}
		}
		if strings.HasPrefix(what, "adopted ") {
			what = "adopted ROLE"
		}
		if !bytes.Contains(page, []byte("\n| `"+what+"` |")) {
			t.Errorf("docs/expiry.md has no line of %q", what)
		}
	}
}
