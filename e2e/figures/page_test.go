package figures

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/record"
)

var (
	figuresDir = filepath.Join("..", "..", "docs", "figures")
	page       = filepath.Join("..", "..", "docs", "benchmarks.md")
)

// TestPage compares docs/benchmarks.md with what the files in docs/figures say. With -update it
// writes the page.
func TestPage(t *testing.T) {
	var b bytes.Buffer
	writePage(t, &b)
	if *update {
		if err := os.WriteFile(page, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(page)
	if err != nil || !bytes.Equal(have, b.Bytes()) {
		t.Errorf("%s is not what docs/figures says (%v): run `go test ./figures -run TestPage -update` in e2e, and commit both", page, err)
	}
}

// read reads the figures of a test; there are none before its first run.
func read[T any](t *testing.T, name string) (f record.File[T], there bool) {
	t.Helper()
	f, err := record.Read[T](filepath.Join(figuresDir, name+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return f, false
	}
	if err != nil {
		t.Fatalf("%s.json: %v", name, err)
	}
	return f, true
}

const intro = `# Benchmarks

Made by a test from the JSON in [figures](figures), which ` + "`make figures`" + ` writes; not edited by hand.

Everything runs on one machine, the load generator included, on loopback; every PostgreSQL has fsync on.
What is compared runs in turns. Each figure is the median of several runs, by throughput; latencies
belong to that run, in milliseconds. Loads of HTTP are those of ` + "`sigbox bench`" + `, where nothing else is said, which
checks every answer; a wrong or failed one fails the measurement. A figure of one machine means nothing on another.
`

func writePage(t *testing.T, b *bytes.Buffer) {
	t.Helper()
	b.WriteString(intro)
	engine, haveEngine := read[Engine](t, "engine")
	rekor, haveRekor := read[Rekor](t, "rekor")
	authority, haveAuthority := read[Authority](t, "authority")
	agree, haveAgree := read[Agree](t, "agree")
	if haveEngine || haveRekor || haveAuthority {
		writeTargets(b, append(targets(engine.Figures, rekor.Figures), authority.Figures.targets()...))
	}
	if haveEngine {
		section(b, "The log engine alone", engine.Test, engine.Commit, engine.Started, engine.Machine)
		b.WriteString("Writers in one process with the log, each waiting until its entry is in it. Tessera publishes a checkpoint every 100 ms, its minimum.\n\n")
		writeCells(b, engine.Figures)
	}
	if haveRekor {
		section(b, "Rekor v1 and v2 through HTTP", rekor.Test, rekor.Commit, rekor.Started, rekor.Machine)
		writeLoads(b, rekor.Figures)
		fmt.Fprintf(b, "\n## Large logs\n\nOf the same run.\n\n")
		writeSizes(b, rekor.Figures)
	}
	if haveAuthority {
		section(b, "Certificates and timestamps through HTTP", authority.Test, authority.Commit, authority.Started, authority.Machine)
		writeAuthority(b, authority.Figures)
	}
	if haveAgree {
		section(b, "Do the load tools agree?", agree.Test, agree.Commit, agree.Started, agree.Machine)
		b.WriteString("`sigbox bench` and the independent tools logbench and certbench load one server in turns; medians of their rates a second.\n\n")
		writePairs(b, agree.Figures)
	}
}

func section(b *bytes.Buffer, title, test, commit, started string, m record.Machine) {
	fmt.Fprintf(b, "\n## %s\n\n%s at commit %.12s, %s; %d processors, %s, %s.\n\n", title, test, commit, started, m.CPUs, m.OS, m.Go)
}

// row writes a row of a table; after the first one, the line below a heading.
func row(b *bytes.Buffer, heading bool, cells ...string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	if heading {
		b.WriteString("|---" + strings.Repeat("|---:", len(cells)-1) + "|\n")
	}
}

func writeCells(b *bytes.Buffer, e Engine) {
	row(b, true, "writers", "sigbox /s", "p50", "p99", "Tessera POSIX /s", "p50", "p99", "sigbox / Tessera")
	for i, c := range e.Sigbox {
		cells := []string{fmt.Sprint(c.Writers), number(c.PerSecond), ms(c.LatencyMS.P50), ms(c.LatencyMS.P99)}
		if i < len(e.Tessera) {
			p := e.Tessera[i]
			cells = append(cells, number(p.PerSecond), ms(p.LatencyMS.P50), ms(p.LatencyMS.P99), ratio(c.PerSecond, p.PerSecond))
		} else {
			cells = append(cells, "", "", "", "")
		}
		row(b, false, cells...)
	}
}

// loads are those of one API on one server, by clients.
type loads struct {
	what string
	list []Load
}

func writeLoads(b *bytes.Buffer, r Rekor) {
	var all []loads
	add := func(what string, v1, v2 []Load) {
		for _, l := range []loads{{what + ", v1", v1}, {what + ", v2", v2}} {
			if len(l.list) > 0 {
				all = append(all, l)
			}
		}
	}
	for _, p := range r.Peers {
		add(p.What, p.V1, p.V2)
	}
	for _, s := range r.Sizes {
		add(s.What+", "+s.label(), s.V1, s.V2)
		add(s.Two.What+", "+s.label(), s.Two.V1, s.Two.V2)
	}
	if len(all) == 0 {
		return
	}
	peer := peerV1(r)
	heading := []string{"server"}
	for _, l := range all[len(all)-1].list {
		heading = append(heading, fmt.Sprintf("%d: /s", l.Clients), "p50", "p99")
	}
	row(b, true, append(heading, "times Rekor v1 upstream")...)
	for _, l := range all {
		cells := []string{l.what}
		for _, c := range l.list {
			cells = append(cells, number(c.PerSecond), ms(c.LatencyMS.P50), ms(c.LatencyMS.P99))
		}
		last := ""
		if peer.PerSecond > 0 && len(l.list) > 0 {
			last = ratio(l.list[len(l.list)-1].PerSecond, peer.PerSecond)
		}
		row(b, false, append(cells, last)...)
	}
	b.WriteString("\nThe number before the colon is how many clients there are. The last column compares the throughput with most clients.\n")
}

// label says how large the log was. A new one has two entries of its own.
func (s Size) label() string {
	if s.Entries < 100 {
		return "empty log"
	}
	return count(s.Entries) + " entries"
}

// peerV1 is upstream's Rekor v1 with most clients.
func peerV1(r Rekor) Load {
	for _, p := range r.Peers {
		if len(p.V1) > 0 {
			return p.V1[len(p.V1)-1]
		}
	}
	return Load{}
}

func writeSizes(b *bytes.Buffer, r Rekor) {
	heading := []string{""}
	for _, s := range r.Sizes {
		heading = append(heading, s.label())
	}
	row(b, true, heading...)
	line := func(name string, cell func(Size) string) {
		cells := []string{name}
		for _, s := range r.Sizes {
			cells = append(cells, cell(s))
		}
		row(b, false, cells...)
	}
	line("entries in the Rekor v2 log, in the same tables", func(s Size) string { return count(s.EntriesV2) })
	line("filled through the engine, entries/s", func(s Size) string { return number(s.Filling.PerSecond) })
	line("WAL bytes an entry, filling", func(s Size) string {
		return number(float64(s.Filling.WALBytes) / float64(max(s.Filling.Entries, 1)))
	})
	line("WAL bytes an entry, Rekor v1 with most clients", func(s Size) string { return number(s.WALPerEntry) })
	line("table bytes an entry", func(s Size) string { return number(s.Disk.TablePerEntry) })
	line("index bytes an entry", func(s Size) string { return number(s.Disk.IndexPerEntry) })
	line("resident memory of sigbox after the load, MB", func(s Size) string { return number(float64(s.Memory.Resident) / 1e6) })
	line("its peak, MB", func(s Size) string { return number(float64(s.Memory.Peak) / 1e6) })
	line("search by hash, p50 / p99 ms", func(s Size) string { return ms(s.Search.P50) + " / " + ms(s.Search.P99) })
	line("entry with proof, p50 / p99 ms", func(s Size) string { return ms(s.Proof.P50) + " / " + ms(s.Proof.P99) })
	line("fsck, leaves/s", func(s Size) string { return number(s.Fsck.PerSecond) })
	for i, w := range writersOf(r) {
		line(fmt.Sprintf("engine alone, %d writers, entries/s", w), func(s Size) string {
			if i < len(s.Engine) {
				return number(s.Engine[i].PerSecond)
			}
			return "above"
		})
	}
}

func writersOf(r Rekor) (list []int) {
	for _, s := range r.Sizes {
		if len(s.Engine) > len(list) {
			list = nil
			for _, c := range s.Engine {
				list = append(list, c.Writers)
			}
		}
	}
	return list
}

func writePairs(b *bytes.Buffer, a Agree) {
	row(b, true, "target", "clients", "sigbox bench", "the other tool", "difference")
	for _, p := range a.Pairs {
		same := func(f float64) float64 { return f }
		row(b, false, p.What, fmt.Sprint(p.Clients), number(median(p.Ours, same)), number(median(p.Theirs, same)), fmt.Sprintf("%+.1f %%", 100*p.Difference))
	}
}

func number(f float64) string {
	switch {
	case f == 0:
		return ""
	case f < 10:
		return fmt.Sprintf("%.1f", f)
	}
	return count(int64(f + 0.5))
}

// count writes a number with a comma at every thousand.
func count(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func ms(f float64) string { return fmt.Sprintf("%.1f", f) }

func ratio(a, b float64) string { return fmt.Sprintf("%.1f", a/b) }
