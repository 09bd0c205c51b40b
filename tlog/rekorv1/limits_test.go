package rekorv1_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/entry/hashedrekord"
	"github.com/sigbox/sigbox/tlog/rekorv1"
)

// named is an entry by a key whose certificate has that many names.
func named(t *testing.T, names int) []byte {
	t.Helper()
	key := entrytest.P256(t)
	san := entrytest.SAN{}
	for i := range names {
		san.DNS = append(san.DNS, fmt.Sprintf("Host%d.example.com", i))
	}
	digest := entrytest.Digest(h256, []byte("x"))
	return entrytest.HashedRekord(entrytest.CertPEM(entrytest.Cert(t, key, san, nil, nil)), h256, digest, entrytest.SignDigest(t, key, h256, digest))
}

// TestLargeEntry: an entry that is larger than the log takes is refused before anything of it is signed or kept
// (B-139).
func TestLargeEntry(t *testing.T) {
	s := newServer(t, func(_ *rekorv1.Config, l *tlog.Config) { l.MaxEntry = 4 << 10 })
	s.add(named(t, 10))
	a := s.post(entriesPath, named(t, 100))
	if code, message := errorBody(t, a); a.StatusCode != http.StatusRequestEntityTooLarge || code != a.StatusCode || !strings.Contains(message, "larger than the log takes (tlog.limits.entry)") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a.Header.Get("Location") != "" || s.size() != 1 {
		t.Errorf("Location %q, %d entries", a.Header.Get("Location"), s.size())
	}
}

// TestManyNames: of a certificate with 10,000 names the first become search keys, in lower case, and the entry is
// found by these; letters that only look alike find nothing (B-140).
func TestManyNames(t *testing.T) {
	s := newServer(t)
	id, e := s.add(named(t, 10_000))
	s.verify(e)
	for subject, found := range map[string]bool{
		"host0.example.com": true, "HOST98.EXAMPLE.COM": true, "host99.example.com": false, "host9999.example.com": false,
		"h\u043est0.example.com": false, "host0.example.com.": false, "ho\u017ft0.example.com": false,
	} {
		a := s.post("/api/v1/index/retrieve", entrytest.JSON(t, map[string]string{"subject": subject}))
		if a.StatusCode != http.StatusOK || strings.Contains(string(a.body), id) != found {
			t.Errorf("%q: %d %s, want it found: %v", subject, a.StatusCode, a.body, found)
		}
	}
}

// leftLog goes on with an entry when its client has gone.
type leftLog struct {
	tlog.Log
	arrived chan struct{}
}

func (l leftLog) Append(ctx context.Context, e tlog.Entry) (tlog.Receipt, error) {
	close(l.arrived)
	<-ctx.Done()
	if _, err := l.Log.Append(context.WithoutCancel(ctx), e); err != nil {
		return tlog.Receipt{}, err
	}
	return tlog.Receipt{}, ctx.Err()
}

// TestClientGone: a client that leaves before the answer finds its entry when it comes back, and the log says 499
// (B-142).
func TestClientGone(t *testing.T) {
	s := newServer(t)
	s.add(artifact(t, 1))
	inner, arrived := s.log, make(chan struct{})
	c := rekorv1.Config{Log: leftLog{inner, arrived}, TreeID: treeID, Signer: s.key, Kinds: entry.Kinds{hashedrekord.Kind: hashedrekord.Parse}, Logger: s.logger()}
	s.serve(c)
	body := artifact(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+entriesPath, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	done := make(chan error, 1)
	go func() {
		_, err := http.DefaultClient.Do(req) // never answered
		done <- err
	}()
	<-arrived
	cancel()
	if err := <-done; err == nil {
		t.Error("answered")
	}
	for end := time.Now().Add(10 * time.Second); !strings.Contains(s.printed(), "status=499") && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if !strings.Contains(s.printed(), `message="client disconnected during request"`) {
		t.Errorf("the log says %q", s.printed())
	}
	c.Log = inner
	s.serve(c)
	a := s.post(entriesPath, body)
	got := s.get(a.Header.Get("Location"))
	if a.StatusCode != http.StatusConflict || got.StatusCode != http.StatusOK {
		t.Fatalf("%d %s, Location %q: %d", a.StatusCode, a.body, a.Header.Get("Location"), got.StatusCode)
	}
	_, e := only(t, got.body)
	s.verify(e)
}

// TestOddReads: ways of asking that have one meaning, and are answered by it.
func TestOddReads(t *testing.T) {
	s := newServer(t)
	id, _ := s.add(artifact(t, 0))
	for target, want := range map[string]int{
		entriesPath + "/" + strings.ToUpper(id):                               200, // hex is hex (B-147)
		entriesPath + "/" + id[16:20] + "%00" + id[23:]:                       404,
		entriesPath + "/" + strings.Repeat("0", 80):                           400,
		fmt.Sprintf("/api/v1/log/proof?lastSize=1&treeID=000%d", treeID):      200, // B-155
		fmt.Sprintf("/api/v1/log/proof?lastSize=1&treeID=%d%020d", treeID, 0): 400,
		"/api/v1/log/proof?lastSize=9223372036854775807":                      400,
		"/api/v1/log/proof?firstSize=9223372036854775808&lastSize=1":          422,
		"/api/v1/log/publicKey?treeID=99999999999999999999":                   400, // B-160
		"/api/v1/log/publicKey?treeID=" + fmt.Sprint(treeID) + "%00":          422,
		entriesPath + "?logIndex=00":                                          200,
		entriesPath + "?logIndex=0&treeID=1":                                  200, // of no meaning here, as upstream has it
		entriesPath + "?LogIndex=0":                                           422,
	} {
		if a := s.get(target); a.StatusCode != want {
			t.Errorf("%s: %d %s, want %d", target, a.StatusCode, a.body, want)
		}
	}
	for query, want := range map[string]int{
		`{"hash":"` + strings.Repeat("ab", 32) + `","subject":"x","operator":"and"}`:        200, // B-158
		`{"publicKey":{"format":"x509","content":"` + strings.Repeat("QUFB", 1<<18) + `"}}`: 400, // B-157
		`{"publicKey":{"format":"x509","content":"LS0tLS1CRUdJTiA="}}`:                      400,
		`{"subject":"` + strings.Repeat("x", 1<<20) + `"}`:                                  422,
		`{"email":"` + strings.Repeat("x", 1<<20) + `@example.com"}`:                        422,
		`{"hash":"sha256:` + strings.Repeat("ab", 1<<19) + `"}`:                             422,
	} {
		a := s.post("/api/v1/index/retrieve", []byte(query))
		if a.StatusCode != want || want == 200 && strings.TrimSpace(string(a.body)) != "[]" {
			t.Errorf("%.60s: %d %s, want %d", query, a.StatusCode, a.body, want)
		}
	}
	var found []string
	both := entrytest.JSON(t, map[string]any{"operator": "and", "hash": "sha256:" + digestOf(artifact(t, 0)), "subject": "sha256:" + digestOf(artifact(t, 0))})
	if err := json.Unmarshal(s.post("/api/v1/index/retrieve", both).body, &found); err != nil || !slices.Equal(found, []string{id}) {
		t.Errorf("a hash and itself: %q, %v", found, err) // one set of keys, as upstream has it
	}
}
