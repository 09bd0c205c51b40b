package rekorv1_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/go-openapi/runtime"
	httptransport "github.com/go-openapi/runtime/client"
	"github.com/go-openapi/strfmt"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/sigstore/rekor/pkg/generated/client"
	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/util"
	"github.com/sigstore/rekor/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/dsse"
	"github.com/sigbox/sigbox/tlog/entry/hashedrekord"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/rekorv1"
)

const (
	treeID = 4711
	host   = "127.0.0.1"
)

// server is a face over a real engine in memory, behind the outer handler of production.
type server struct {
	t    *testing.T
	url  string
	log  tlog.Log
	key  crypto.Signer
	logs *lines
}

// lines are what a face has logged.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (s *server) logger() *slog.Logger { return slog.New(slog.NewTextHandler(s.logs, nil)) }

func (s *server) printed() string {
	s.logs.mu.Lock()
	defer s.logs.mu.Unlock()
	return s.logs.b.String()
}

type option func(*rekorv1.Config, *tlog.Config)

func returnDuplicates(c *rekorv1.Config, _ *tlog.Config) { c.ReturnDuplicates = true }

// newSigners returns a key, and what signs the heads of a shard with it.
func newSigners(tb testing.TB, tree int64) (crypto.Signer, *checkpoint.Signer) {
	tb.Helper()
	key, err := keys.NewECDSA()
	if err != nil {
		tb.Fatal(err)
	}
	heads, err := checkpoint.NewSigner(host, fmt.Sprintf("%s - %d", host, tree), key)
	if err != nil {
		tb.Fatal(err)
	}
	return key, heads
}

func newServer(t *testing.T, options ...option) *server {
	t.Helper()
	key, signer := newSigners(t, treeID)
	s := &server{t: t, key: key, logs: &lines{}}
	c := rekorv1.Config{
		TreeID: treeID, Signer: key, Logger: s.logger(),
		Kinds: entry.Kinds{hashedrekord.Kind: hashedrekord.Parse, dsse.Kind: dsse.Parse},
	}
	c.Log = logtest.New(t, func(l *tlog.Config) {
		l.Signer, l.LeafInput = signer, entry.LeafInput
		for _, o := range options {
			o(&c, l)
		}
	})
	s.serve(c)
	return s
}

func (s *server) serve(c rekorv1.Config) {
	s.t.Helper()
	face, err := rekorv1.New(c)
	if err != nil {
		s.t.Fatal(err)
	}
	s.log = c.Log
	mux := http.NewServeMux()
	face.Register(mux)
	srv := httptest.NewServer(httpx.Handler(mux, slog.New(slog.DiscardHandler), httpx.NewMetrics(prometheus.NewRegistry())))
	s.t.Cleanup(srv.Close)
	s.url = srv.URL
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body []byte
}

func (s *server) do(method, path string, header map[string]string, body []byte) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{resp, b}
}

func (s *server) get(path string) answer { s.t.Helper(); return s.do("GET", path, nil, nil) }

func (s *server) post(path string, body []byte) answer {
	s.t.Helper()
	return s.do("POST", path, nil, body)
}

const entriesPath = "/api/v1/log/entries"

// add appends an entry and returns its id and the entry as answered.
func (s *server) add(proposed []byte) (string, models.LogEntryAnon) {
	s.t.Helper()
	a := s.post(entriesPath, proposed)
	if a.StatusCode != http.StatusCreated {
		s.t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	return only(s.t, a.body)
}

// only returns the one entry of an answer.
func only(t *testing.T, body []byte) (string, models.LogEntryAnon) {
	t.Helper()
	var m models.LogEntry
	if err := json.Unmarshal(body, &m); err != nil || len(m) != 1 {
		t.Fatalf("want one entry, have %s (%v)", body, err)
	}
	for id, e := range m {
		return id, e
	}
	panic("unreachable")
}

// verify runs Rekor's own verification: SET, inclusion proof, checkpoint.
func (s *server) verify(e models.LogEntryAnon) {
	s.t.Helper()
	v, err := signature.LoadVerifier(s.key.Public(), crypto.SHA256)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := verify.VerifyLogEntry(context.Background(), &e, v); err != nil {
		s.t.Errorf("a client refuses the entry: %v", err)
	}
}

func (s *server) size() int64 {
	s.t.Helper()
	cp, err := s.log.Checkpoint(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return cp.Size
}

// client is the generated client that rekor-cli and cosign use, with their consumers.
func (s *server) client() *client.Rekor {
	s.t.Helper()
	rt := httptransport.New(strings.TrimPrefix(s.url, "http://"), client.DefaultBasePath, []string{"http"})
	rt.Consumers["application/json"] = runtime.JSONConsumer()
	rt.Consumers["application/x-pem-file"] = runtime.TextConsumer()
	rt.Producers["application/json"] = runtime.JSONProducer()
	registry := strfmt.Default
	registry.Add("signedCheckpoint", &util.SignedNote{}, util.SignedCheckpointValidator)
	return client.New(rt, registry)
}

// leafID is the id of an entry with that body.
func leafID(s *server, e models.LogEntryAnon) string {
	index := *e.LogIndex
	leaf, err := s.log.Leaf(s.t.Context(), index)
	if err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprintf("%016x", treeID) + hex.EncodeToString(leaf.Hash[:])
}

// errorBody checks the shape of an error and returns its code and message.
func errorBody(t *testing.T, a answer) (int, string) {
	t.Helper()
	var e struct {
		Code    *int    `json:"code"`
		Message *string `json:"message"`
	}
	dec := json.NewDecoder(bytes.NewReader(a.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil || e.Code == nil || e.Message == nil {
		t.Fatalf("error body %q (%v)", a.body, err)
	}
	if got := a.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/json") {
		t.Errorf("Content-Type %q", got)
	}
	return *e.Code, *e.Message
}

func asError[T error](err error, target *T) bool { return errors.As(err, target) }
