package ctlog_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry/certificate"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func p384(t *testing.T) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const mismatch = "cert / precert mismatch: add-chain takes certificates, add-pre-chain takes precertificates"

// TestBadChains: every row is refused with its text, by both ways in, and leaves no entry.
func TestBadChains(t *testing.T) {
	s := newStack(t)
	s.seed(t)
	pre := func(change ...func(*x509.Certificate)) []byte {
		return s.leaf(t, append(change, with(poison))...).Raw
	}
	inter, root := s.ca.Intermediate, s.ca.Root
	now := s.clock.Now()
	rogue := newKey(t)
	rogueRoot := makeCert(t, &x509.Certificate{SerialNumber: big.NewInt(9), Subject: root.Subject, NotBefore: now, NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, rogue.Public(), rogue)
	subKey := newKey(t)
	subCA := makeCert(t, &x509.Certificate{SerialNumber: big.NewInt(10), Subject: pkix.Name{CommonName: "below"}, NotBefore: now, NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, inter, subKey.Public(), s.ca.IntermediateKey)
	preIssuer := makeCert(t, &x509.Certificate{SerialNumber: big.NewInt(11), Subject: pkix.Name{CommonName: "pre-issuer"}, NotBefore: now, NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, UnknownExtKeyUsage: []asn1.ObjectIdentifier{{1, 3, 6, 1, 4, 1, 11129, 2, 4, 4}}}, root, subKey.Public(), s.ca.RootKey)
	preIssuer0 := *preIssuer
	preIssuer0.MaxPathLen, preIssuer0.MaxPathLenZero = -1, false
	preBelow := makeCert(t, &x509.Certificate{SerialNumber: big.NewInt(13), Subject: pkix.Name{CommonName: "below"}, NotBefore: now, NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, UnknownExtKeyUsage: preIssuer.UnknownExtKeyUsage}, &preIssuer0, rogue.Public(), subKey)
	notIssued := "chain[1] did not issue chain[0]: send every certificate once, leaf first, each followed by its issuer"
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	good := [][]byte{pre(), inter.Raw}

	for _, tc := range []struct {
		name, row, endpoint string
		chain               [][]byte
		want                string
	}{
		{"eleven certificates", "B-091", "add-pre-chain", append([][]byte{pre()}, bytes11(inter.Raw)...), "cert chain too long: 11 certificates, at most 10 are accepted"},
		{"65 KiB certificate", "B-091", "add-pre-chain", [][]byte{pre(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: make([]byte, 65<<10)}}
		}), inter.Raw}, "chain[0] is larger than 65536 bytes"},
		{"certificate to add-pre-chain", "B-092", "add-pre-chain", [][]byte{s.leaf(t).Raw, inter.Raw, root.Raw}, mismatch},
		{"precertificate to add-chain", "B-092", "add-chain", [][]byte{pre(), inter.Raw, root.Raw}, mismatch},
		{"poison not critical", "B-093", "add-pre-chain", [][]byte{s.leaf(t, with(pkix.Extension{Id: certificate.OIDPoison, Value: asn1.NullBytes})).Raw, inter.Raw}, "CT poison extension is not critical or not NULL"},
		{"poison not NULL", "B-093", "add-pre-chain", [][]byte{s.leaf(t, with(pkix.Extension{Id: certificate.OIDPoison, Critical: true, Value: []byte{4, 0}})).Raw, inter.Raw}, "CT poison extension is not critical or not NULL"},
		{"SCT list in a precertificate", "B-093", "add-pre-chain", [][]byte{pre(with(sctList)), inter.Raw}, "precertificate holds an SCT list"},
		{"root of the same name and another key", "B-094", "add-pre-chain", [][]byte{makeCert(t, s.template(with(poison)), rogueRoot, rogue.Public(), rogue).Raw, rogueRoot.Raw}, "chain does not end in an accepted root"},
		{"self-signed leaf", "B-094", "add-pre-chain", [][]byte{makeCert(t, s.template(with(poison)), nil, rogue.Public(), rogue).Raw}, "chain does not end in an accepted root"},
		{"wrong order", "B-094", "add-pre-chain", [][]byte{inter.Raw, pre(), root.Raw}, "chain[2] did not issue chain[1]: send every certificate once, leaf first, each followed by its issuer"},
		{"missing intermediate", "B-094", "add-pre-chain", [][]byte{pre(), root.Raw}, notIssued},
		{"unrelated certificate", "B-094", "add-pre-chain", [][]byte{pre(), rogueRoot.Raw, inter.Raw, root.Raw}, "chain[2] did not issue chain[1]: send every certificate once, leaf first, each followed by its issuer"},
		{"certificate after the root", "B-094", "add-pre-chain", [][]byte{pre(), inter.Raw, root.Raw, rogueRoot.Raw}, "chain does not end in an accepted root"},
		{"root twice", "B-094", "add-pre-chain", [][]byte{pre(), inter.Raw, root.Raw, root.Raw}, "chain holds a certificate twice"},
		{"intermediate twice", "B-094", "add-pre-chain", [][]byte{pre(), inter.Raw, inter.Raw, root.Raw}, "chain holds a certificate twice"},
		{"signature that does not verify", "B-094", "add-pre-chain", [][]byte{flipLast(pre()), inter.Raw}, notIssued},
		{"CA below an intermediate that may have none", "B-094", "add-pre-chain", [][]byte{makeCert(t, s.template(with(poison)), subCA, rogue.Public(), subKey).Raw, subCA.Raw, inter.Raw, root.Raw}, "chain[2] may not have 1 intermediates below it"},
		{"expired", "B-096", "add-pre-chain", [][]byte{pre(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = now.Add(-20*time.Minute), now.Add(-time.Second)
		}), inter.Raw}, "certificate expired at 2026-03-01T11:59:59Z"},
		{"not yet valid", "B-096", "add-pre-chain", [][]byte{pre(func(c *x509.Certificate) { c.NotBefore = now.Add(61 * time.Second) }), inter.Raw}, "certificate is not valid before 2026-03-01T12:01:01Z"},
		{"wrong EKU", "B-096", "add-chain", [][]byte{s.leaf(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }).Raw, inter.Raw}, "certificate is not for code signing"},
		{"EKU any", "B-096", "add-chain", [][]byte{s.leaf(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }).Raw, inter.Raw}, "certificate is not for code signing"},
		{"trailing byte", "B-097", "add-pre-chain", [][]byte{append(pre(), 0), inter.Raw}, "chain[0] is not a valid certificate"},
		{"not a certificate", "B-097", "add-pre-chain", [][]byte{bytes.Repeat([]byte{0x30, 0x80}, 20000), inter.Raw}, "chain[0] is not a valid certificate"},
		{"deep SEQUENCE", "B-097", "add-pre-chain", [][]byte{deep(30000), inter.Raw}, "chain[0] is not a valid certificate"},
		{"zero serial number", "B-097", "add-pre-chain", [][]byte{surgery(t, s, pre(), serialOf, []byte{2, 1, 0}), inter.Raw}, "chain[0] is not a valid certificate: serial number must be positive and at most 20 octets (RFC 5280 4.1.2.2)"},
		{"serial number of 21 octets", "B-097", "add-pre-chain", [][]byte{surgery(t, s, pre(), serialOf, append([]byte{2, 21}, bytes.Repeat([]byte{1}, 21)...)), inter.Raw}, "chain[0] is not a valid certificate: serial number must be positive and at most 20 octets (RFC 5280 4.1.2.2)"},
		{"negative serial number", "B-097", "add-pre-chain", [][]byte{surgery(t, s, pre(), serialOf, []byte{2, 1, 0x80}), inter.Raw}, "chain[0] is not a valid certificate"},
		{"UTCTime without seconds", "B-097", "add-pre-chain", [][]byte{surgery(t, s, pre(), validityOf, validity("2603011200Z", "260301121000Z")), inter.Raw}, "chain[0] is not a valid certificate: validity is not in the form of RFC 5280 4.1.2.5"},
		{"Ed448 key", "B-097", "add-pre-chain", [][]byte{surgery(t, s, makeCert(t, s.template(with(poison)), inter, edKey.Public(), s.ca.IntermediateKey).Raw, edOID, []byte{6, 3, 0x2b, 0x65, 0x71}), inter.Raw}, "chain[0] is not a valid certificate: public key is of an unknown or refused kind"},
		{"DSA key", "B-097", "add-pre-chain", [][]byte{surgery(t, s, makeCert(t, s.template(with(poison)), inter, edKey.Public(), s.ca.IntermediateKey).Raw, spkiOf, dsaSPKI(t)), inter.Raw}, "chain[0] is not a valid certificate: public key is of an unknown or refused kind"},
		{"issuer with a DSA key", "B-097", "add-pre-chain", [][]byte{pre(), surgery(t, s, makeCert(t, s.template(with(poison)), inter, edKey.Public(), s.ca.IntermediateKey).Raw, spkiOf, dsaSPKI(t)), inter.Raw}, "chain[1] is not a valid certificate: public key is of an unknown or refused kind"},
		{"length in BER", "B-097", "add-pre-chain", [][]byte{ber(t, s, pre()), inter.Raw}, "chain[0] is not a valid certificate"},
		{"length of 2 GiB", "B-097", "add-pre-chain", [][]byte{append([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}, pre()...), inter.Raw}, "chain[0] is not a valid certificate"},
		{"duplicate extension", "B-097", "add-pre-chain", [][]byte{duplicated(t, s), inter.Raw}, "chain[0] is not a valid certificate"},
		{"precertificate signing certificate", "B-099", "add-pre-chain", [][]byte{makeCert(t, s.template(with(poison)), preIssuer, rogue.Public(), subKey).Raw, preIssuer.Raw, root.Raw}, "precertificate signing certificates are not accepted"},
		{"two precertificate signing certificates", "B-099", "add-pre-chain", [][]byte{makeCert(t, s.template(with(poison)), preBelow, rogue.Public(), rogue).Raw, preBelow.Raw, preIssuer.Raw, root.Raw}, "chain[3] may not have 2 intermediates below it"},
		{"precertificate of a CA", "B-092", "add-pre-chain", [][]byte{makeCert(t, &x509.Certificate{SerialNumber: big.NewInt(12), Subject: pkix.Name{CommonName: "ca"}, NotBefore: now, NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true, ExtraExtensions: []pkix.Extension{poison}}, root, rogue.Public(), s.ca.RootKey).Raw, root.Raw}, "precertificate of a CA"},
	} {
		if _, err := s.server.AddPreChain(t.Context(), good); err != nil { // so that its issuers are those that were accepted last
			t.Fatal(err)
		}
		size := s.size(t)
		start := time.Now()
		status, body := s.post(t, "/ct/v1/"+tc.endpoint, chainBody(t, tc.chain))
		if want := "Bad Request\n" + tc.want + "\n"; status != http.StatusBadRequest || body != want {
			t.Errorf("%s (%s): %d %q, want 400 %q", tc.name, tc.row, status, body, want)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s (%s): took %s", tc.name, tc.row, took)
		}
		if tc.endpoint == "add-pre-chain" {
			if sct, err := s.server.AddPreChain(t.Context(), tc.chain); err == nil || sct != nil {
				t.Errorf("%s (%s): accepted in process", tc.name, tc.row)
			}
		}
		if got := s.size(t); got != size {
			t.Fatalf("%s (%s): the log grew from %d to %d", tc.name, tc.row, size, got)
		}
	}
	if s.logged.Len() != 0 {
		t.Errorf("bad requests are logged as our errors:\n%s", s.logged)
	}
}

// TestBadBodies: what is no chain at all.
func TestBadBodies(t *testing.T) {
	s := newStack(t)
	cert := base64.StdEncoding.EncodeToString(s.leaf(t).Raw)
	url64 := base64.URLEncoding.EncodeToString([]byte{0xfb, 0xff, 0xfe, 0x3e})
	json := http.Header{"Content-Type": {"application/json"}}
	for _, tc := range []struct {
		name, row, body string
		header          http.Header
		status          int
		want            string
	}{
		{"no chain", "B-090", `{}`, json, 400, "cert chain was empty"},
		{"empty chain", "B-090", `{"chain":[]}`, json, 400, "cert chain was empty"},
		{"null chain", "B-090", `{"chain":null}`, json, 400, "cert chain was empty"},
		{"null", "B-090", `null`, json, 400, "cert chain was empty"},
		{"not base64", "B-090", `{"chain":["!"]}`, json, 400, "chain[0] is invalid: want a DER certificate in standard base64"},
		{"URL base64", "B-090", `{"chain":["` + url64 + `"]}`, json, 400, "chain[0] is invalid: want a DER certificate in standard base64"},
		{"empty certificate", "B-090", `{"chain":["` + cert + `",""]}`, json, 400, "chain[1] is invalid: want a DER certificate in standard base64"},
		{"list for an object", "B-090", `[]`, json, 400, "body has the wrong type: want an object"},
		{"number for chain", "B-090", `{"chain":7}`, json, 400, `field "chain" has the wrong type: want []string`},
		{"10k certificates", "B-091", `{"chain":["QQ=="` + strings.Repeat(`,"QQ=="`, 9999) + `]}`, json, 400, "cert chain too long: 10000 certificates, at most 10 are accepted"},
		{"body beyond the limit", "B-091", `{"chain":["` + strings.Repeat("A", 600<<10) + `"]}`, json, 413, "Request Entity Too Large. Limit set to 524288"},
		{"duplicate key", "B-025", `{"chain":[],"Chain":[]}`, json, 400, "duplicate field in JSON object"},
		{"trailing data", "B-027", `{"chain":[]}{}`, json, 400, "trailing data after the JSON body"},
		{"deep JSON", "B-024", strings.Repeat("[", 1000), json, 400, "JSON nesting is deeper than 64"},
		{"not UTF-8", "B-026", "{\"chain\":[\"\xff\"]}", json, 400, "body is not valid UTF-8 JSON"},
		{"text/plain", "B-028", `{}`, http.Header{"Content-Type": {"text/plain"}}, 415, "content type must be application/json"},
		{"gzip", "B-006", `{}`, http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}, 415, "content encoding not supported: send the body as it is"},
	} {
		for _, endpoint := range []string{"add-chain", "add-pre-chain"} {
			status, body := s.send(t, http.MethodPost, "/ct/v1/"+endpoint, tc.body, tc.header)
			if want := http.StatusText(tc.status) + "\n" + tc.want + "\n"; status != tc.status || body != want {
				t.Errorf("%s (%s): %d %q, want %d %q", tc.name, tc.row, status, body, tc.status, want)
			}
		}
	}
	if got := s.size(t); got != 0 {
		t.Errorf("the log grew to %d", got)
	}
}

// TestBadQueries: reads with parameters that no two decoders should have to agree on.
func TestBadQueries(t *testing.T) {
	s := newStack(t)
	s.seed(t)
	malformed := func(p string) string {
		return "parameter '" + p + "' is malformed: want a decimal number of at least 0"
	}
	hash := base64.StdEncoding.EncodeToString(make([]byte, 32))
	badHash := "parameter 'hash' is malformed: want 32 bytes in standard base64, percent-encoded"
	rows := []struct {
		row, path string
		status    int
		want      string
	}{
		{"B-105", "get-sth-consistency", 400, "parameter 'first' is required"},
		{"B-105", "get-sth-consistency?first=&second=1", 400, "parameter 'first' is required"},
		{"B-105", "get-sth-consistency?first=1", 400, "parameter 'second' is required"},
		{"B-106", "get-sth-consistency?first=2&second=1", 400, "invalid first, second params: 2 1"},
		{"B-108", "get-sth-consistency?first=1&second=3", 400, "need tree size: 3 for proof but only got: 2"},
		{"B-108", "get-sth-consistency?first=0&second=3", 400, "need tree size: 3 for proof but only got: 2"},
		{"B-109", "get-sth-consistency?first=1&second=2&first=1", 400, "parameter 'first' is given more than once"},
		{"B-109", "get-sth-consistency?first=1;second=2", 400, "query is malformed"},
		{"B-110", "get-proof-by-hash?tree_size=1", 400, "parameter 'hash' is required"},
		{"B-110", "get-proof-by-hash?tree_size=1&hash=" + base64.StdEncoding.EncodeToString(make([]byte, 31)), 400, badHash},
		{"B-110", "get-proof-by-hash?tree_size=1&hash=" + base64.StdEncoding.EncodeToString(make([]byte, 33)), 400, badHash},
		{"B-110", "get-proof-by-hash?tree_size=1&hash=" + strings.Repeat("00", 32), 400, badHash},
		{"B-110", "get-proof-by-hash?tree_size=1&hash=%2B+" + hash[2:], 400, badHash},
		{"B-110", "get-proof-by-hash?tree_size=1&hash=" + strings.Repeat("-", 43) + "=", 400, badHash},
		{"B-110", "get-proof-by-hash?hash=" + hash, 400, "parameter 'tree_size' is required"},
		{"B-110", "get-proof-by-hash?tree_size=0&hash=" + hash, 400, "missing or invalid tree_size: want at least 1"},
		{"B-110", "get-proof-by-hash?tree_size=-1&hash=" + hash, 400, malformed("tree_size")},
		{"B-110", "get-proof-by-hash?tree_size=3&hash=" + hash, 404, "log returned tree size: 2 but we expected: 3"},
		{"B-110", "get-proof-by-hash?tree_size=2&hash=" + hash, 404, "no entry with this leaf hash in a tree of size 2"},
		{"B-111", "get-entries?start=1&end=0", 400, "start (1) and end (0) is not a valid range"},
		{"B-111", "get-entries?start=-1&end=0", 400, malformed("start")},
		{"B-111", "get-entries?start=a&end=0", 400, malformed("start")},
		{"B-111", "get-entries?start=2&end=2", 400, "need tree size: 3 to get leaves but only got: 2"},
		{"B-111", "get-entries?start=9223372036854775807&end=9223372036854775807", 400, "need tree size: 9223372036854775808 to get leaves but only got: 2"},
		{"B-113", "get-entry-and-proof?leaf_index=2&tree_size=2", 400, "leaf_index 2 out of range for tree of size 2"},
		{"B-113", "get-entry-and-proof?leaf_index=0&tree_size=0", 400, "leaf_index 0 out of range for tree of size 0"},
		{"B-113", "get-entry-and-proof?leaf_index=0&tree_size=3", 400, "need tree size: 3 for proof but only got: 2"},
		{"B-113", "get-entry-and-proof?leaf_index=0", 400, "parameter 'tree_size' is required"},
	}
	for _, v := range []string{"-1", "%2B1", "1.0", "0x1", "%201", "9223372036854775808", "18446744073709551616", "1e30", "%D9%A1", "01", "1_0"} {
		rows = append(rows, struct {
			row, path string
			status    int
			want      string
		}{"B-105", "get-sth-consistency?first=" + v + "&second=2", 400, malformed("first")})
	}
	for _, tc := range rows {
		status, body := s.get(t, "/ct/v1/"+tc.path)
		if want := http.StatusText(tc.status) + "\n" + tc.want + "\n"; status != tc.status || body != want {
			t.Errorf("%s %s: %d %q, want %d %q", tc.row, tc.path, status, body, tc.status, want)
		}
	}
}

// TestEdgesOfReads: what is not refused.
func TestEdgesOfReads(t *testing.T) {
	s := newStack(t)
	s.seed(t)
	for path, want := range map[string]string{
		"get-sth-consistency?first=0&second=2": `{"consistency":[]}` + "\n", // B-107
		"get-sth-consistency?first=2&second=2": `{"consistency":[]}` + "\n",
	} {
		if status, body := s.get(t, "/ct/v1/"+path); status != 200 || body != want {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	status, body := s.get(t, "/ct/v1/get-entries?start=1&end=4611686018427387904") // B-112
	if status != 200 || strings.Count(body, "leaf_input") != 1 {
		t.Errorf("clipped range: %d %s", status, body)
	}
	if status, _ := s.get(t, "/ct/v1/get-roots?"+strings.Repeat("x", 1<<16)); status != 200 { // B-114
		t.Errorf("get-roots with a long query: %d", status)
	}
	for _, path := range []string{"add-chain", "add-pre-chain"} { // B-104
		if status, _ := s.get(t, "/ct/v1/"+path); status != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: %d", path, status)
		}
	}
	for _, path := range []string{"get-sth", "get-entries", "get-roots", "get-proof-by-hash", "get-sth-consistency", "get-entry-and-proof"} {
		if status, _ := s.post(t, "/ct/v1/"+path, "{}"); status != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d", path, status)
		}
	}
}

// TestPages: long ranges end at the multiples of a page.
func TestPages(t *testing.T) {
	s := newStack(t)
	done := make(chan error, 300)
	for i := range 300 {
		leaf := s.leaf(t)
		go func() {
			e, err := certificate.NewX509(leaf, s.ca.Chain())
			if err == nil {
				_, err = s.log.Append(t.Context(), e)
			}
			done <- err
		}()
		if i%50 == 49 {
			for range 50 {
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, tc := range []struct{ start, end, want int }{{0, 1 << 30, 256}, {10, 400, 246}, {10, 20, 11}, {256, 9999, 44}, {299, 299, 1}, {20, 275, 256}, {20, 276, 236}} {
		status, body := s.get(t, fmt.Sprintf("/ct/v1/get-entries?start=%d&end=%d", tc.start, tc.end))
		if got := strings.Count(body, "leaf_input"); status != 200 || got != tc.want {
			t.Errorf("entries %d to %d: %d with %d entries, want %d", tc.start, tc.end, status, got, tc.want)
		}
	}
}

// broken is the log with one method replaced.
type broken struct {
	tlog.Log
	append func(tlog.Receipt, error) (tlog.Receipt, error)
}

func (b broken) Append(ctx context.Context, e tlog.Entry) (tlog.Receipt, error) {
	return b.append(b.Log.Append(ctx, e))
}

// TestLogFaults: what the log answers is believed only where it can be checked, and becomes the
// status that clients act on.
func TestLogFaults(t *testing.T) {
	fail := func(err error) func(tlog.Receipt, error) (tlog.Receipt, error) {
		return func(tlog.Receipt, error) (tlog.Receipt, error) { return tlog.Receipt{}, err }
	}
	alter := func(f func(*tlog.Receipt)) func(tlog.Receipt, error) (tlog.Receipt, error) {
		return func(r tlog.Receipt, err error) (tlog.Receipt, error) {
			r.Leaf.Data = bytes.Clone(r.Leaf.Data)
			f(&r)
			return r, err
		}
	}
	for _, tc := range []struct {
		name   string
		append func(tlog.Receipt, error) (tlog.Receipt, error)
		status int
		want   string
	}{
		{"frozen", fail(tlog.ErrFrozen), 403, "log is frozen"},
		{"busy", fail(tlog.ErrBusy), 429, "log is busy"},
		{"unavailable", fail(tlog.ErrUnavailable), 503, "log is not healthy"},
		{"too large", fail(tlog.ErrTooLarge), 413, "entry is larger than the log takes"},
		{"unknown", fail(fmt.Errorf("dial tcp 10.0.0.1: secret")), 500, "internal error"},
		{"another time than the leaf's", alter(func(r *tlog.Receipt) { r.Leaf.TimeMS++ }), 500, "internal error"},
		{"a bit of the leaf flipped", alter(func(r *tlog.Receipt) { r.Leaf.Data[100] ^= 1 }), 500, "internal error"},
		{"a stored entry cut short", alter(func(r *tlog.Receipt) { r.Leaf.Data = r.Leaf.Data[:10] }), 500, "internal error"},
		{"a proof for another root", alter(func(r *tlog.Receipt) { r.Checkpoint.Root[0] ^= 1 }), 500, "internal error"},
		{"a proof for another index", alter(func(r *tlog.Receipt) { r.Leaf.Index++ }), 500, "internal error"},
	} {
		s := newStack(t, func(l tlog.Log) tlog.Log { return broken{l, tc.append} })
		status, body := s.post(t, "/ct/v1/add-pre-chain", chainBody(t, ders(s.leaf(t, with(poison)), s.ca.Intermediate)))
		if want := http.StatusText(tc.status) + "\n" + tc.want + "\n"; status != tc.status || body != want {
			t.Errorf("%s: %d %q, want %d %q", tc.name, status, body, tc.status, want)
		}
		if (tc.status >= 500) != (s.logged.Len() > 0) {
			t.Errorf("%s: logged %q", tc.name, s.logged)
		}
	}
}

// TestFrozen freezes the real log: no entry is taken, the head stays and is served.
func TestFrozen(t *testing.T) {
	s := newStack(t)
	s.seed(t)
	if err := s.log.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, before := s.get(t, "/ct/v1/get-sth")
	status, body := s.post(t, "/ct/v1/add-pre-chain", chainBody(t, ders(s.leaf(t, with(poison)), s.ca.Intermediate)))
	if status != 403 || body != "Forbidden\nlog is frozen\n" {
		t.Errorf("%d %q", status, body)
	}
	if _, after := s.get(t, "/ct/v1/get-sth"); after != before {
		t.Error("the head moved")
	}
	if _, err := s.server.AddPreChain(t.Context(), ders(s.leaf(t, with(poison)), s.ca.Intermediate)); !errors.Is(err, ca.ErrLogEnded) {
		t.Errorf("in process: %v, want ca.ErrLogEnded", err)
	}
}

// flipLast breaks a certificate's signature and nothing else.
func flipLast(der []byte) []byte {
	der = bytes.Clone(der)
	der[len(der)-1] ^= 1
	return der
}

func bytes11(der []byte) [][]byte {
	out := make([][]byte, 10)
	for i := range out {
		out[i] = der
	}
	return out
}

// deep nests SEQUENCEs with honest lengths.
func deep(n int) []byte {
	b := []byte{}
	for range n {
		if len(b) > 60000 {
			break
		}
		switch l := len(b); {
		case l < 128:
			b = append([]byte{0x30, byte(l)}, b...)
		case l < 256:
			b = append([]byte{0x30, 0x81, byte(l)}, b...)
		default:
			b = append([]byte{0x30, 0x82, byte(l >> 8), byte(l)}, b...)
		}
	}
	return b
}

// TestIssuersAgain: a second chain with the same issuers is accepted by what is remembered of the first, which
// is a copy, and roots that are replaced are remembered no more.
func TestIssuersAgain(t *testing.T) {
	s := newStack(t)
	s.seed(t)
	issuers := [][]byte{bytes.Clone(s.ca.Intermediate.Raw), bytes.Clone(s.ca.Root.Raw)}
	submit := func() error {
		_, err := s.server.AddPreChain(t.Context(), append([][]byte{s.leaf(t, with(poison)).Raw}, issuers...))
		return err
	}
	for range 2 {
		size := s.size(t)
		if err := submit(); err != nil || s.size(t) != size+1 {
			t.Fatalf("%v, the log grew from %d to %d", err, size, s.size(t))
		}
	}
	issuers[0][len(issuers[0])-1] ^= 1
	if err := submit(); err == nil {
		t.Error("issuers that were changed after they were accepted are still those")
	}
	issuers[0][len(issuers[0])-1] ^= 1
	other, err := ca.NewHierarchy(s.clock, "other")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.server.Accept([]*x509.Certificate{other.Root}); err != nil {
		t.Fatal(err)
	}
	if err := submit(); err == nil {
		t.Error("a root that is not accepted any more")
	}
}
