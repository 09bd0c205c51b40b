package tiles_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/tile"
	"github.com/sigbox/sigbox/tlog/tiles"
)

const prefix = "/api/v2"

type server struct {
	t   *testing.T
	url string
	log tlog.Log
}

func newServer(t *testing.T, entries int) *server {
	t.Helper()
	s := &server{t: t, log: logtest.New(t)}
	for i := range entries {
		if _, err := s.log.Append(t.Context(), logtest.Numbered(i)); err != nil {
			t.Fatal(err)
		}
	}
	s.serve(s.log)
	return s
}

func (s *server) serve(l tlog.Log) {
	s.t.Helper()
	face, err := tiles.New(l, prefix, slog.New(slog.DiscardHandler))
	if err != nil {
		s.t.Fatal(err)
	}
	mux := http.NewServeMux()
	face.Register(mux)
	srv := httptest.NewServer(httpx.Handler(mux, slog.New(slog.DiscardHandler), httpx.NewMetrics(prometheus.NewRegistry())))
	s.t.Cleanup(srv.Close)
	s.url = srv.URL
}

type answer struct {
	*http.Response
	body []byte
}

func (s *server) do(method, path string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+prefix+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // no redirects
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

func (s *server) read(path string) []byte {
	s.t.Helper()
	a := s.do("GET", path)
	if a.StatusCode != http.StatusOK {
		s.t.Fatalf("GET %s: %d %s", path, a.StatusCode, a.body)
	}
	return a.body
}

// TestAuditorRebuildsTheTree reads everything as a monitor does, and folds it to the root of the
// checkpoint.
func TestAuditorRebuildsTheTree(t *testing.T) {
	const size = 256 + 44
	s := newServer(t, size)
	cp, err := s.log.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if note := s.read("/checkpoint"); !bytes.Equal(note, cp.Note) {
		t.Errorf("checkpoint %q", note)
	}
	rng := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	index := 0
	for _, n := range []string{"000", "001.p/44"} {
		leaves, err := tile.ParseBundle(s.read("/tile/entries/" + n))
		if err != nil {
			t.Fatal(err)
		}
		hashes, err := tile.Split(s.read("/tile/0/" + n))
		if err != nil || len(hashes) != len(leaves) {
			t.Fatalf("%d hashes, %d leaves, %v", len(hashes), len(leaves), err)
		}
		for i, l := range leaves {
			if want := logtest.Numbered(index); string(l) != string(want) || tile.LeafHash(l) != hashes[i] {
				t.Fatalf("leaf %d is %q", index, l)
			}
			if err := rng.Append(hashes[i][:], nil); err != nil {
				t.Fatal(err)
			}
			index++
		}
	}
	root, err := rng.GetRootHash(nil)
	if err != nil || !bytes.Equal(root, cp.Root[:]) || index != size {
		t.Errorf("%d leaves fold to %x (%v), the checkpoint says %x", index, root, err, cp.Root)
	}
	full, err := tile.Split(s.read("/tile/0/000"))
	if err != nil {
		t.Fatal(err)
	}
	top := tile.Fold(full)
	if got := s.read("/tile/1/000.p/1"); !bytes.Equal(got, top[:]) {
		t.Errorf("tile/1/000.p/1 = %x, want %x", got, top)
	}
	// A partial tile or bundle stays there after it is full, and is its prefix.
	if got := s.read("/tile/0/000.p/7"); !bytes.Equal(got, tile.Join(full[:7])) {
		t.Error("tile/0/000.p/7 is not a prefix of the full tile")
	}
	if got := s.read("/tile/entries/000.p/7"); !bytes.HasPrefix(s.read("/tile/entries/000"), got) || len(got) == 0 {
		t.Error("tile/entries/000.p/7 is not a prefix of the full bundle")
	}
}

func TestHeaders(t *testing.T) {
	s := newServer(t, 257)
	for path, want := range map[string]struct{ contentType, cache string }{
		"/checkpoint":             {"text/plain; charset=utf-8", "no-cache"},
		"/tile/0/000":             {"application/octet-stream", "public, max-age=604800, immutable"},
		"/tile/entries/000":       {"application/octet-stream", "public, max-age=604800, immutable"},
		"/tile/0/001.p/1":         {"application/octet-stream", "no-store"},
		"/tile/entries/001.p/1":   {"application/octet-stream", "no-store"},
		"/tile/entries/000.p/255": {"application/octet-stream", "no-store"},
	} {
		get, head := s.do("GET", path), s.do("HEAD", path)
		for _, a := range []answer{get, head} {
			if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != want.contentType || a.Header.Get("Cache-Control") != want.cache {
				t.Errorf("%s %s: %d %v", a.Request.Method, path, a.StatusCode, a.Header)
			}
			if a.ContentLength != int64(len(get.body)) {
				t.Errorf("%s %s: Content-Length %d, body %d", a.Request.Method, path, a.ContentLength, len(get.body))
			}
		}
		if len(head.body) != 0 {
			t.Errorf("HEAD %s has a body", path)
		}
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
			if a := s.do(method, path); a.StatusCode != http.StatusMethodNotAllowed || a.Header.Get("Allow") == "" {
				t.Errorf("%s %s: %d %v", method, path, a.StatusCode, a.Header)
			}
		}
	}
}

// TestCheckpointIsWhole: whatever a request asks for, the answer is one signed note, of now.
func TestCheckpointIsWhole(t *testing.T) {
	s := newServer(t, 3)
	before := s.read("/checkpoint")
	if _, err := s.log.Append(t.Context(), logtest.Numbered(3)); err != nil {
		t.Fatal(err)
	}
	cp, err := s.log.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Range": "bytes=0-3", "If-Range": "x", "If-None-Match": "*", "If-Match": `"x"`, "If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT",
		"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT", "Accept-Encoding": "gzip", "Accept": "application/json",
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.url+prefix+"/checkpoint", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(name, value)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !bytes.Equal(got, cp.Note) || bytes.Equal(got, before) ||
			resp.Header.Get("Cache-Control") != "no-cache" || resp.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %s: %d %v %q, %v", name, value, resp.StatusCode, resp.Header, got, err)
		}
	}
}

// TestNotFound: what C2SP tlog-tiles does not write, and what the head does not cover.
func TestNotFound(t *testing.T) {
	s := newServer(t, 258)
	for _, path := range []string{
		// beyond the head
		"/tile/0/001", "/tile/0/001.p/3", "/tile/0/002.p/1", "/tile/1/000", "/tile/1/000.p/2", "/tile/1/001.p/1", "/tile/2/000.p/1",
		"/tile/entries/001", "/tile/entries/001.p/3", "/tile/entries/002.p/1", "/tile/0/x001/000", "/tile/63/000.p/1",
		"/tile/entries/x999/x999/x999/x999/x999/999", "/tile/0/x036/x028/x797/x018/x963/967", "/tile/entries/x036/x028/x797/x018/x963/967",
		// times 256 it is 0 in 64 bits
		"/tile/entries/x072/x057/x594/x037/x927/936", "/tile/0/x072/x057/x594/x037/x927/936",
		// over 63 bits
		"/tile/0/x999/x999/x999/x999/x999/x999/x999/x999/x999/999", "/tile/entries/x009/x223/x372/x036/x854/x775/808",
		// other spellings
		"/tile/64/000", "/tile/00/000", "/tile/-1/000", "/tile/+0/000", "/tile/0/0", "/tile/0/00", "/tile/0/0000", "/tile/0/x1/234", "/tile/0/x000/000",
		"/tile/0/x001/x234/067/", "/tile/0/000/", "/tile/0/", "/tile/0", "/tile/", "/tile", "/tile/0/000.p", "/tile/0/000.p/", "/tile/0/000.p/0",
		"/tile/0/000.p/00", "/tile/0/000.p/01", "/tile/0/000.p/-1", "/tile/0/000.p/256", "/tile/0/000.p/1000", "/tile/0/000.p/1/x", "/tile/0/000.P/1",
		"/tile/entries/", "/tile/entries/0", "/tile/Entries/000", "/tile/data/000", "/tile/entries/000.p/0", "/tile/entries/000.p/256", "/tile/0/000.gz",
		"/tile/0/000%2ep/1", "/tile/0/%30%30%30", "/tile/0/000%00", "/tile/0/000%5c..", "/tile/0/..%2f000", "/tile/0/x000/../../../etc/passwd", "/tile/0/ 000",
		"/tile/\u0660/000", "/checkpoint/", "/checkpoint/x", "/checkpoints",
	} {
		if a := s.do("GET", strings.ReplaceAll(path, " ", "%20")); a.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s: %d", path, a.StatusCode)
		}
	}
	if a := s.do("GET", "//tile//0//000"); a.StatusCode != http.StatusOK {
		t.Errorf("repeated slashes: %d, they are collapsed before routing", a.StatusCode)
	}
}

// badLog fails every read.
type badLog struct {
	tlog.Log
	err error
}

func (l badLog) Tile(context.Context, int, int64, int) ([]byte, error) { return nil, l.err }

func (l badLog) Leaves(ctx context.Context, from, to int64) ([]tlog.Leaf, error) {
	if l.err != nil {
		return nil, l.err
	}
	leaves, err := l.Log.Leaves(ctx, from, to)
	for i := range leaves {
		leaves[i].Data = append(bytes.Clone(leaves[i].Data), 'x') // a hand in the database
	}
	return leaves, err
}

func TestFaults(t *testing.T) {
	s := newServer(t, 300)
	secret := errors.New("password of db01")
	for name, row := range map[string]struct {
		err    error
		path   string
		status int
	}{
		"unavailable":      {errors.Join(tlog.ErrUnavailable, secret), "/tile/0/000", 503},
		"any error":        {secret, "/tile/0/000", 500},
		"corrupt bundle":   {nil, "/tile/entries/000", 500},
		"bundle any error": {secret, "/tile/entries/000", 500},
	} {
		s.serve(badLog{s.log, row.err})
		a := s.do("GET", row.path)
		if a.StatusCode != row.status || bytes.Contains(a.body, []byte("db01")) || strings.Contains(a.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %v %s", name, a.StatusCode, a.Header, a.body)
		}
		if after, err := strconv.Atoi(a.Header.Get("Retry-After")); (err == nil && after > 0) != (row.status == 503) {
			t.Errorf("%s: Retry-After %q", name, a.Header.Get("Retry-After"))
		}
	}
}

func TestConfig(t *testing.T) {
	l := logtest.New(t)
	for p, ok := range map[string]bool{"": true, "/api/v2": true, "/": false, "api": false, "/api/": false} {
		if _, err := tiles.New(l, p, nil); (err == nil) != ok {
			t.Errorf("prefix %q: %v", p, err)
		}
	}
	if _, err := tiles.New(nil, "", nil); err == nil {
		t.Error("no log: accepted")
	}
}
