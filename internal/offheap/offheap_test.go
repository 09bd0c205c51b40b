package offheap_test

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/offheap"
)

// TestNew: blocks are zero, do not overlap, and do not count as heap.
func TestNew(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var words []*offheap.Block[uint64]
	for i := range 10 {
		b := offheap.New[uint64](1 << 17)
		for at := range b.Items {
			if b.Items[at] != 0 {
				t.Fatalf("block %d is not zero at %d", i, at)
			}
			b.Items[at] = uint64(i)
		}
		words = append(words, b)
	}
	bytes := offheap.New[uint8](1000)
	bytes.Items[999] = 7
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	for i, b := range words {
		if b.Items[0] != uint64(i) || b.Items[1<<17-1] != uint64(i) {
			t.Errorf("block %d holds %d and %d", i, b.Items[0], b.Items[1<<17-1])
		}
	}
	if len(bytes.Items) != 1000 || bytes.Items[999] != 7 || len(offheap.New[uint8](0).Items) != 0 {
		t.Error("a block has not its length")
	}
	runtime.KeepAlive(words)
	runtime.KeepAlive(bytes)
}

// TestGivenBack: what nobody has any more, the process has not either.
func TestGivenBack(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // where nothing tells how much a process has
	}
	const blocks, words = 16, 64 << 20 / 8
	before := addressSpace(t)
	for range blocks {
		offheap.New[uint64](words).Items[words-1] = 1
	}
	grown := int64(0)
	for range 200 {
		runtime.GC()
		if grown = addressSpace(t) - before; grown < 8*words {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("after %d blocks of %d bytes that are gone the process has %d bytes more", blocks, 8*words, grown)
}

// addressSpace is what the process has mapped, in bytes.
func addressSpace(t *testing.T) (bytes int64) {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/statm")
	if err == nil {
		_, err = fmt.Sscan(string(raw), &bytes)
	}
	if err != nil {
		t.Fatal(err)
	}
	return bytes * int64(os.Getpagesize())
}
