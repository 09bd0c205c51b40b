package figures

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/fleet"
	"github.com/sigbox/sigbox/e2e/internal/outside"
	"github.com/sigbox/sigbox/e2e/internal/peers"
	"github.com/sigbox/sigbox/internal/pgtest"
)

// Authority are the figures of TestAuthority, through HTTP.
type Authority struct {
	Span         float64    `json:"span_seconds"` // of one measurement
	Certificates []Issuance `json:"certificates"` // with an embedded SCT, each for a key of its own
	Timestamps   []Issuance `json:"timestamps"`
}

// Issuance is what one server did.
type Issuance struct {
	What  string `json:"what"`
	Loads []Load `json:"loads"`
}

// authority is a server under load.
type authority struct {
	Issuance
	load func(clients int) Load
	all  map[int][]Load
}

// TestAuthority loads `sigbox serve` with certificates and timestamps, and upstream's Fulcio with its CT log
// on the same PostgreSQL server and upstream's timestamp authority, in turns.
func TestAuthority(t *testing.T) {
	if world.full {
		if _, err := os.Stat(sharedBench()); err != nil {
			fmt.Printf("figures: %s NOT RUN: it takes the load tools in %s (or SIGBOX_SHARED_BENCH)\n", t.Name(), sharedBench())
			return
		}
		if err := errors.Join(peers.EnsureFulcio(context.Background(), os.Stdout), peers.EnsureTSA(context.Background(), os.Stdout)); err != nil {
			t.Fatal(err)
		}
		if err := os.Setenv("SIGBOX_E2E_BINARY", binary(t)); err != nil { // of the process that Alone starts
			t.Fatal(err)
		}
		if !outside.Alone(t) {
			return
		}
	} else {
		fmt.Printf("figures: %s NOT RUN by this tier: upstream's servers (make figures)\n", t.Name())
	}
	started := time.Now()
	clients := []int{1, 8}
	if world.full {
		clients = []int{1, 16, 64}
	}
	issuers, stampers := startAuthorities(t)
	f := Authority{Span: world.span.Seconds(), Certificates: inTurns(issuers, clients), Timestamps: inTurns(stampers, clients)}
	keep(t, "authority", started, f)
}

// inTurns loads servers in turns and returns the medians of each.
func inTurns(list []*authority, clients []int) (out []Issuance) {
	for _, c := range clients {
		for range world.rounds {
			for _, a := range list {
				a.all[c] = append(a.all[c], a.load(c))
			}
		}
	}
	for _, a := range list {
		for _, c := range clients {
			a.Loads = append(a.Loads, median(a.all[c], func(l Load) float64 { return l.PerSecond }))
		}
		out = append(out, a.Issuance)
	}
	return out
}

func startAuthorities(t *testing.T) (issuers, stampers []*authority) {
	t.Helper()
	add := func(list *[]*authority, what string, load func(int) Load) {
		*list = append(*list, &authority{Issuance: Issuance{What: what}, load: load, all: map[int][]Load{}})
	}
	server, i := pgtest.Start(t), &testInstance{}
	dir := t.TempDir()
	f, err := fleet.OneProcess.Start(context.Background(), fleet.Options{
		Binary: binary(t), Dir: filepath.Join(dir, "sigbox"), Env: i.env(), Database: server.URL("postgres"), Guard: pgtest.Start(t).URL("postgres"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
	})
	certify := certifier(t, i, f)
	add(&issuers, "sigbox", func(c int) Load { return certify("sigbox", f.URLs["ca"], c) })
	add(&stampers, "sigbox", func(c int) Load { return stamp(t, "sigbox", f.URLs["ca"], c) })
	if !world.full {
		return issuers, stampers
	}
	server.Exec(t, "postgres", "CREATE DATABASE trillian")
	issuer := f.URLs["issuer"]
	config := fmt.Sprintf("oidc-issuers:\n  %[1]s: {issuer-url: %[1]s, client-id: sigstore, type: email}\n", issuer)
	peer := func(p *peers.Peer, err error) *peers.Peer {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := p.Stop(); err != nil {
				t.Error(err)
			}
		})
		say("started %s", p.What)
		return p
	}
	fulcio := peer(peers.StartFulcio(context.Background(), t.TempDir(), server.URL("trillian"), config))
	add(&issuers, fulcio.What, func(c int) Load { return certify(fulcio.What, fulcio.URL, c) })
	tsa := peer(peers.StartTSA(context.Background(), t.TempDir()))
	add(&stampers, tsa.What, func(c int) Load { return stamp(t, tsa.What, tsa.URL, c) })
	return issuers, stampers
}

// subject is who all certificates are for.
const subject = "bench@example.com"

// certifier returns what has certificates issued for a span. The real plan has certbench of ../shared/bench
// do it, which others wrote and which loads both servers alike; the rehearsal `sigbox bench fulcio`, which
// [TestAgrees] holds against it. Any failed request or wrong answer fails the test.
func certifier(t *testing.T, i *testInstance, f *fleet.Fleet) func(what, url string, clients int) Load {
	t.Helper()
	token := func(t *testing.T) string { // one for each load, since it is valid for a short time
		return strings.TrimSpace(i.sigbox(t, "token", "--url", f.URLs["issuer"], "--email", subject))
	}
	if world.full {
		tool := buildTool(t, sharedBench(), "certbench")
		return func(what, url string, clients int) Load { return certbench(t, tool, what, url, token(t), clients) }
	}
	dir := t.TempDir()
	key, file := filepath.Join(dir, "ctfe.pub"), filepath.Join(dir, "token")
	fetch(t, f.URLs["tuf"]+"/trust/ctfe.pub", key)
	return func(what, url string, clients int) Load {
		if err := os.WriteFile(file, []byte(token(t)), 0o600); err != nil {
			t.Fatal(err)
		}
		var l Load
		out := i.sigbox(t, "bench", "fulcio", "-c", strconv.Itoa(clients), "-n", "400", "--warm", strconv.Itoa(warm(clients)),
			"--duration", world.span.String(), "--json", "-", "--url", url, "--token-file", file, "--ct-key", key)
		if err := json.Unmarshal([]byte(out), &l); err != nil {
			t.Fatal(err)
		}
		sayLoad(what, "certificates", l)
		return l
	}
}

// certbench runs the load tool twice: for a short time, to warm the server and to see how many certificates
// a span takes, and for the span.
func certbench(t *testing.T, tool, what, url, token string, clients int) Load {
	t.Helper()
	measure := func(n int) Load {
		out, err := exec.CommandContext(t.Context(), tool, "-url", url, "-token", token, "-sub", subject, "-c", strconv.Itoa(clients), "-n", strconv.Itoa(n)).CombinedOutput()
		m := certbenchPrints.FindStringSubmatch(string(out))
		if err != nil || m == nil {
			t.Fatalf("certbench on %s: %v\n%s", what, err, out)
		}
		number := func(group int) float64 {
			x, err := strconv.ParseFloat(m[group], 64)
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
		return Load{Target: "fulcio", Clients: clients, Requests: n, OK: n, Seconds: number(1), PerSecond: number(2), LatencyMS: Latency{P50: number(3), P99: number(4)}}
	}
	before := measure(5 * max(clients, 4))
	l := measure(max(int(before.PerSecond*world.span.Seconds()), 5*clients))
	sayLoad(what, "certificates", l)
	return l
}

var certbenchPrints = regexp.MustCompile(`failed=0 seconds=([0-9.]+) certs/s=([0-9.]+) p50=([0-9.]+)ms p99=([0-9.]+)ms`)

func sayLoad(what, of string, l Load) {
	say("%s, %s, %d clients: %.1f/s, p50 %.1f ms, p99 %.1f ms (%d)", what, of, l.Clients, l.PerSecond, l.LatencyMS.P50, l.LatencyMS.P99, l.OK)
}

func fetch(t *testing.T, url, file string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	if err := os.WriteFile(file, body, 0o644); err != nil {
		t.Fatal(err)
	}
}

// stamp has digests stamped for a span, a new one each time. An answer counts if it says granted and holds
// the digest; any other fails the test.
func stamp(t *testing.T, what, url string, clients int) Load {
	t.Helper()
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	begun := time.Now()
	for c := range clients {
		wg.Go(func() {
			var mine []time.Duration
			for n := 0; time.Since(begun) < world.span; n++ {
				digest := sha256.Sum256(fmt.Appendf(nil, "%d %d %d", begun.UnixNano(), c, n))
				at := time.Now()
				if err := stampOne(t.Context(), client, url, digest); err != nil {
					t.Errorf("%s: %v", what, err)
					return
				}
				mine = append(mine, time.Since(at))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
		})
	}
	wg.Wait()
	took := time.Since(begun).Seconds()
	l := Load{Target: "tsa", Clients: clients, Requests: len(all), OK: len(all), Seconds: took, PerSecond: float64(len(all)) / took, LatencyMS: newLatency(all)}
	sayLoad(what, "timestamps", l)
	return l
}

// stampOne sends a TimeStampReq (RFC 3161 2.4.1) over SHA-256 that asks for the certificate.
func stampOne(ctx context.Context, client *http.Client, url string, digest [32]byte) error {
	query := append([]byte{0x30, 0x39, 2, 1, 1, 0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 32}, digest[:]...)
	query = append(query, 1, 1, 0xff)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/api/v1/timestamp", bytes.NewReader(query))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/timestamp-query")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated || !bytes.Contains(body[:min(len(body), 12)], []byte{0x30, 3, 2, 1, 0}) || !bytes.Contains(body, digest[:]) {
		return fmt.Errorf("%s, %d bytes: no stamp of the digest", resp.Status, len(body))
	}
	return nil
}
