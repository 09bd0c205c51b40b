package httpx

import (
	"net/http"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

const (
	uncounted = 512 << 10 // bytes that a body and what it grew out of, or what is made of it, may have without room
	leastRoom = 128 << 20 // bytes, whatever the limit of a body
	leftAlone = 16 << 20  // bytes that are left to the garbage collector's own time where no large body is there
)

// Bodies bounds the memory that large bodies take together, and gives it back to the system. A body counts by what
// has come of it, not by what was announced, until whoever has read it is done; and after that until its memory was
// collected. Those of up to 256 KiB do not count.
type Bodies struct {
	room int64
	mu   sync.Mutex
	held int64 // by bodies in use
	left int64 // by those that were done with since the last collection
	rest int64 // what else that one found in use
}

// NewBodies returns room for 128 MiB, or twice a body of limit bytes where that is more.
func NewBodies(limit int64) *Bodies { return &Bodies{room: max(leastRoom, 2*limit)} }

// Room is how much of a Bodies one body has.
type Room struct {
	of   *Bodies
	held int64
}

// Enter returns the room of one body, nothing yet. Whoever enters defers Leave, so that a panic gives it back too.
func (b *Bodies) Enter() *Room { return &Room{of: b} }

// Read is [ReadBody] of the body that the room is for. Where there is none the error is 503.
func (r *Room) Read(w http.ResponseWriter, req *http.Request, limit int64) ([]byte, error) {
	return readBody(w, req, limit, r)
}

// Want makes it room for n bytes in all, where it has less, and for no more than there is if it is alone. The error
// is an *Error with status 503. A nil Room has as much as it wants.
func (r *Room) Want(n int64) error {
	if r == nil || n <= max(uncounted, r.held) {
		return nil
	}
	b := r.of
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, b.room)
	if more := n - r.held; b.held+more <= b.room {
		if b.held+b.left+more > b.room {
			b.collect()
		}
		b.held += more
		r.held = n
		return nil
	}
	return Errorf(http.StatusServiceUnavailable, "too many large requests are being read; retry")
}

// Leave gives the room back. Nothing refers to the body any more.
func (r *Room) Leave() {
	if r == nil || r.held == 0 {
		return
	}
	b := r.of
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held -= r.held
	b.left += r.held
	r.held = 0
	if b.left > max(b.room/4, b.rest) || b.held == 0 && b.left > max(leftAlone, b.rest) {
		b.collect()
	}
}

// collect takes a time that goes with what is in use (docs/design/0015), in which other large bodies wait; so who leaves
// has as much garbage collected as that, or else each body could cost far more than it is. The collector on its own would
// count large bodies to what is in use, and keep its memory.
func (b *Bodies) collect() {
	debug.FreeOSMemory()
	found := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(found)
	b.left, b.rest = 0, int64(found[0].Value.Uint64())-b.held
}
