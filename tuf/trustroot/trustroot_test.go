package trustroot_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/trustroot"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

var (
	now    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	update = flag.Bool("update", false, "make testdata anew: other keys, and the files composed of them")
)

func byName(targets []tuf.Target) map[string]tuf.Target {
	out := map[string]tuf.Target{}
	for _, t := range targets {
		out[t.Name] = t
	}
	return out
}

// TestClientsLoad reads every file as the client it is for does.
func TestClientsLoad(t *testing.T) {
	m := tuftest.Material(t, "http://127.0.0.1:8080", now)
	got := byName(tuftest.Compose(t, m))

	tr, err := root.NewTrustedRootFromJSON(got[trustroot.TrustedRootName].Content)
	if err != nil {
		t.Fatal(err)
	}
	if len(tr.RekorLogs()) != 2 || len(tr.CTLogs()) != 1 || len(tr.FulcioCertificateAuthorities()) != 1 || len(tr.TimestampingAuthorities()) != 1 {
		t.Errorf("trusted root has %d logs, %d CT logs", len(tr.RekorLogs()), len(tr.CTLogs()))
	}
	ca := tr.FulcioCertificateAuthorities()[0].(*root.FulcioCertificateAuthority)
	if !ca.Root.Equal(m.CAs[0].Chain[1]) || len(ca.Intermediates) != 1 || !ca.Intermediates[0].Equal(m.CAs[0].Chain[0]) {
		t.Error("CA chain is out of order")
	}
	tsa := tr.TimestampingAuthorities()[0].(*root.SigstoreTimestampingAuthority)
	if !tsa.Leaf.Equal(m.TSAs[0].Chain[0]) || !tsa.Root.Equal(m.TSAs[0].Chain[1]) {
		t.Error("TSA chain is out of order")
	}
	for _, log := range []trustroot.Log{m.RekorV1[0], m.RekorV2[0]} {
		id, err := keys.ID(log.Key)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, l := range tr.RekorLogs() {
			found = found || bytes.Equal(l.ID, id[:]) && l.BaseURL == log.URL && l.ValidityPeriodStart.Equal(log.Valid.Start)
		}
		if !found {
			t.Errorf("no log with id %x", id)
		}
	}

	for name, version := range map[string]uint32{trustroot.SigningConfigName: 1, trustroot.SigningConfigV2Name: 2} {
		sc, err := root.NewSigningConfigFromJSON(got[name].Content)
		if err != nil {
			t.Fatal(err)
		}
		logs, err := root.SelectServices(sc.RekorLogURLs(), sc.RekorLogURLsConfig(), []uint32{1, 2}, now)
		if err != nil || len(logs) != 1 || logs[0].MajorAPIVersion != version || logs[0].URL != m.RekorV1[0].URL {
			t.Errorf("%s: logs %+v, %v", name, logs, err)
		}
		tsas, err := root.SelectServices(sc.TimestampAuthorityURLs(), sc.TimestampAuthorityURLsConfig(), []uint32{1}, now)
		if err != nil || len(tsas) != 1 || tsas[0].URL != m.TSAs[0].URL {
			t.Errorf("%s: TSAs %+v, %v", name, tsas, err)
		}
		for _, list := range [][]root.Service{sc.FulcioCertificateAuthorityURLs(), sc.OIDCProviderURLs()} {
			s, err := root.SelectService(list, []uint32{1}, now)
			if err != nil || s.URL != "http://127.0.0.1:8080" || s.Operator != m.Operator {
				t.Errorf("%s: %+v, %v", name, s, err)
			}
		}
	}
}

// TestReadByOldAndStrictReaders: what COMPAT.md 6 asks beyond what sigstore-go checks.
func TestReadByOldAndStrictReaders(t *testing.T) {
	m := tuftest.Material(t, "http://127.0.0.1:8080", now.Add(time.Millisecond))
	got := byName(tuftest.Compose(t, m))
	tr := string(got[trustroot.TrustedRootName].Content)
	if strings.Contains(tr, "operator") {
		t.Error("trusted_root.json names an operator: protobuf-specs 0.4.1 refuses the file")
	}
	if strings.Contains(tr, "checkpointKeyId") {
		t.Error("trusted_root.json has a checkpointKeyId: sigstore-js would use it for everything")
	}
	if !strings.Contains(tr, `"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"`) {
		t.Error("media type")
	}
	var raw struct {
		Tlogs []struct {
			PublicKey struct {
				RawBytes []byte
				ValidFor map[string]string
			}
		}
		CertificateAuthorities []struct{ Subject map[string]string }
	}
	if err := json.Unmarshal([]byte(tr), &raw); err != nil {
		t.Fatal(err)
	}
	v1, err := keys.SPKI(m.RekorV1[0].Key)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(raw.Tlogs[len(raw.Tlogs)-1].PublicKey.RawBytes, v1) {
		t.Error("the last log is not the v1 log, which policy-controller asks")
	}
	if start := raw.Tlogs[0].PublicKey.ValidFor["start"]; start != "2026-03-01T11:00:00Z" {
		t.Errorf("start %q", start)
	}
	if s := raw.CertificateAuthorities[0].Subject; s["organization"] == "" || s["commonName"] == "" {
		t.Errorf("subject %v", s)
	}
	for _, name := range []string{trustroot.SigningConfigName, trustroot.SigningConfigV2Name} {
		sc := string(got[name].Content)
		if n := strings.Count(sc, `"operator": "sigbox-test"`); n != 4 {
			t.Errorf("%s: operator is set %d times, python wants it on all 4 services", name, n)
		}
		if n := strings.Count(sc, `"selector": "ANY"`); n != 2 {
			t.Errorf("%s: %d selectors", name, n)
		}
	}
}

// TestLegacyTargets: older clients find keys by usage, or by the fallback name.
func TestLegacyTargets(t *testing.T) {
	m := tuftest.Material(t, "http://127.0.0.1:8080", now)
	got := byName(tuftest.Compose(t, m))
	for name, usage := range map[string]string{
		trustroot.FulcioName: "Fulcio", trustroot.RekorName: "Rekor", trustroot.CTName: "CTFE", trustroot.TSAName: "TSA",
		trustroot.RekorV2Name: "", trustroot.TrustedRootName: "", trustroot.SigningConfigName: "", trustroot.SigningConfigV2Name: "",
	} {
		target, ok := got[name]
		if !ok {
			t.Errorf("no target %s", name)
			continue
		}
		var custom struct {
			Sigstore struct{ Usage, Status, URI string }
		}
		if target.Custom != nil {
			if err := json.Unmarshal(target.Custom, &custom); err != nil {
				t.Fatal(err)
			}
		}
		if (usage != "") != (target.Custom != nil) || custom.Sigstore.Usage != usage {
			t.Errorf("%s: custom %s", name, target.Custom)
		}
		if usage != "" && (custom.Sigstore.Status != "Active" || !strings.HasPrefix(custom.Sigstore.URI, "http://127.0.0.1:8080")) {
			t.Errorf("%s: custom %s", name, target.Custom)
		}
	}
	for name, chain := range map[string][]*x509.Certificate{trustroot.FulcioName: m.CAs[0].Chain, trustroot.TSAName: m.TSAs[0].Chain} {
		if certs := parseChain(t, got[name].Content); !slices.EqualFunc(certs, chain, (*x509.Certificate).Equal) {
			t.Errorf("%s does not hold the whole chain in order", name)
		}
	}
	if want, _ := keys.PublicPEM(m.RekorV1[0].Key); !bytes.Equal(got[trustroot.RekorName].Content, want) {
		t.Errorf("%s is\n%s", trustroot.RekorName, got[trustroot.RekorName].Content)
	}
}

func parseChain(t *testing.T, raw []byte) (out []*x509.Certificate) {
	t.Helper()
	for {
		block, rest := pem.Decode(raw)
		if block == nil {
			return out
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		out, raw = append(out, c), rest
	}
}

// TestRotation: an older key stays trusted, with its end, and is not offered for signing; the
// legacy target of the newest has the plain name.
func TestRotation(t *testing.T) {
	m := tuftest.Material(t, "http://127.0.0.1:8080", now)
	next := tuftest.Material(t, "http://127.0.0.1:8080", now.AddDate(0, 1, 0))
	retire := now.AddDate(0, 1, 1)
	end := func(a *trustroot.Authority) { a.Valid.End = retire }
	end(&m.CAs[0])
	end(&m.TSAs[0])
	m.RekorV1[0].Valid.End = next.RekorV1[0].Valid.Start
	m.CAs, m.TSAs, m.RekorV1 = append(next.CAs, m.CAs...), append(next.TSAs, m.TSAs...), append(next.RekorV1, m.RekorV1...)
	got := byName(tuftest.Compose(t, m))
	tr, err := root.NewTrustedRootFromJSON(got[trustroot.TrustedRootName].Content)
	if err != nil {
		t.Fatal(err)
	}
	if len(tr.RekorLogs()) != 3 || len(tr.FulcioCertificateAuthorities()) != 2 || len(tr.TimestampingAuthorities()) != 2 {
		t.Error("an older key is not trusted any more")
	}
	sc, err := root.NewSigningConfigFromJSON(got[trustroot.SigningConfigName].Content)
	if err != nil {
		t.Fatal(err)
	}
	if len(sc.RekorLogURLs()) != 1 || len(sc.FulcioCertificateAuthorityURLs()) != 1 || len(sc.TimestampAuthorityURLs()) != 1 {
		t.Error("a retired service is offered")
	}
	var expired []string
	for name, target := range got {
		if bytes.Contains(target.Custom, []byte(`"Expired"`)) {
			expired = append(expired, name)
		}
	}
	if len(expired) != 2 || got[trustroot.RekorName].Custom == nil || slices.Contains(expired, trustroot.RekorName) || slices.Contains(expired, trustroot.FulcioName) {
		t.Errorf("expired targets: %v", expired)
	}
	if certs := parseChain(t, got[trustroot.TSAName].Content); len(certs) != 2 || !certs[0].Equal(next.TSAs[0].Chain[0]) {
		t.Error("legacy clients refuse more than one TSA leaf: want the newest only")
	}
}

// TestPublishedBeforeUse: clients that know one key alone have the one that signs, while the next one is
// published and not used.
func TestPublishedBeforeUse(t *testing.T) {
	m := tuftest.Material(t, "http://127.0.0.1:8080", now)
	next := tuftest.Material(t, "http://127.0.0.1:8080", now.AddDate(0, 1, 0))
	next.CTLogs[0].URL += "/ct-2"
	both := m
	both.CAs, both.TSAs, both.CTLogs = append(next.CAs, m.CAs...), append(next.TSAs, m.TSAs...), append(next.CTLogs, m.CTLogs...)
	retired := both
	retired.CAs, retired.TSAs, retired.CTLogs = slices.Clone(both.CAs), slices.Clone(both.TSAs), slices.Clone(both.CTLogs)
	for _, end := range []*time.Time{&retired.CAs[1].Valid.End, &retired.TSAs[1].Valid.End, &retired.CTLogs[1].Valid.End} {
		*end = now.AddDate(0, 2, 0)
	}
	names := []string{trustroot.FulcioName, trustroot.TSAName, trustroot.CTName}
	for what, tc := range map[string]struct{ got, like trustroot.Material }{"published": {both, m}, "retired": {retired, next}} {
		got, like := byName(tuftest.Compose(t, tc.got)), tc.like
		for i, want := range [][]byte{like.CAs[0].Chain[0].Raw, like.TSAs[0].Chain[0].Raw} {
			if certs := parseChain(t, got[names[i]].Content); !bytes.Equal(certs[0].Raw, want) {
				t.Errorf("%s: %s begins with %s", what, names[i], certs[0].Subject)
			}
		}
		if want, _ := keys.PublicPEM(like.CTLogs[0].Key); !bytes.Equal(got[trustroot.CTName].Content, want) {
			t.Errorf("%s: %s is not the key in use", what, trustroot.CTName)
		}
		if n := strings.Count(strings.Join(slices.Collect(maps.Keys(got)), " "), "_"+trustroot.FulcioName); n != 1 {
			t.Errorf("%s: the other authority is there %d times", what, n)
		}
	}
}

// TestOrderOfInput: the order in which material is collected changes no byte, so it causes no
// publication.
func TestOrderOfInput(t *testing.T) {
	m := tuftest.Material(t, "http://127.0.0.1:8080", now)
	m.CAs = append(m.CAs, tuftest.Material(t, "http://127.0.0.1:8080", now.Add(time.Hour)).CAs...)
	a := byName(tuftest.Compose(t, m))
	slices.Reverse(m.CAs)
	b := byName(tuftest.Compose(t, m))
	if len(a) != len(b) {
		t.Fatal(len(a), len(b))
	}
	for name := range a {
		if !bytes.Equal(a[name].Content, b[name].Content) {
			t.Errorf("%s differs", name)
		}
	}
}

// TestGolden pins every byte for fixed keys and certificates. A change here is a change that
// every client downloads.
func TestGolden(t *testing.T) {
	if *update {
		writeTestdata(t)
	}
	for _, target := range tuftest.Compose(t, readTestdata(t)) {
		path := filepath.Join("testdata", "golden", target.Name)
		if *update {
			if err := os.WriteFile(path, target.Content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(target.Content, want) {
			t.Errorf("%s:\n%s\nwant\n%s", target.Name, target.Content, want)
		}
	}
}

func writeTestdata(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll("testdata/golden", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, target := range tuftest.Compose(t, tuftest.Material(t, "https://sigstore.example.com", now)) {
		if filepath.Ext(target.Name) == ".json" {
			continue
		}
		if err := os.WriteFile(filepath.Join("testdata", target.Name), target.Content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func readTestdata(t *testing.T) trustroot.Material {
	t.Helper()
	read := func(name string) []byte {
		raw, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	valid := trustroot.Window{Start: now.Add(-time.Hour)}
	log := func(url, name string) []trustroot.Log {
		block, _ := pem.Decode(read(name))
		pub, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return []trustroot.Log{{URL: url, Key: pub, Valid: valid}}
	}
	return trustroot.Material{
		Operator: "sigstore.example.com",
		CAs:      []trustroot.Authority{{URL: "https://ca.example.com", Chain: parseChain(t, read(trustroot.FulcioName)), Valid: valid}},
		TSAs:     []trustroot.Authority{{URL: "https://ca.example.com/api/v1/timestamp", Chain: parseChain(t, read(trustroot.TSAName)), Valid: valid}},
		RekorV1:  log("https://log.example.com", trustroot.RekorName),
		RekorV2:  log("https://log2.example.com", trustroot.RekorV2Name),
		CTLogs:   log("https://log.example.com/ct", trustroot.CTName),
		Issuers:  []trustroot.Issuer{{URL: "https://login.example.com/realms/sig", Valid: valid}},
	}
}

// TestLogIDIsTheWholeDigest: 32 bytes, of the SPKI.
func TestLogIDIsTheWholeDigest(t *testing.T) {
	m := readTestdata(t)
	der, err := keys.SPKI(m.CTLogs[0].Key)
	if err != nil {
		t.Fatal(err)
	}
	id := sha256.Sum256(der)
	want, err := json.Marshal(id[:])
	if err != nil {
		t.Fatal(err)
	}
	if got := byName(tuftest.Compose(t, m))[trustroot.TrustedRootName].Content; !bytes.Contains(got, append([]byte(`"keyId": `), want...)) {
		t.Errorf("no log id %s in\n%s", want, got)
	}
}
