package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/fleet"
	"github.com/sigbox/sigbox/e2e/internal/witness"
	"github.com/sigbox/sigbox/internal/pgtest"
)

// siege is load on a fleet that goes on whatever fails, and remembers what did.
type siege struct {
	v1, v2 *witness.Witness
	certs  *witness.Certificates

	fleet    *fleet.Fleet
	tlog, ca *witness.Client
	ctURL    string

	mu       sync.Mutex
	failures []string
	broken   error
	last     map[string]time.Time     // of each kind of request: when one last succeeded
	gap      map[string]time.Duration // and the longest time without, since the last call of gaps
}

// besiege writes to all three logs of a fleet, gets certificates, and signs and verifies with cosign 3,
// until the function that it returns is called.
func besiege(t *testing.T, f *fleet.Fleet) (*siege, func()) {
	t.Helper()
	r := visit(t, f)
	s := &siege{fleet: f, last: map[string]time.Time{}, gap: map[string]time.Duration{}, ctURL: f.URLs["tlog"]}
	s.tlog, s.ca = witness.NewClient(f.URLs["tlog"]), witness.NewClient(f.URLs["ca"])
	s.v1, s.v2 = logWitness(t, r, "rekor.pub"), logWitness(t, r, "rekor_v2.pub")
	s.certs = witness.NewCertificates(readPublicKey(t, filepath.Join(r.trust, "ctfe.pub")), r.token(t, "dev@example.com"))
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range 2 {
		s.keep(ctx, &all, "Rekor v1", func(ctx context.Context, w *witness.Writer) error { return w.WriteV1(ctx, s.tlog, s.v1) })
		s.keep(ctx, &all, "Rekor v2", func(ctx context.Context, w *witness.Writer) error { return w.WriteV2(ctx, s.tlog, s.v2) })
		s.keep(ctx, &all, "certificate", func(ctx context.Context, _ *witness.Writer) error { return s.certs.Issue(ctx, s.ca) })
	}
	s.keep(ctx, &all, "TUF", func(ctx context.Context, _ *witness.Writer) error {
		time.Sleep(20 * time.Millisecond)
		c := witness.NewClient(f.URLs["tuf"])
		defer c.Close()
		status, _, err := c.Do(ctx, "GET", "/tuf/timestamp.json", nil)
		if err == nil && status != 200 {
			err = fmt.Errorf("status %d", status)
		}
		return err
	})
	env := append(r.env(t), "TOKEN="+r.token(t, "dev@example.com"), "V2="+strings.TrimPrefix(logVars(r, 2)[0], "LOG="))
	s.keep(ctx, &all, "cosign 3", func(context.Context, *witness.Writer) error {
		out, err := shell(`
echo hello > blob
cosign3 sign-blob --yes --identity-token "$TOKEN" --bundle blob.bundle blob
cosign3 verify-blob --bundle blob.bundle `+me+` blob
cosign3 sign-blob --yes --identity-token "$TOKEN" $V2 --bundle blob2.bundle blob
cosign3 verify-blob --bundle blob2.bundle `+me+` blob
`, env)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	})
	return s, func() { stop(); all.Wait(); s.tlog.Close(); s.ca.Close() }
}

// keep runs one kind of request over and over.
func (s *siege) keep(ctx context.Context, all *sync.WaitGroup, what string, do func(context.Context, *witness.Writer) error) {
	s.mu.Lock()
	s.last[what] = time.Now()
	s.mu.Unlock()
	all.Go(func() {
		w, err := witness.NewWriter()
		for ctx.Err() == nil {
			if err == nil {
				err = do(context.WithoutCancel(ctx), w)
			}
			s.note(what, err)
			if err != nil {
				time.Sleep(20 * time.Millisecond)
			}
			err = nil
		}
	})
}

func (s *siege) note(what string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if err != nil {
		s.failures = append(s.failures, fmt.Sprintf("%s %s: %v", now.Format("15:04:05.000"), what, err))
		var b *witness.Broken
		if errors.As(err, &b) {
			s.broken = err
		}
		return
	}
	s.gap[what] = max(s.gap[what], now.Sub(s.last[what]))
	s.last[what] = now
}

// failed returns what failed since the last call.
func (s *siege) failed() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.failures
	s.failures = nil
	return f
}

// gaps returns the longest time that each kind of request went without success since the last call.
func (s *siege) gaps() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, what := range []string{"Rekor v1", "Rekor v2", "certificate", "TUF", "cosign 3"} {
		list = append(list, fmt.Sprint(what, " ", max(s.gap[what], time.Since(s.last[what])).Round(time.Millisecond)))
	}
	clear(s.gap)
	return strings.Join(list, ", ")
}

// await waits until every kind of request has succeeded after now.
func (s *siege) await(t *testing.T) {
	t.Helper()
	from := time.Now()
	for deadline := from.Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		s.mu.Lock()
		done := true
		for _, at := range s.last {
			done = done && at.After(from)
		}
		s.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not every kind of request succeeds a minute later; failures: %s", strings.Join(s.failed(), "\n"))
		}
	}
}

// settle wants everything that was acknowledged to be there, and every head to be a prefix of the last.
func (s *siege) settle(t *testing.T) {
	t.Helper()
	if s.broken != nil {
		t.Fatal(s.broken)
	}
	c := witness.NewClient(s.ctURL)
	defer c.Close()
	s.converge(t)
	found, err := s.check(c)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(found)
}

// converge waits until all replicas show the same heads: one may not have looked yet at what another one
// wrote. That is all that is waited for; what check finds is final.
func (s *siege) converge(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var shown []string
		for _, m := range s.fleet.Of("tlog") {
			shown = append(shown, shownBy(t, m))
		}
		if len(slices.Compact(shown)) == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the replicas do not come to the same heads: %q", shown)
		}
	}
}

// shownBy returns the heads of all three logs as one process shows them, less what is signed anew for
// each answer.
func shownBy(t *testing.T, m *fleet.Member) string {
	t.Helper()
	addr, _, _ := strings.Cut(m.First, " ")
	c := witness.NewClient("http://" + addr)
	defer c.Close()
	var v1 struct {
		TreeSize int64  `json:"treeSize"`
		RootHash string `json:"rootHash"`
	}
	var ct struct {
		TreeSize int64  `json:"tree_size"`
		RootHash string `json:"sha256_root_hash"`
	}
	ctx := context.Background()
	_, checkpoint, err := c.Do(ctx, http.MethodGet, "/api/v2/checkpoint", nil)
	err = errors.Join(err, c.JSON(ctx, http.MethodGet, "/api/v1/log", nil, http.StatusOK, &v1), c.JSON(ctx, http.MethodGet, "/ct/v1/get-sth", nil, http.StatusOK, &ct))
	if err != nil {
		t.Fatalf("%s: %v", m.Name, err)
	}
	body, _, _ := strings.Cut(string(checkpoint), "\n\n")
	return fmt.Sprint(v1, ct, body)
}

func (s *siege) check(c *witness.Client) (found string, err error) {
	ctx := context.Background()
	last, err := witness.HeadV1(ctx, c, s.v1)
	if err == nil {
		err = witness.CheckEntriesV1(ctx, c, s.v1, s.v1.Entries())
	}
	if err == nil {
		err = witness.CheckHeadsV1(ctx, c, s.v1.Heads(), last)
	}
	if err != nil {
		return "", fmt.Errorf("Rekor v1: %w", err)
	}
	lastV2, err := witness.CheckV2(ctx, c, s.v2)
	if err != nil {
		return "", fmt.Errorf("Rekor v2: %w", err)
	}
	lastCT, err := s.certs.Check(ctx, s.ctURL, 0)
	if err != nil {
		return "", fmt.Errorf("CT: %w", err)
	}
	promised, _ := s.certs.Count()
	return fmt.Sprintf("acknowledged and found: %d of %d on Rekor v1, %d of %d on Rekor v2, %d of %d on CT",
		len(s.v1.Entries()), last.Size, len(s.v2.Entries()), lastV2.Size, promised, lastCT), nil
}

const rollingRow = "two replicas of each service restarted and killed one by one under load: no restart fails a request"

// TestRolling restarts and kills the replicas of all services in turn under load. Nothing may fail while
// they are restarted; what fails and how long nothing succeeds when they are killed is printed.
func TestRolling(t *testing.T) {
	defer cell(t, "cosign 3", rollingRow, 0)()
	f := startFleet(t, fleet.Replicated, pgtest.Start(t).URL("postgres"))
	s, stop := besiege(t, f)
	ended := false
	defer func() {
		if !ended {
			stop()
		}
	}()
	s.await(t)
	s.gaps()
	if failed := s.failed(); len(failed) > 0 {
		t.Errorf("%d requests failed before anything was done to the replicas:\n%s", len(failed), strings.Join(failed, "\n"))
	}
	for _, m := range f.Members {
		if m.Services[0] == "issuer" {
			continue
		}
		if err := m.Restart(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := f.Settled(context.Background()); err != nil {
			t.Fatal(err)
		}
		s.await(t)
		fmt.Printf("restarted %s; longest without success: %s\n", m.Name, s.gaps())
	}
	if failed := s.failed(); len(failed) > 0 {
		t.Errorf("%d requests failed while replicas were restarted one by one:\n%s", len(failed), strings.Join(failed, "\n"))
	}
	for _, m := range f.Members {
		if m.Services[0] == "issuer" {
			continue
		}
		m.Kill()
		s.await(t)
		gaps := s.gaps()
		failed := s.failed()
		fmt.Printf("killed %s; longest without success: %s; failed requests: %d\n", m.Name, gaps, len(failed))
		for _, what := range failed {
			t.Logf("after the kill of %s: %s", m.Name, what)
		}
		if err := m.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := f.Settled(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	ended = true
	s.settle(t)
}
