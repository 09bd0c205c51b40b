package ca_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/ctutil"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	"github.com/google/certificate-transparency-go/x509util"
	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/ca/profile"
)

// manyByDefault is how many certificates TestManyCertificates issues where SIGBOX_CERTIFICATES says
// nothing; `make proof` says 100,000.
const manyByDefault = 400

// misfortune is what happens to one issuance, and what must come of it.
type misfortune struct {
	name       string
	signatures int      // that the key has made
	row        ca.State // of the record; "" where there is none
}

// misfortunes are one for each place in which an issuance can break, before and after the thing is done.
var misfortunes = []misfortune{
	{"intent refused", 0, ""},
	{"intent written, answer lost", 0, ca.Intended},
	{"signer gone", 0, ca.Intended},
	{"signature lost", 1, ca.Intended},
	{"signature wrong", 1, ca.Intended},
	{"log refuses", 1, ca.Precertified},
	{"log slow, requester gone", 1, ca.Precertified},
	{"log answers nothing", 1, ca.Precertified},
	{"log lies about the time", 1, ca.Precertified},
	{"log promises another certificate", 1, ca.Precertified},
	{"log signs with another key", 1, ca.Precertified},
	{"log has it, answer lost", 1, ca.Precertified},
	{"signer gone at the certificate", 1, ca.Precertified},
	{"certificate's signature lost", 2, ca.Precertified},
	{"certificate's signature wrong", 2, ca.Precertified},
	{"outcome refused", 2, ca.Intended},
	{"outcome written, answer lost", 2, ca.Issued},
	{"log does not show it", 2, ca.Issued},
	{"requester gone before the log shows it", 2, ca.Issued},
}

// TestManyCertificates issues certificates from many sides at once, one in four of them with a misfortune:
// no serial number occurs twice, no certificate breaks a rule, every one corresponds to the precertificate
// that was logged, and every signature that the key has made has its row.
func TestManyCertificates(t *testing.T) {
	want := int64(manyByDefault)
	if text := os.Getenv("SIGBOX_CERTIFICATES"); text != "" {
		var err error
		if want, err = strconv.ParseInt(text, 10, 64); err != nil || want < 1 {
			t.Fatalf("SIGBOX_CERTIFICATES=%q: want a number of certificates", text)
		}
	} else {
		fmt.Printf("ca: TestManyCertificates issues %d; 100,000 NOT RUN by this tier (make proof)\n", want)
	}
	s := newStack(t)
	m := &many{stack: s, want: want, rows: map[string]expected{}, met: map[string]int{}, lints: lints(t)}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var wg sync.WaitGroup
	for n := range 16 {
		w := m.worker(t, otherLog(t, s), rand.New(rand.NewPCG(seed, uint64(n))))
		wg.Go(func() {
			for m.issued.Load() < want && !t.Failed() {
				w.once(t)
			}
		})
	}
	wg.Wait()
	m.audit(t)
	t.Logf("%d certificates, %d signatures, %d records; %v", m.issued.Load(), s.key.n.Load(), len(m.rows), m.met)
	for _, f := range misfortunes {
		if m.met[f.name] == 0 {
			t.Errorf("%q never happened", f.name)
		}
	}
}

// many is what all workers share.
type many struct {
	*stack
	want   int64
	issued atomic.Int64
	lints  lint.Registry

	mu   sync.Mutex
	rows map[string]expected // by serial number, in hex
	met  map[string]int      // misfortunes
}

// expected is what the records must say of a serial number.
type expected struct {
	state ca.State
	tbs   [32]byte // of the precertificate
	cert  [32]byte // of the certificate that was handed out, or nearly
}

// worker issues one certificate at a time, so that it knows what belongs to each.
type worker struct {
	*many
	near, far *ca.Authority // with a log in the same process, and with another one
	liar      ca.SCTSource
	random    *rand.Rand
	id        profile.Identity
	key       ca.Key

	// Of the current issuance.
	fate       string
	cancel     context.CancelFunc
	intent     *ca.Intent
	outcome    *ca.Outcome
	recorded   bool // the intent, before a signature
	signatures [][]byte
	sct        []byte // of an earlier one
}

func (m *many) worker(t *testing.T, liar ca.SCTSource, random *rand.Rand) *worker {
	t.Helper()
	w := &worker{many: m, liar: liar, random: random, id: identity(t, emailToken("dev@example.com"))}
	if random.IntN(2) == 0 {
		w.id = identity(t, githubToken())
	}
	w.key = prove(t, w.id.Challenge)
	authority := func(scts ca.SCTSource) *ca.Authority {
		a, err := ca.New(ca.Config{
			Key: w, Chain: m.hierarchy.Chain(), SCTs: scts, SCTKey: m.ctKey.Public(), Records: w, Clock: m.clock, Logger: discard(), LogTimeout: time.Minute,
		})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	w.near, w.far = authority(w), authority(source(w.AddPreChain))
	return w
}

// once issues one certificate and holds what came of it to what had to.
func (w *worker) once(t *testing.T) {
	fate := misfortune{"", 2, ca.Issued}
	if w.random.IntN(4) == 0 {
		fate = misfortunes[w.random.IntN(len(misfortunes))]
	}
	if fate.name == "log promises another certificate" && w.sct == nil {
		return
	}
	authority := w.near
	if w.random.IntN(2) == 0 && !strings.HasSuffix(fate.name, " show it") && !strings.HasSuffix(fate.name, " shows it") {
		authority = w.far
	}
	w.fate, w.intent, w.outcome, w.recorded, w.signatures = fate.name, nil, nil, false, nil
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.cancel = cancel
	w.clock.Advance(time.Millisecond)
	chain, err := authority.Issue(ctx, w.id, w.key, ca.Grant{})
	if (err == nil) != (fate.name == "") || (chain != nil) != (err == nil) {
		t.Errorf("%q: %d certificates, %v", fate.name, len(chain), err)
		return
	}
	if len(w.signatures) != fate.signatures {
		t.Errorf("%q: %d signatures, want %d", fate.name, len(w.signatures), fate.signatures)
	}
	serial := w.intent.Serial.Text(16)
	row := expected{state: fate.row, tbs: w.intent.TBSSHA256}
	if len(w.signatures) > 0 && !bytes.Equal(w.signatures[0], w.intent.TBSSHA256[:]) {
		t.Errorf("%q: the key has signed something else than what was recorded", fate.name)
	}
	if fate.row == ca.Issued {
		row.cert = sha256.Sum256(w.outcome.Certificate)
	}
	if chain != nil {
		if !bytes.Equal(chain[0].Raw, w.outcome.Certificate) || chain[0].SerialNumber.Text(16) != serial {
			t.Errorf("%s: another certificate is on record", serial)
		}
		w.check(t, chain)
		w.issued.Add(1)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, twice := w.rows[serial]; twice {
		t.Errorf("serial number %s is there twice", serial)
	}
	w.rows[serial] = row
	w.met[fate.name]++
}

// check holds one certificate to zlint's rules, and to its precertificate by another's code than ours: the
// log's signature is over a TBSCertificate that certificate-transparency-go makes from the final one.
func (w *worker) check(t *testing.T, chain []*x509.Certificate) {
	parsed := make([]*ctx509.Certificate, 2)
	for i := range parsed {
		var err error
		if parsed[i], err = ctx509.ParseCertificate(chain[i].Raw); err != nil {
			t.Error(err)
			return
		}
	}
	scts, err := x509util.ParseSCTsFromCertificate(chain[0].Raw)
	if err != nil || len(scts) != 1 {
		t.Errorf("%d SCTs, %v", len(scts), err)
		return
	}
	if err := ctutil.VerifySCT(w.ctKey.Public(), parsed, scts[0], true); err != nil {
		t.Errorf("%x does not correspond to its precertificate: %v", chain[0].SerialNumber, err)
	}
	z, err := zx509.ParseCertificate(chain[0].Raw)
	if err != nil {
		t.Error(err)
		return
	}
	for name, r := range zlint.LintCertificateEx(z, w.lints).Results {
		if r.Status >= lint.Warn {
			t.Errorf("%x: zlint: %s: %s %s", chain[0].SerialNumber, name, r.Status, r.Details)
		}
	}
}

// lints are zlint's of RFC 5280 and its kin: those of browsers, and of code signing for operating systems,
// are about other certificates.
func lints(t *testing.T) lint.Registry {
	t.Helper()
	r, err := lint.GlobalRegistry().Filter(lint.FilterOptions{
		IncludeSources: lint.SourceList{lint.RFC3279, lint.RFC5280, lint.RFC5480, lint.RFC5891, lint.RFC6960, lint.RFC6962, lint.RFC8813},
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.Names()); n < 100 {
		t.Fatalf("zlint has %d lints left: they show nothing", n)
	}
	return r
}

// Intend, Settle, AddPreChain, Public and Sign stand between the authority and what it works with.

func (w *worker) Intend(ctx context.Context, in ca.Intent) error {
	w.intent = &in
	if w.fate == "intent refused" {
		return errDown
	}
	if err := w.records.Intend(ctx, in); err != nil {
		return err
	}
	if w.fate == "intent written, answer lost" {
		return errDown
	}
	w.recorded = true
	return nil
}

func (w *worker) Settle(ctx context.Context, out ca.Outcome) error {
	w.outcome = &out
	if w.fate == "outcome refused" {
		return errDown
	}
	if err := w.records.Settle(ctx, out); err != nil {
		return err
	}
	if w.fate == "outcome written, answer lost" {
		return errDown
	}
	return nil
}

func (w *worker) AddPreChain(ctx context.Context, chain [][]byte) ([]byte, error) {
	switch w.fate {
	case "log refuses":
		return nil, errDown
	case "log slow, requester gone":
		w.cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	case "log answers nothing":
		return nil, nil
	case "log lies about the time":
		return altered(w.stack, func(c *ct.SignedCertificateTimestamp) { c.Timestamp++ })(ctx, chain)
	case "log promises another certificate":
		return w.sct, nil
	case "log signs with another key":
		return w.liar.AddPreChain(ctx, chain)
	}
	sct, err := w.ct.AddPreChain(ctx, chain)
	if w.fate == "log has it, answer lost" {
		return nil, errDown
	}
	w.sct = sct
	return sct, err
}

func (w *worker) AddPreChainEarly(ctx context.Context, chain []*x509.Certificate) ([]byte, func(context.Context) error, error) {
	if strings.HasPrefix(w.fate, "log ") && w.fate != "log does not show it" {
		return ca.Submit(ctx, source(w.AddPreChain), chain)
	}
	sct, shown, err := w.ct.Vouched().AddPreChainEarly(ctx, chain)
	w.sct = sct
	return sct, func(ctx context.Context) error {
		switch w.fate {
		case "log does not show it":
			return errDown
		case "requester gone before the log shows it":
			w.cancel()
			<-ctx.Done()
			return ctx.Err()
		}
		return shown(ctx)
	}, err
}

func (w *worker) Public() crypto.PublicKey { return w.stack.key.Public() }

func (w *worker) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	if !w.recorded {
		return nil, errors.New("the key was used before the intent was on record")
	}
	second := len(w.signatures) == 1
	if w.fate == "signer gone" || second && w.fate == "signer gone at the certificate" {
		return nil, errDown
	}
	sig, err := w.stack.key.Sign(r, digest, o)
	if err != nil {
		return nil, err
	}
	w.signatures = append(w.signatures, bytes.Clone(digest))
	switch {
	case w.fate == "signature lost" || second && w.fate == "certificate's signature lost":
		return nil, errDown
	case w.fate == "signature wrong" || second && w.fate == "certificate's signature wrong":
		sig[len(sig)-1] ^= 1
	}
	return sig, nil
}

// audit reads all records: each is what was expected, none is missing, none is there that nobody knows.
func (m *many) audit(t *testing.T) {
	t.Helper()
	found, after := 0, int64(0)
	for {
		page, err := m.records.Records(t.Context(), after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			after = r.ID
			found++
			want, ok := m.rows[r.Serial.Text(16)]
			if !ok || r.State != want.state || r.TBSSHA256 != want.tbs {
				t.Errorf("%x: record is %q, want %q (known: %t)", r.Serial, r.State, want.state, ok)
			}
			if want.state == ca.Issued && sha256.Sum256(r.Certificate) != want.cert {
				t.Errorf("%x: another certificate on record", r.Serial)
			}
		}
	}
	rows, signatures := 0, 0
	for _, w := range m.rows {
		if w.state != "" {
			rows++
		}
	}
	for name, n := range m.met {
		per := 2
		for _, f := range misfortunes {
			if f.name == name {
				per = f.signatures
			}
		}
		signatures += n * per
	}
	if found != rows {
		t.Errorf("%d records, want %d", found, rows)
	}
	if got := m.key.n.Load(); got != int64(signatures) {
		t.Errorf("the key has signed %d times, %d signatures have a row", got, signatures)
	}
}
