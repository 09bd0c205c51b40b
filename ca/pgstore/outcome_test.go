package pgstore_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/ca/pgstore"
	"github.com/sigbox/sigbox/ca/profile"
	"github.com/sigbox/sigbox/ca/storetest"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/oidc"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/ctlog"
	"github.com/sigbox/sigbox/tlog/entry/certificate"
	"github.com/sigbox/sigbox/tlog/logtest"
)

// impatient has short timeouts.
func impatient(c *pg.Config) {
	c.Writers = 2
	c.LockTimeout, c.StatementTimeout, c.IdleTimeout, c.CommitTimeout = 500*time.Millisecond, time.Second, 500*time.Millisecond, time.Second
}

// victim is an authority whose way to its records can be hurt, and a healthy way to them.
type victim struct {
	server     *pgtest.Server
	name       string // of the database
	authority  *ca.Authority
	healthy    *pgstore.Store
	signatures atomic.Int64 // of the authority's key
	before     atomic.Pointer[func(method string)]
}

// The victim's records tell what is about to be written.
type told struct {
	ca.Store
	v *victim
}

func (s told) Intend(ctx context.Context, in ca.Intent) error {
	s.v.tell("Intend")
	return s.Store.Intend(ctx, in)
}

func (s told) Settle(ctx context.Context, out ca.Outcome) error {
	s.v.tell("Settle")
	return s.Store.Settle(ctx, out)
}

func (v *victim) tell(method string) {
	if f := v.before.Load(); f != nil {
		(*f)(method)
	}
}

// countingKey counts its signatures.
type countingKey struct {
	crypto.Signer
	n *atomic.Int64
}

func (k countingKey) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	k.n.Add(1)
	return k.Signer.Sign(r, digest, o)
}

func newVictim(t testing.TB, server *pgtest.Server, url func(database string) string) *victim {
	t.Helper()
	v := &victim{server: server, name: newDatabase(t, server)}
	v.healthy = pgstore.New(openDB(t, server.URL(v.name)))
	c := clock.NewManual(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	h, err := ca.NewHierarchy(c, "test")
	if err != nil {
		t.Fatal(err)
	}
	key, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	log := logtest.New(t, func(cfg *tlog.Config) { cfg.LeafInput, cfg.Clock = certificate.LeafInput, c })
	logger := slog.New(slog.DiscardHandler)
	scts, err := ctlog.New(ctlog.Config{Log: log, Signer: key, Roots: []*x509.Certificate{h.Root}, Clock: c, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	v.authority, err = ca.New(ca.Config{
		Key: countingKey{h.IntermediateKey, &v.signatures}, Chain: h.Chain(), SCTs: scts, SCTKey: key.Public(),
		Records: told{pgstore.New(openDB(t, url(v.name), impatient)), v}, Clock: c, Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	// Its connections have every statement prepared from now on.
	if _, err := v.issue(t); err != nil {
		t.Fatal(err)
	}
	return v
}

// issue issues a certificate for a new key.
func (v *victim) issue(t testing.TB) ([]*x509.Certificate, error) {
	t.Helper()
	iss := "https://issuer.example.com"
	id, err := profile.FromToken(&oidc.Token{
		Issuer: &oidc.Issuer{URL: iss, Type: oidc.TypeEmail, Audience: "sigstore"}, IssuerURL: iss, Subject: "subject-1",
		Claims: map[string]any{"iss": iss, "sub": "subject-1", "aud": "sigstore", "email": "dev@example.com", "email_verified": true},
	})
	if err != nil {
		t.Fatal(err)
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := keys.PublicPEM(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte(id.Challenge))
	sig, err := k.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ca.KeyFromProof(pem, sig, id.Challenge)
	if err != nil {
		t.Fatal(err)
	}
	return v.authority.Issue(context.WithoutCancel(t.Context()), id, key, ca.Grant{})
}

// states returns the state of every record.
func (v *victim) states(t testing.TB) (list []ca.State) {
	t.Helper()
	for _, r := range storetest.All(t, v.healthy) {
		list = append(list, r.State)
	}
	return list
}

// TestConnectionLostAtCommit breaks the network when a record is on its way, once. Whether its
// COMMIT arrived or not, the authority finds out, and issues: one record, two signatures.
func TestConnectionLostAtCommit(t *testing.T) {
	for name, how := range map[string]struct {
		request bool // what breaks; else it is the answer
		verdict pgtest.Verdict
	}{
		"the request is lost":                             {true, pgtest.Cut},
		"half of the request is lost, and the rest hangs": {true, pgtest.Half},
		"the request hangs":                               {true, pgtest.Hold},
		"the answer is lost":                              {false, pgtest.Cut},
		"half of the answer is lost":                      {false, pgtest.Half},
		"the answer hangs":                                {false, pgtest.Hold},
	} {
		for _, method := range []string{"Intend", "Settle"} {
			t.Run(method+"/"+name, func(t *testing.T) {
				t.Parallel()
				server := pgtest.Shared(t)
				proxy := server.Proxy(t)
				v := newVictim(t, server, proxy.URL)
				v.breakOnce(proxy, method, how.request, how.verdict)
				before := v.signatures.Load()
				chain, err := v.issue(t)
				if err != nil || len(chain) != 3 {
					t.Fatalf("issue: %v", err)
				}
				if n := v.signatures.Load() - before; n != 2 {
					t.Errorf("%d signatures", n)
				}
				records := storetest.All(t, v.healthy)
				if len(records) != 2 || records[1].State != ca.Issued || string(records[1].Certificate) != string(chain[0].Raw) {
					t.Errorf("records %+v", records)
				}
			})
		}
	}
}

// breakOnce breaks what passes the proxy when the next record of a kind is written, on the
// connection that carries it. Other connections work.
func (v *victim) breakOnce(proxy *pgtest.Proxy, method string, request bool, verdict pgtest.Verdict) {
	var once sync.Once
	arm := func(m string) {
		if m != method {
			return
		}
		once.Do(func() {
			var broken atomic.Bool
			proxy.Set(func(fromClient bool, _ []byte) pgtest.Verdict {
				if fromClient == request && broken.CompareAndSwap(false, true) {
					return verdict
				}
				return pgtest.Forward
			})
		})
	}
	v.before.Store(&arm)
}

// TestDatabaseAway takes the database away for good when a record is on its way, and gives it back
// after the requester was refused. Without a record of the intent the key is not used; a certificate
// whose record is not certain is not handed out, and the record of its intent says that there may be
// signatures.
func TestDatabaseAway(t *testing.T) {
	for name, tc := range map[string]struct {
		method     string
		request    bool // is lost; else it is the answer
		signatures int64
		states     []ca.State
	}{
		"intent lost":          {"Intend", true, 0, []ca.State{ca.Issued}},
		"intent written":       {"Intend", false, 0, []ca.State{ca.Issued, ca.Intended}},
		"certificate lost":     {"Settle", true, 2, []ca.State{ca.Issued, ca.Intended}},
		"certificate recorded": {"Settle", false, 2, []ca.State{ca.Issued, ca.Issued}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := pgtest.Shared(t)
			proxy := server.Proxy(t)
			v := newVictim(t, server, proxy.URL)
			arm := func(m string) {
				if m == tc.method {
					proxy.Set(func(fromClient bool, _ []byte) pgtest.Verdict {
						if fromClient == tc.request {
							return pgtest.Cut
						}
						return pgtest.Forward
					})
				}
			}
			v.before.Store(&arm)
			before := v.signatures.Load()
			chain, err := v.issue(t)
			if chain != nil || !errors.Is(err, ca.ErrRecord) {
				t.Errorf("%d certificates, %v", len(chain), err)
			}
			if n := v.signatures.Load() - before; n != tc.signatures {
				t.Errorf("%d signatures, want %d", n, tc.signatures)
			}
			v.before.Store(nil)
			proxy.Set(nil)
			wantStates(t, v, tc.states...)
			if _, err := v.issue(t); err != nil {
				t.Errorf("issue when all is well again: %v", err)
			}
			wantStates(t, v, append(tc.states, ca.Issued)...)
		})
	}
}

func wantStates(t testing.TB, v *victim, want ...ca.State) {
	t.Helper()
	have := v.states(t)
	if len(have) != len(want) {
		t.Errorf("states %v, want %v", have, want)
		return
	}
	for i := range want {
		if have[i] != want[i] {
			t.Errorf("states %v, want %v", have, want)
		}
	}
}

// TestServerKilled kills all of PostgreSQL under load, again and again. What was handed out is on
// record as issued; whatever the key has signed has a record.
func TestServerKilled(t *testing.T) {
	server := pgtest.Start(t)
	v := newVictim(t, server, server.URL)
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	issued := map[string]bool{}
	enough := make(chan bool)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				chain, err := v.issue(t)
				if err != nil && !errors.Is(err, ca.ErrRecord) {
					t.Error(err)
				}
				if err != nil {
					continue
				}
				mu.Lock()
				issued[string(chain[0].Raw)] = true
				n := len(issued)
				mu.Unlock()
				if n%20 == 0 {
					select {
					case enough <- true:
					case <-ctx.Done():
					}
				}
			}
		})
	}
	for range 4 {
		<-enough
		server.Kill(t)
		server.Restart(t)
	}
	cancel()
	wg.Wait()
	records := make(map[string]bool)
	list := storetest.All(t, v.healthy)
	for _, r := range list {
		records[string(r.Certificate)] = true
	}
	for der := range issued {
		if !records[der] {
			t.Error("a certificate was handed out that is not on record")
		}
	}
	if n := v.signatures.Load(); int64(len(list)) < n/2 {
		t.Errorf("%d records of %d signatures", len(list), n)
	}
	t.Logf("%d handed out, %d records, %d signatures", len(issued), len(list), v.signatures.Load())
}

// TestSynchronousWaitCancelled takes the synchronous standby away and ends the wait for it. The
// intent is on one machine then; the key is not used before the standby is back.
func TestSynchronousWaitCancelled(t *testing.T) {
	server := pgtest.Start(t)
	v := newVictim(t, server, server.URL)
	before := v.signatures.Load()
	server.SetSync(t, "nobody")
	answered := make(chan error)
	go func() {
		_, err := v.issue(t)
		answered <- err
	}()
	first, pid := awaitSync(t, server, "")
	server.Exec(t, "postgres", "SELECT pg_cancel_backend("+pid+")")
	// The store finds the record, and waits for the standby again.
	awaitSync(t, server, first)
	if n := v.signatures.Load(); n != before {
		t.Errorf("%d signatures with no standby", n-before)
	}
	select {
	case err := <-answered:
		t.Fatalf("answered with no standby: %v", err)
	default:
	}
	server.SetSync(t, "")
	if err := <-answered; err != nil {
		t.Error(err)
	}
	wantStates(t, v, ca.Issued, ca.Issued)
}

// awaitSync waits until a COMMIT that is not the one named waits for a standby, and names it and its
// session.
func awaitSync(t testing.TB, server *pgtest.Server, not string) (commit, pid string) {
	t.Helper()
	c := server.Connect(t, "postgres")
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		err := c.QueryRow(t.Context(), `SELECT coalesce(min(pid || ' at ' || query_start), ''), coalesce(min(pid)::text, '') FROM pg_stat_activity `+
			`WHERE wait_event = 'SyncRep' AND application_name = 'sigbox writer' AND pid || ' at ' || query_start <> $1`, not).Scan(&commit, &pid)
		if err != nil {
			t.Fatal(err)
		}
		if pid != "" {
			return commit, pid
		}
	}
	t.Fatal("nobody waits for the standby")
	return "", ""
}
