package rekorv1_test

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigstore/rekor/pkg/generated/client/entries"
	"github.com/sigstore/rekor/pkg/generated/client/index"
	"github.com/sigstore/rekor/pkg/generated/client/pubkey"
	"github.com/sigstore/rekor/pkg/generated/client/tlog"
	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/tle"
	_ "github.com/sigstore/rekor/pkg/types/dsse/v0.0.1"
	_ "github.com/sigstore/rekor/pkg/types/hashedrekord/v0.0.1"
	"github.com/sigstore/rekor/pkg/util"
	"github.com/sigstore/rekor/pkg/verify"
	"github.com/sigstore/sigstore-go/pkg/root"
	sgotlog "github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
)

func artifact(t *testing.T, i int) []byte {
	t.Helper()
	return entrytest.NewHashedRekord(t, fmt.Appendf(nil, "artifact %d", i))
}

func attest(t *testing.T) []byte {
	t.Helper()
	key := entrytest.P256(t)
	statement := []byte(`{"subject":[{"digest":{"sha256":"` + strings.Repeat("AB", 32) + `"}}]}`)
	return entrytest.DSSE(t, entrytest.Envelope(t, "application/vnd.in-toto+json", statement, key), entrytest.PEM(t, key.Public()))
}

// TestClientsAcceptEntries: what is created and read back verifies in Rekor's own client code and
// in sigstore-go.
func TestClientsAcceptEntries(t *testing.T) {
	s := newServer(t)
	for i, proposed := range [][]byte{artifact(t, 0), attest(t), artifact(t, 1)} {
		a := s.post("/api/v1/log/entries", proposed)
		if a.StatusCode != http.StatusCreated {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
		id, e := only(t, a.body)
		if etag := a.Header.Get("ETag"); etag != id {
			t.Errorf("ETag %q, entry key %q: sigstore-go finds no entry", etag, id)
		}
		if loc := a.Header.Get("Location"); loc != "/api/v1/log/entries/"+id {
			t.Errorf("Location %q", loc)
		}
		if got := a.Header.Get("Content-Type"); got != "application/json" {
			t.Errorf("Content-Type %q", got)
		}
		if age := time.Since(time.Unix(*e.IntegratedTime, 0)); age < -time.Second || age > time.Minute {
			t.Errorf("integratedTime %d", *e.IntegratedTime)
		}
		if id != leafID(s, e) || *e.LogIndex != int64(i) {
			t.Errorf("id %s, index %d", id, *e.LogIndex)
		}
		s.verify(e)
		s.verifySigstoreGo(e)
		for _, path := range []string{
			"/api/v1/log/entries/" + id, "/api/v1/log/entries/" + id[16:], "/api/v1/log/entries/" + strings.ToUpper(id),
			fmt.Sprintf("/api/v1/log/entries?logIndex=%d", i), "//api/v1//log/entries/" + id,
		} {
			b := s.get(path)
			if b.StatusCode != http.StatusOK {
				t.Fatalf("GET %s: %d %s", path, b.StatusCode, b.body)
			}
			again, got := only(t, b.body)
			s.verify(got)
			if again != id || !slices.Equal(got.Verification.SignedEntryTimestamp, e.Verification.SignedEntryTimestamp) {
				t.Errorf("GET %s: another entry", path)
			}
		}
	}
}

// verifySigstoreGo checks an entry as sigstore-go does when it verifies a bundle.
func (s *server) verifySigstoreGo(e models.LogEntryAnon) {
	s.t.Helper()
	pb, err := tle.GenerateTransparencyLogEntry(e)
	if err != nil {
		s.t.Fatal(err)
	}
	te, err := sgotlog.ParseTransparencyLogEntry(pb)
	if err != nil {
		s.t.Fatal(err)
	}
	id, err := keys.ID(s.key.Public())
	if err != nil {
		s.t.Fatal(err)
	}
	logs := map[string]*root.TransparencyLog{hex.EncodeToString(id[:]): {
		BaseURL: s.url, ID: id[:], HashFunc: crypto.SHA256, PublicKey: s.key.Public(), SignatureHashFunc: crypto.SHA256,
		ValidityPeriodStart: time.Now().Add(-time.Hour),
	}}
	if err := sgotlog.VerifySET(te, logs); err != nil {
		s.t.Errorf("sigstore-go, SET: %v", err)
	}
	v, err := signature.LoadVerifier(s.key.Public(), crypto.SHA256)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := sgotlog.VerifyInclusion(te, v); err != nil {
		s.t.Errorf("sigstore-go, inclusion: %v", err)
	}
}

// TestRekorClient drives every endpoint with the generated client of rekor-cli and cosign.
func TestRekorClient(t *testing.T) {
	s := newServer(t)
	c := s.client()
	key := entrytest.P256(t)
	cert := entrytest.CertPEM(entrytest.Cert(t, key, entrytest.SAN{Emails: []string{"Dev@example.com"}, URI: "https://X/y"}, nil, nil))
	digest := entrytest.Digest(crypto.SHA256, []byte("a"))
	raw := entrytest.HashedRekord(cert, crypto.SHA256, digest, entrytest.SignDigest(t, key, crypto.SHA256, digest))
	proposed, err := models.UnmarshalProposedEntry(bytes.NewReader(raw), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.add(artifact(t, 0))
	created, err := c.Entries.CreateLogEntry(entries.NewCreateLogEntryParams().WithProposedEntry(proposed))
	if err != nil {
		t.Fatal(err)
	}
	id := created.ETag
	if _, ok := created.Payload[id]; !ok {
		t.Errorf("no entry %q in %v", id, created.Payload)
	}
	_, err = c.Entries.CreateLogEntry(entries.NewCreateLogEntryParams().WithProposedEntry(proposed))
	var dup *entries.CreateLogEntryConflict
	if !asError(err, &dup) || string(dup.Location) != "/api/v1/log/entries/"+id {
		t.Errorf("duplicate: %v", err)
	}
	s.add(artifact(t, 1))

	found, err := c.Entries.SearchLogQuery(entries.NewSearchLogQueryParams().WithEntry(searchFor(proposed)))
	if err != nil || len(found.Payload) != 1 {
		t.Fatalf("rekor-cli verify: %v, %v", found, err)
	}
	for got, e := range found.Payload[0] {
		if got != id {
			t.Errorf("found %s, want %s", got, id)
		}
		s.verify(e)
	}

	for name, q := range map[string]*models.SearchIndex{
		"email":      {Email: "dev@EXAMPLE.com"},
		"hash":       {Hash: hex.EncodeToString(digest)},
		"named hash": {Hash: "sha256:" + strings.ToUpper(hex.EncodeToString(digest))},
		"subject":    {Subject: "HTTPS://x/Y"},
		"public key": {PublicKey: &models.SearchIndexPublicKey{Format: ptr("x509"), Content: cert}},
		"and":        {Email: "dev@example.com", Hash: hex.EncodeToString(digest), Operator: "and"},
		"or":         {Email: "nobody@example.com", Hash: hex.EncodeToString(digest), Operator: "or"},
	} {
		got, err := c.Index.SearchIndex(index.NewSearchIndexParams().WithQuery(q))
		if err != nil || !slices.Equal(got.Payload, []string{id}) {
			t.Errorf("search by %s: %v, %v", name, got, err)
		}
	}
	none, err := c.Index.SearchIndex(index.NewSearchIndexParams().WithQuery(&models.SearchIndex{
		Email: "nobody@example.com", Hash: hex.EncodeToString(digest), Operator: "and",
	}))
	if err != nil || none.Payload == nil || len(none.Payload) != 0 {
		t.Errorf("search without a hit: %v, %v", none, err)
	}
	s.checkLogInfo()
}

// checkLogInfo follows rekor-cli loginfo and logproof.
func (s *server) checkLogInfo() {
	s.t.Helper()
	c := s.client()
	v, err := signature.LoadVerifier(s.key.Public(), crypto.SHA256)
	if err != nil {
		s.t.Fatal(err)
	}
	pub, err := c.Pubkey.GetPublicKey(pubkey.NewGetPublicKeyParams().WithTreeID(ptr(fmt.Sprint(treeID))))
	want, pemErr := keys.PublicPEM(s.key.Public())
	if err != nil || pemErr != nil || pub.Payload != string(want) {
		s.t.Errorf("public key: %v, %v", pub, err)
	}
	info, err := c.Tlog.GetLogInfo(tlog.NewGetLogInfoParams())
	if err != nil {
		s.t.Fatal(err)
	}
	if *info.Payload.TreeSize != s.size() || *info.Payload.TreeID != fmt.Sprint(treeID) {
		s.t.Errorf("log info %+v", info.Payload)
	}
	var old util.SignedCheckpoint
	if err := old.UnmarshalText([]byte(*info.Payload.SignedTreeHead)); err != nil || !old.Verify(v) {
		s.t.Fatalf("checkpoint %q: %v", *info.Payload.SignedTreeHead, err)
	}
	for i := range 5 {
		s.add(artifact(s.t, 100+i))
	}
	if _, err := verify.VerifyCurrentCheckpoint(s.t.Context(), c, v, &old); err != nil {
		s.t.Errorf("rekor-cli loginfo with stored state: %v", err)
	}
	proof, err := c.Tlog.GetLogProof(tlog.NewGetLogProofParams().WithFirstSize(ptr(int64(2))).WithLastSize(4).WithTreeID(ptr(fmt.Sprint(treeID))))
	if err != nil || len(proof.Payload.Hashes) == 0 {
		s.t.Errorf("proof: %v, %v", proof, err)
	}
	same := s.get("/api/v1/log/proof?lastSize=1")
	if same.StatusCode != http.StatusOK || !strings.Contains(string(same.body), `"hashes":[]`) {
		s.t.Errorf("proof from 1 to 1: %d %s", same.StatusCode, same.body)
	}
}

func searchFor(e models.ProposedEntry) *models.SearchLogQuery {
	q := &models.SearchLogQuery{}
	q.SetEntries([]models.ProposedEntry{e})
	return q
}

func ptr[T any](v T) *T { return &v }

// TestDuplicates: the same entry, however it is written, is one entry, and the answer to the
// second resolves at once.
func TestDuplicates(t *testing.T) {
	first := artifact(t, 0)
	var v map[string]any
	if err := json.Unmarshal(first, &v); err != nil {
		t.Fatal(err)
	}
	v["logIndex"] = 99 // ignored, never stored
	indented, err := json.MarshalIndent(v, " ", "\t")
	if err != nil {
		t.Fatal(err)
	}
	content := v["spec"].(map[string]any)["signature"].(map[string]any)["publicKey"].(map[string]any)
	pem, err := base64.StdEncoding.DecodeString(content["content"].(string))
	if err != nil {
		t.Fatal(err)
	}
	content["content"] = base64.StdEncoding.EncodeToString(append([]byte("\n\n"), bytes.TrimSpace(pem)...))
	again := map[string][]byte{"identical": first, "indented": indented, "PEM in blanks": entrytest.JSON(t, v)}

	t.Run("409", func(t *testing.T) {
		s := newServer(t)
		s.add(artifact(t, 1))
		id, _ := s.add(first)
		for name, body := range again {
			a := s.post("/api/v1/log/entries", body)
			code, message := errorBody(t, a)
			if a.StatusCode != http.StatusConflict || code != http.StatusConflict {
				t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
			}
			if want := "an equivalent entry already exists in the transparency log with UUID " + id; message != want {
				t.Errorf("%s: message %q", name, message)
			}
			got := s.get(a.Header.Get("Location"))
			if got.StatusCode != http.StatusOK {
				t.Fatalf("%s: Location %q: %d", name, a.Header.Get("Location"), got.StatusCode)
			}
			_, e := only(t, got.body)
			s.verify(e)
		}
		if s.size() != 2 {
			t.Errorf("%d entries", s.size())
		}
	})
	t.Run("201", func(t *testing.T) {
		s := newServer(t, returnDuplicates)
		id, e := s.add(first)
		s.add(artifact(t, 1))
		for name, body := range again {
			a := s.post("/api/v1/log/entries", body)
			if a.StatusCode != http.StatusCreated || a.Header.Get("ETag") != id || a.Header.Get("Location") != "/api/v1/log/entries/"+id {
				t.Fatalf("%s: %d %s", name, a.StatusCode, a.body)
			}
			_, got := only(t, a.body)
			s.verify(got)
			if *got.LogIndex != *e.LogIndex || *got.IntegratedTime != *e.IntegratedTime || *got.Verification.InclusionProof.TreeSize != 2 {
				t.Errorf("%s: not the stored entry with a fresh proof: %s", name, a.body)
			}
		}
	})
}

// TestConcurrent: 200 writers, half of them with one and the same entry. Everyone gets an answer
// that resolves at once and verifies, and the entry is logged once.
func TestConcurrent(t *testing.T) {
	s := newServer(t)
	same := artifact(t, 0)
	bodies := make([][]byte, 200)
	for i := range bodies {
		if bodies[i] = same; i%2 == 1 {
			bodies[i] = artifact(t, i)
		}
	}
	answers := make([]answer, len(bodies))
	resolved := make([]answer, len(bodies))
	var wg sync.WaitGroup
	for i, body := range bodies {
		wg.Go(func() {
			answers[i] = s.post("/api/v1/log/entries", body)
			resolved[i] = s.get(answers[i].Header.Get("Location"))
		})
	}
	wg.Wait()
	created := 0
	for i, a := range answers {
		if a.StatusCode == http.StatusCreated {
			created++
			_, e := only(t, a.body)
			s.verify(e)
		} else if a.StatusCode != http.StatusConflict || i%2 == 1 {
			t.Errorf("answer %d: %d %s", i, a.StatusCode, a.body)
		}
		if resolved[i].StatusCode != http.StatusOK {
			t.Fatalf("Location %q: %d", a.Header.Get("Location"), resolved[i].StatusCode)
		}
		_, e := only(t, resolved[i].body)
		s.verify(e)
	}
	if created != 101 || s.size() != 101 {
		t.Errorf("%d created, %d entries, want 101", created, s.size())
	}
}
