package httpx_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/httpx"
)

// stalled is a body of which no more comes until more is closed; then the rest of it does.
type stalled struct {
	io.Reader
	stop, more chan struct{}
	left       int
}

func (s *stalled) Read(p []byte) (int, error) {
	if s.left == 0 {
		s.stop <- struct{}{}
		<-s.more
		s.left = 1 << 40
	}
	n, err := s.Reader.Read(p[:min(len(p), s.left)])
	s.left -= n
	return n, err
}

func post(body io.Reader, announced int64) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", body)
	r.ContentLength = announced
	return r
}

func zeros(n int64) io.Reader { return io.LimitReader(zero{}, n) }

type zero struct{}

func (zero) Read(p []byte) (int, error) { clear(p); return len(p), nil }

const mib = 1 << 20

// TestBodies: large bodies have 128 MiB together. One that finds no room is refused with 503, whether its length was
// announced or not; small ones are not asked, and what was announced and did not come takes no room.
func TestBodies(t *testing.T) {
	const limit = 64 * mib
	b := httpx.NewBodies(limit)
	read := func(body io.Reader, announced int64) (*httpx.Room, error) {
		room := b.Enter()
		got, err := room.Read(httptest.NewRecorder(), post(body, announced), limit)
		if err == nil && announced >= 0 && int64(len(got)) != announced {
			t.Errorf("%d bytes of %d", len(got), announced)
		}
		if err != nil {
			room.Leave()
		}
		return room, err
	}
	full := func(err error) bool {
		var refusal *httpx.Error
		return errors.As(err, &refusal) && refusal.Status == http.StatusServiceUnavailable && strings.Contains(refusal.Message, "retry")
	}
	promised := make([]*stalled, 8) // 512 MiB are announced, and 800 KiB come
	done := make(chan error, len(promised))
	for i := range promised {
		promised[i] = &stalled{Reader: zeros(limit), stop: make(chan struct{}), more: make(chan struct{}), left: 100 << 10}
		go func() {
			room, err := read(promised[i], limit)
			room.Leave()
			done <- err
		}()
		<-promised[i].stop
	}
	first, err := read(zeros(60*mib), 60*mib)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Want(70 * mib); err != nil {
		t.Errorf("room for what is made of it: %v", err)
	}
	for name, announced := range map[string]int64{"announced": limit, "chunked": -1} {
		if _, err := read(zeros(limit), announced); !full(err) {
			t.Errorf("%s, beyond the room: %v", name, err)
		}
	}
	second, err := read(zeros(30*mib), 30*mib)
	if err != nil {
		t.Errorf("after one that found none: %v", err) // the refused one left what it had
	}
	if err := second.Want(60 * mib); !full(err) {
		t.Errorf("more of it than there is: %v", err)
	}
	for range 200 {
		if _, err := read(zeros(200<<10), 200<<10); err != nil {
			t.Fatalf("a small one: %v", err)
		}
	}
	second.Leave()
	first.Leave()
	first.Leave() // as often as one likes
	if err := first.Want(1000 * mib); err != nil {
		t.Errorf("more than there is at all, alone: %v", err)
	}
	first.Leave()
	for _, p := range promised {
		close(p.more)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestBodiesGiveBack: when large bodies are done with, their memory is the system's again at once.
func TestBodiesGiveBack(t *testing.T) {
	b := httpx.NewBodies(64 * mib)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 5 {
		room := b.Enter()
		body, err := room.Read(httptest.NewRecorder(), post(zeros(40*mib), 40*mib), 64*mib)
		if err != nil || bytes.Count(body, []byte{0}) != 40*mib {
			t.Fatal(err)
		}
		room.Leave()
	}
	runtime.ReadMemStats(&after)
	if held := int64(after.HeapSys-after.HeapReleased) - int64(before.HeapSys-before.HeapReleased); held > 24*mib {
		t.Errorf("%d MiB of 200 are kept", held/mib)
	}
}

// TestBodiesCollectSeldom: what a collection costs, by all else that is in use, goes with what it collects.
func TestBodiesCollectSeldom(t *testing.T) {
	b := httpx.NewBodies(64 * mib)
	inUse := make([]byte, 64*mib)
	collections := func(bodies int) uint32 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range bodies {
			room := b.Enter()
			if _, err := room.Read(httptest.NewRecorder(), post(zeros(17*mib), 17*mib), 64*mib); err != nil {
				t.Fatal(err)
			}
			room.Leave()
		}
		runtime.ReadMemStats(&after)
		return after.NumForcedGC - before.NumForcedGC
	}
	if n := collections(1); n != 1 {
		t.Errorf("%d collections of the first", n)
	}
	if n := collections(9); n < 1 || n > 3 { // of 153 MiB, or what is counted for it
		t.Errorf("%d collections", n)
	}
	runtime.KeepAlive(inUse)
}
