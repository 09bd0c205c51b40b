package figures

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/filler"
	"github.com/sigbox/sigbox/e2e/internal/peers"
	"github.com/sigbox/sigbox/internal/pgtest"
)

// Rekor are the figures of TestRekor, through HTTP.
type Rekor struct {
	Span  float64  `json:"span_seconds"` // of one measurement
	Peers []Server `json:"peers"`        // upstream's servers, with next to nothing in their logs
	Sizes []Size   `json:"sizes"`        // sigbox, with logs of these sizes
}

// Server is what one server did.
type Server struct {
	What string `json:"what"`
	V1   []Load `json:"rekor_v1,omitempty"`
	V2   []Load `json:"rekor_v2,omitempty"`
}

// Size is sigbox with a log of a size.
type Size struct {
	Server
	Entries      int64   `json:"entries_before"`    // of the Rekor v1 log
	EntriesV2    int64   `json:"entries_before_v2"` // of the Rekor v2 log in the same tables
	EntriesAfter int64   `json:"entries_after"`
	Filling      Filling `json:"filling"`
	Engine       []Cell  `json:"engine"` // without HTTP
	Two          Server  `json:"two_replicas"`
	Memory       Memory  `json:"memory"` // after all of it
	WALPerEntry  float64 `json:"wal_bytes_per_entry"`
	Disk         Disk    `json:"disk"`
	Search       Latency `json:"search_ms"` // by hash, one client
	Proof        Latency `json:"proof_ms"`  // entry with its inclusion proof, by index, one client
	Fsck         Fsck    `json:"fsck"`
}

// Disk is what the log's tables take, in bytes for each entry of all logs.
type Disk struct {
	Entries       int64   `json:"entries"`
	TablePerEntry float64 `json:"table_bytes_per_entry"`
	IndexPerEntry float64 `json:"index_bytes_per_entry"`
}

// Fsck is a check of the Rekor v1 log.
type Fsck struct {
	Leaves    int64   `json:"leaves"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"per_second"`
}

// Load is the part of what `sigbox bench --json` writes that counts here.
type Load struct {
	Target    string         `json:"target"`
	Clients   int            `json:"clients"`
	Seed      uint64         `json:"seed"`
	Requests  int            `json:"requests"`
	OK        int            `json:"ok"`
	Wrong     int            `json:"wrong"`
	Failed    int            `json:"failed"`
	Statuses  map[string]int `json:"statuses"`
	Seconds   float64        `json:"seconds"`
	PerSecond float64        `json:"per_second"`
	LatencyMS Latency        `json:"latency_ms"`
}

// TestRekor loads Rekor v1 and v2 through HTTP, with logs of every size, and upstream's servers in
// turns with the smallest.
func TestRekor(t *testing.T) {
	started := time.Now()
	f := Rekor{Span: world.span.Seconds()}
	for n, size := range world.sizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			if n > 0 {
				f.Sizes = append(f.Sizes, measureSize(t, size, nil))
				return
			}
			var rivals []*rival
			if onlyProof(t) {
				rivals = startRivals(t)
			}
			f.Sizes = append(f.Sizes, measureSize(t, size, rivals))
			for _, r := range rivals {
				f.Peers = append(f.Peers, r.Server)
			}
		})
	}
	keep(t, "rekor", started, f)
}

// TestFill makes the large logs and measures nothing but that, so that TestRekor finds them. It can be
// stopped at any time, and goes on from there the next time.
func TestFill(t *testing.T) {
	if !world.full || world.data == "" {
		fmt.Printf("figures: %s NOT RUN: it takes SIGBOX_PROOF and SIGBOX_PROOF_DATA\n", t.Name())
		return
	}
	for _, size := range world.sizes {
		if size > 0 {
			t.Run(fmt.Sprint(size), func(t *testing.T) { newInstance(t, sizeDir(size), size) })
		}
	}
}

// sizeDir is where a large log is kept.
func sizeDir(size int64) string { return filepath.Join(world.data, strconv.FormatInt(size, 10)) }

// rival is a peer with what it did.
type rival struct {
	*peers.Peer
	Server
	api string
}

func startRivals(t *testing.T) (list []*rival) {
	t.Helper()
	add := func(api string, p *peers.Peer, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := p.Stop(); err != nil {
				t.Error(err)
			}
		})
		list = append(list, &rival{Peer: p, api: api, Server: Server{What: p.What}})
		say("started %s", p.What)
	}
	server := pgtest.Start(t)
	server.Exec(t, "postgres", "CREATE DATABASE trillian")
	p, err := peers.StartRekorV1(t.Context(), t.TempDir(), server.URL("trillian"))
	add("rekor-v1", p, err)
	for _, interval := range []time.Duration{2 * time.Second, 100 * time.Millisecond} {
		p, err := peers.StartRekorV2(t.Context(), t.TempDir(), interval)
		add("rekor-v2", p, err)
	}
	return list
}

// measureSize measures all there is to measure with a log of a size.
func measureSize(t *testing.T, size int64, rivals []*rival) Size {
	t.Helper()
	dir := ""
	if size > 0 && world.data != "" {
		dir = sizeDir(size)
	} else if size > 0 {
		dir = t.TempDir()
		openUp(t, dir)
	}
	i := newInstance(t, dir, size)
	s := Size{Server: Server{What: "sigbox"}, Entries: i.size(t, filler.RekorV1), EntriesV2: i.size(t, filler.RekorV2)}
	if dir != "" {
		s.Filling = readFilling(t, dir)
		for _, writers := range world.writers { // TestEngine has done it for the empty log
			s.Engine = append(s.Engine, measureEngine(t, i, filler.RekorV1, writers))
		}
	}
	i.up(t)
	pid := i.running.Pid()
	for _, clients := range world.clients {
		v1, v2, perEntry := i.load(t, clients, rivals)
		s.V1, s.V2, s.WALPerEntry = append(s.V1, v1), append(s.V2, v2), perEntry
	}
	s.Search, s.Proof = i.read(t, world.reads)
	s.Memory = memory(t, pid)
	i.stop(t)
	s.Two = i.two(t)
	s.EntriesAfter = i.size(t, filler.RekorV1)
	s.Disk = i.disk(t)
	s.Fsck = i.fsck(t)
	say("%d entries: %.1f MB resident, peak %.1f; %.0f bytes of WAL, %.0f of table, %.0f of index an entry; search p50 %.1f, p99 %.1f ms; proof p50 %.1f, p99 %.1f ms; fsck %.0f leaves/s",
		s.EntriesAfter, float64(s.Memory.Resident)/1e6, float64(s.Memory.Peak)/1e6, s.WALPerEntry, s.Disk.TablePerEntry, s.Disk.IndexPerEntry,
		s.Search.P50, s.Search.P99, s.Proof.P50, s.Proof.P99, s.Fsck.PerSecond)
	return s
}

// openUp lets the user that PostgreSQL runs as into a directory of ours.
func openUp(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// load loads both APIs, the rivals in turns with them, and returns the medians, and how many bytes
// of write-ahead log an entry of Rekor v1 took.
func (i *testInstance) load(t *testing.T, clients int, rivals []*rival) (v1, v2 Load, walPerEntry float64) {
	t.Helper()
	var all1, all2 []Load
	theirs := make([][]Load, len(rivals))
	var wal, entries int64
	for range world.rounds {
		before := i.wal(t)
		l := i.bench(t, "sigbox", "rekor-v1", i.running.URL, "", clients)
		wal, entries = wal+i.wal(t)-before, entries+int64(l.Requests)+int64(warm(clients))
		all1 = append(all1, l)
		all2 = append(all2, i.bench(t, "sigbox", "rekor-v2", i.running.URL, "", clients))
		for n, r := range rivals {
			theirs[n] = append(theirs[n], i.bench(t, r.Server.What, r.api, r.URL, r.KeyFile, clients))
		}
	}
	perSecond := func(l Load) float64 { return l.PerSecond }
	for n, r := range rivals {
		if m := median(theirs[n], perSecond); r.api == "rekor-v1" {
			r.V1 = append(r.V1, m)
		} else {
			r.V2 = append(r.V2, m)
		}
	}
	return median(all1, perSecond), median(all2, perSecond), float64(wal) / float64(entries)
}

// warm is how many requests go before the clock: few for one client, since some servers take seconds
// for each.
func warm(clients int) int { return min(2*clients, 20) }

// bench runs `sigbox bench` for a span. Any failed request or wrong answer fails the test.
func (i *testInstance) bench(t *testing.T, what, api, url, key string, clients int) (l Load) {
	t.Helper()
	n := int(float64(min(clients*500, 8000))*world.span.Seconds()) + clients
	args := []string{
		"bench", api, "--url", url, "-c", strconv.Itoa(clients), "-n", strconv.Itoa(n), "--warm", strconv.Itoa(warm(clients)),
		"--duration", world.span.String(), "--json", "-",
	}
	if key != "" {
		args = append(args, "--key", key)
	}
	cmd := exec.CommandContext(t.Context(), binary(t), args...)
	var stderr bytes.Buffer
	cmd.Env, cmd.Stderr = i.env(), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("sigbox bench %s on %s: %v\n%s%s", api, what, err, out, stderr.String())
	}
	if err := json.Unmarshal(out, &l); err != nil {
		t.Fatal(err)
	}
	say("%s, %s, %d clients: %.1f/s, p50 %.1f ms, p99 %.1f ms (%d entries)", what, api, clients, l.PerSecond, l.LatencyMS.P50, l.LatencyMS.P99, l.OK)
	return l
}

func (i *testInstance) disk(t *testing.T) (d Disk) {
	t.Helper()
	d.Entries = i.number(t, "SELECT sum(size)::bigint FROM tlog.tlog_head")
	const tables = "FROM pg_class WHERE relnamespace = 'tlog'::regnamespace AND relkind = 'r'"
	d.TablePerEntry = float64(i.number(t, "SELECT sum(pg_table_size(oid))::bigint "+tables)) / float64(d.Entries)
	d.IndexPerEntry = float64(i.number(t, "SELECT sum(pg_indexes_size(oid))::bigint "+tables)) / float64(d.Entries)
	return d
}

var fsckOK = regexp.MustCompile(`(?m)^rekor-v1: ok: (\d+) entries`)

// fsck checks the whole Rekor v1 log, the start of the program included.
func (i *testInstance) fsck(t *testing.T) (f Fsck) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), "log", "fsck", "rekor-v1", "--data", i.data, "--database", i.database)
	cmd.Env = i.env()
	var progress bytes.Buffer
	cmd.Stderr = &progress
	started := time.Now()
	out, err := cmd.Output()
	f.Seconds = time.Since(started).Seconds()
	m := fsckOK.FindSubmatch(out)
	if err != nil || m == nil {
		t.Fatalf("fsck: %v\n%s%s", err, out, progress.String())
	}
	if f.Leaves, err = strconv.ParseInt(string(m[1]), 10, 64); err != nil {
		t.Fatal(err)
	}
	f.PerSecond = float64(f.Leaves) / f.Seconds
	return f
}
