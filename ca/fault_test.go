package ca_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog/ctlog"
)

// altered returns what the log promised, changed.
func altered(s *stack, change func(*ct.SignedCertificateTimestamp)) source {
	return func(ctx context.Context, chain [][]byte) ([]byte, error) {
		raw, err := s.ct.AddPreChain(ctx, chain)
		if err != nil {
			return nil, err
		}
		var sct ct.SignedCertificateTimestamp
		if _, err := tls.Unmarshal(raw, &sct); err != nil {
			return nil, err
		}
		change(&sct)
		return tls.Marshal(sct)
	}
}

// resigned returns what the log promised, changed, under a signature of the log's that is right.
func resigned(s *stack, change func(*ct.SignedCertificateTimestamp)) source {
	return func(ctx context.Context, chain [][]byte) ([]byte, error) {
		raw, err := s.ct.AddPreChain(ctx, chain)
		if err != nil {
			return nil, err
		}
		var sct ct.SignedCertificateTimestamp
		if _, err := tls.Unmarshal(raw, &sct); err != nil {
			return nil, err
		}
		change(&sct)
		leaf, err := ct.MerkleTreeLeafFromRawChain([]ct.ASN1Cert{{Data: chain[0]}, {Data: chain[1]}}, ct.PrecertLogEntryType, sct.Timestamp)
		if err != nil {
			return nil, err
		}
		input, err := ct.SerializeSCTSignatureInput(sct, ct.LogEntry{Leaf: *leaf})
		if err != nil {
			return nil, err
		}
		digest := sha256.Sum256(input)
		if sct.Signature.Signature, err = s.ctKey.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
			return nil, err
		}
		return tls.Marshal(sct)
	}
}

// TestTransparencyFaults (B-081): without a promise that verifies there is one signature, the
// precertificate's, no certificate, and a record that says so.
func TestTransparencyFaults(t *testing.T) {
	for _, tc := range []struct {
		name   string
		source func(t *testing.T, s *stack) ca.SCTSource
	}{
		{"down", func(*testing.T, *stack) ca.SCTSource {
			return source(func(context.Context, [][]byte) ([]byte, error) { return nil, errDown })
		}},
		{"nothing", func(*testing.T, *stack) ca.SCTSource {
			return source(func(context.Context, [][]byte) ([]byte, error) { return nil, nil })
		}},
		{"garbage", func(*testing.T, *stack) ca.SCTSource {
			return source(func(context.Context, [][]byte) ([]byte, error) { return bytes.Repeat([]byte{0xff}, 100), nil })
		}},
		{"trailing byte", func(_ *testing.T, s *stack) ca.SCTSource {
			return source(func(ctx context.Context, c [][]byte) ([]byte, error) {
				b, err := s.ct.AddPreChain(ctx, c)
				return append(b, 0), err
			})
		}},
		{"another log", func(t *testing.T, s *stack) ca.SCTSource { return otherLog(t, s) }},
		{"another key under the log's name", func(t *testing.T, s *stack) ca.SCTSource {
			other := otherLog(t, s)
			return source(func(ctx context.Context, c [][]byte) ([]byte, error) {
				b, err := other.AddPreChain(ctx, c)
				if err != nil {
					return nil, err
				}
				id, err := keys.ID(s.ctKey.Public())
				copy(b[1:], id[:])
				return b, err
			})
		}},
		{"another certificate", func(t *testing.T, s *stack) ca.SCTSource {
			first := []byte(nil)
			return source(func(ctx context.Context, c [][]byte) ([]byte, error) {
				b, err := s.ct.AddPreChain(ctx, c)
				if first == nil {
					first = b
				}
				return first, err
			})
		}},
		{"version 2", func(_ *testing.T, s *stack) ca.SCTSource {
			return altered(s, func(c *ct.SignedCertificateTimestamp) { c.SCTVersion = 1 })
		}},
		{"another hash's name", func(_ *testing.T, s *stack) ca.SCTSource { // which no signature covers
			return altered(s, func(c *ct.SignedCertificateTimestamp) { c.Signature.Algorithm.Hash = tls.SHA512 })
		}},
		{"another algorithm's name", func(_ *testing.T, s *stack) ca.SCTSource { // which no signature covers
			return altered(s, func(c *ct.SignedCertificateTimestamp) { c.Signature.Algorithm.Signature = tls.RSA })
		}},
		{"another log's name", func(_ *testing.T, s *stack) ca.SCTSource { // which no signature covers
			return altered(s, func(c *ct.SignedCertificateTimestamp) { c.LogID.KeyID[0] ^= 1 })
		}},
		{"extensions", func(_ *testing.T, s *stack) ca.SCTSource {
			return resigned(s, func(c *ct.SignedCertificateTimestamp) { c.Extensions = []byte{0, 0, 5, 0, 0, 0, 0, 1} })
		}},
		{"a millisecond later", func(_ *testing.T, s *stack) ca.SCTSource {
			return altered(s, func(c *ct.SignedCertificateTimestamp) { c.Timestamp++ })
		}},
		{"a log an hour ahead", func(_ *testing.T, s *stack) ca.SCTSource {
			return resigned(s, func(c *ct.SignedCertificateTimestamp) { c.Timestamp += 3600 * 1000 })
		}},
		{"a log an hour behind", func(_ *testing.T, s *stack) ca.SCTSource {
			return resigned(s, func(c *ct.SignedCertificateTimestamp) { c.Timestamp -= 3600 * 1000 })
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStack(t)
			src := tc.source(t, s)
			if tc.name == "another certificate" { // let it see one of its own first
				broken := newStackFrom(t, s, src)
				broken.issue(t, emailToken("first@example.com"))
				s.key.n.Store(0)
			}
			broken := newStackFrom(t, s, src)
			id := identity(t, emailToken("dev@example.com"))
			chain, err := broken.authority.Issue(t.Context(), id, prove(t, id.Challenge), ca.Grant{})
			if chain != nil || !errors.Is(err, ca.ErrTransparency) {
				t.Fatalf("%d certificates, %v", len(chain), err)
			}
			if got := s.key.n.Load(); got != 1 {
				t.Errorf("%d signatures, want the precertificate's alone", got)
			}
			all := s.all(t)
			r := all[len(all)-1]
			if r.State != ca.Precertified || r.Certificate != nil || r.Precertificate == nil || r.Failure == "" || r.SettledAt.IsZero() {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// newStackFrom is s with another source of SCTs.
func newStackFrom(t *testing.T, s *stack, src ca.SCTSource) *stack {
	t.Helper()
	a, err := ca.New(ca.Config{Key: s.key, Chain: s.hierarchy.Chain(), SCTs: src, SCTKey: s.ctKey.Public(), Records: s.records, Clock: s.clock, Logger: discard()})
	if err != nil {
		t.Fatal(err)
	}
	c := *s
	c.authority = a
	return &c
}

// otherLog is the same log under another key.
func otherLog(t *testing.T, s *stack) *ctlog.Server {
	t.Helper()
	key, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	l, err := ctlog.New(ctlog.Config{Log: s.log, Signer: key, Roots: []*x509.Certificate{s.hierarchy.Root}, Clock: s.clock, Logger: discard()})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestResigned: the way in which the rows above sign for the log is right.
func TestResigned(t *testing.T) {
	s := newStack(t)
	newStackFrom(t, s, resigned(s, func(c *ct.SignedCertificateTimestamp) { c.Timestamp++ })).issue(t, emailToken("dev@example.com"))
}

// TestSlowLog: a log that does not answer costs the requester the configured time and no more.
func TestSlowLog(t *testing.T) {
	h, err := ca.NewHierarchy(system{}, "test")
	if err != nil {
		t.Fatal(err)
	}
	ctKey, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	id := identity(t, emailToken("dev@example.com"))
	key := prove(t, id.Challenge)
	synctest.Test(t, func(t *testing.T) {
		hang := source(func(ctx context.Context, _ [][]byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		records := &memory{}
		// In the bubble the clock starts in 2000: the stack's own clock tells the authority's time.
		a, err := ca.New(ca.Config{Key: h.IntermediateKey, Chain: h.Chain(), SCTs: hang, SCTKey: ctKey.Public(), Records: records, Clock: fixed(h.Intermediate.NotBefore.Add(time.Hour)), Logger: discard()})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = a.Issue(context.Background(), id, key, ca.Grant{})
		if took := time.Since(start); !errors.Is(err, ca.ErrTransparency) || took > 10*time.Second {
			t.Errorf("%v after %s", err, took)
		}
		if len(records.outcomes) != 1 || records.outcomes[0].Precertificate == nil || records.outcomes[0].Certificate != nil {
			t.Errorf("outcomes %+v", records.outcomes)
		}
	})
}

// TestClientGone: a requester that goes away while the log works leaves a settled record.
func TestClientGone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newStack(t, func(_ *stack, c *ca.Config) {
		c.SCTs = source(func(ctx context.Context, _ [][]byte) ([]byte, error) {
			cancel()
			<-ctx.Done()
			return nil, ctx.Err()
		})
	})
	id := identity(t, emailToken("dev@example.com"))
	if _, err := s.authority.Issue(ctx, id, prove(t, id.Challenge), ca.Grant{}); !errors.Is(err, ca.ErrTransparency) {
		t.Fatal(err)
	}
	if r := s.all(t); len(r) != 1 || r[0].State != ca.Precertified {
		t.Errorf("records %+v", r)
	}
}

// memory is a store in memory whose methods can be made to fail.
type memory struct {
	intendErr, settleErr error
	intents              []ca.Intent
	outcomes             []ca.Outcome
}

func (m *memory) Intend(_ context.Context, in ca.Intent) error {
	if m.intendErr != nil {
		return m.intendErr
	}
	m.intents = append(m.intents, in)
	return nil
}

func (m *memory) Settle(_ context.Context, out ca.Outcome) error {
	if m.settleErr != nil {
		return m.settleErr
	}
	m.outcomes = append(m.outcomes, out)
	return nil
}

// TestRecordFaults: no record, no signature; and what could not be recorded is not handed out.
func TestRecordFaults(t *testing.T) {
	full := errors.New("disk full")
	for _, tc := range []struct {
		name       string
		store      *memory
		want       error
		signatures int64
	}{
		{"intent fails", &memory{intendErr: full}, ca.ErrRecord, 0},
		{"serial number used", &memory{intendErr: ca.ErrSerialUsed}, ca.ErrSerialUsed, 0},
		{"outcome fails", &memory{settleErr: full}, ca.ErrRecord, 2},
	} {
		s := newStack(t, func(_ *stack, c *ca.Config) { c.Records = tc.store })
		id := identity(t, emailToken("dev@example.com"))
		chain, err := s.authority.Issue(t.Context(), id, prove(t, id.Challenge), ca.Grant{})
		if chain != nil || !errors.Is(err, tc.want) {
			t.Errorf("%s: %d certificates, %v", tc.name, len(chain), err)
		}
		if got := s.key.n.Load(); got != tc.signatures {
			t.Errorf("%s: %d signatures, want %d", tc.name, got, tc.signatures)
		}
		if size := mustSize(t, s); tc.signatures == 0 && size != 0 {
			t.Errorf("%s: %d entries in the CT log", tc.name, size)
		}
	}
}

func mustSize(t *testing.T, s *stack) int64 {
	t.Helper()
	cp, err := s.log.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return cp.Size
}

// badSigner is an HSM on a bad day: from signature number from on it does what bad does.
type badSigner struct {
	crypto.Signer
	from, n int
	bad     func(sig []byte) ([]byte, error)
}

func (b *badSigner) Sign(r io.Reader, d []byte, o crypto.SignerOpts) ([]byte, error) {
	b.n++
	sig, err := b.Signer.Sign(r, d, o)
	if b.n < b.from || err != nil {
		return sig, err
	}
	return b.bad(sig)
}

// TestSignerFaults (B-082): what the signer returns is verified before anything is done with it.
func TestSignerFaults(t *testing.T) {
	lost := errors.New("session lost")
	for _, tc := range []struct {
		name  string
		from  int
		bad   func([]byte) ([]byte, error)
		state ca.State
		sizes int64 // entries in the CT log
	}{
		{"fails", 1, func([]byte) ([]byte, error) { return nil, lost }, ca.Intended, 0},
		{"wrong signature on the precertificate", 1, func(s []byte) ([]byte, error) { s[len(s)-1] ^= 1; return s, nil }, ca.Intended, 0},
		{"empty signature", 1, func([]byte) ([]byte, error) { return nil, nil }, ca.Intended, 0},
		{"fails at the certificate", 2, func([]byte) ([]byte, error) { return nil, lost }, ca.Precertified, 1},
		{"wrong signature on the certificate", 2, func(s []byte) ([]byte, error) { s[len(s)-1] ^= 1; return s, nil }, ca.Precertified, 1},
	} {
		s := newStack(t, func(s *stack, c *ca.Config) {
			c.Key = &badSigner{Signer: s.hierarchy.IntermediateKey, from: tc.from, bad: tc.bad}
		})
		id := identity(t, emailToken("dev@example.com"))
		chain, err := s.authority.Issue(t.Context(), id, prove(t, id.Challenge), ca.Grant{})
		if chain != nil || err == nil || errors.Is(err, ca.ErrTransparency) {
			t.Errorf("%s: %d certificates, %v", tc.name, len(chain), err)
		}
		r := s.all(t)
		if len(r) != 1 || r[0].State != tc.state || r[0].Failure == "" || r[0].Certificate != nil {
			t.Errorf("%s: records %+v", tc.name, r)
		}
		if got := mustSize(t, s); got != tc.sizes {
			t.Errorf("%s: %d entries in the CT log, want %d", tc.name, got, tc.sizes)
		}
	}
}

// TestSlowSigner (B-082): a signer that takes its time keeps nobody else waiting, and what it signs for a requester
// that has gone is on record.
func TestSlowSigner(t *testing.T) {
	inside, release, slow := make(chan struct{}), make(chan struct{}), true
	s := newStack(t, func(s *stack, c *ca.Config) {
		c.Key = &badSigner{Signer: s.hierarchy.IntermediateKey, from: 1, bad: func(sig []byte) ([]byte, error) {
			if slow {
				slow = false
				close(inside)
				<-release
			}
			return sig, nil
		}}
	})
	id := identity(t, emailToken("dev@example.com"))
	key := prove(t, id.Challenge)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := s.authority.Issue(ctx, id, key, ca.Grant{})
		done <- err
	}()
	<-inside
	if _, err := s.authority.Issue(t.Context(), id, key, ca.Grant{}); err != nil {
		t.Errorf("while another waits for the signer: %v", err)
	}
	cancel()
	close(release)
	if err := <-done; !errors.Is(err, ca.ErrTransparency) {
		t.Errorf("who went away: %v", err)
	}
	r := s.all(t)
	if len(r) != 2 || r[0].State != ca.Precertified || r[0].Precertificate == nil || r[1].State != ca.Issued {
		t.Errorf("%d records; the slow one is %q, the other %q", len(r), r[0].State, r[len(r)-1].State)
	}
}

type system struct{}

func (system) Now() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

type fixed time.Time

func (f fixed) Now() time.Time { return time.Time(f) }

// TestNewRefuses: a key, chain or log key that clients could not verify stops the start.
func TestNewRefuses(t *testing.T) {
	s := newStack(t)
	other, err := ca.NewHierarchy(s.clock, "other")
	if err != nil {
		t.Fatal(err)
	}
	good := ca.Config{Key: s.hierarchy.IntermediateKey, Chain: s.hierarchy.Chain(), SCTs: s.ct, SCTKey: s.ctKey.Public(), Records: s.records, Clock: s.clock, Logger: discard()}
	for _, tc := range []struct {
		name, want string
		change     func(*ca.Config)
	}{
		{"no record store", "required", func(c *ca.Config) { c.Records = nil }},
		{"no SCT source", "required", func(c *ca.Config) { c.SCTs = nil }},
		{"empty chain", "empty certificate chain", func(c *ca.Config) { c.Chain = nil }},
		{"another key", "not the one of the issuing certificate", func(c *ca.Config) { c.Key = other.IntermediateKey }},
		{"root left out", "not issued by the next, or the last is not self-signed", func(c *ca.Config) { c.Chain = c.Chain[:1] }},
		{"root of another", "not issued by the next", func(c *ca.Config) { c.Chain = []*x509.Certificate{c.Chain[0], other.Root} }},
		{"wrong order", "not issued by the next", func(c *ca.Config) {
			c.Chain, c.Key = []*x509.Certificate{c.Chain[1], c.Chain[0]}, s.hierarchy.RootKey
		}},
		{"no log key", "key of the CT log", func(c *ca.Config) { c.SCTKey = nil }},
		{"log key on another curve", "want ECDSA P-256", func(c *ca.Config) { c.SCTKey = p384(t) }},
		{"log key of the root", "every role needs a key of its own", func(c *ca.Config) { c.SCTKey = s.hierarchy.RootKey.Public() }},
		{"validity of two days", "want a minute to a day", func(c *ca.Config) { c.Validity = 48 * time.Hour }},
	} {
		cfg := good
		tc.change(&cfg)
		if _, err := ca.New(cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	if _, err := ca.New(good); err != nil {
		t.Error(err)
	}
}

func p384(t *testing.T) crypto.PublicKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key.Public()
}
