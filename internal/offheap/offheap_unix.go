//go:build unix

package offheap

import (
	"runtime"
	"syscall"
	"unsafe"
)

// Block is memory outside of the heap. It is given back when the Block cannot be reached any more: who
// uses Items must keep the Block, and call [runtime.KeepAlive] on what keeps it behind the last use.
type Block[T uint8 | uint64] struct {
	Items []T
}

// New returns n zeros. Where the kernel refuses, they are on the heap.
func New[T uint8 | uint64](n int) *Block[T] {
	if n == 0 {
		return &Block[T]{}
	}
	raw, err := syscall.Mmap(-1, 0, n*int(unsafe.Sizeof(*new(T))), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return &Block[T]{Items: make([]T, n)}
	}
	b := &Block[T]{Items: unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(raw))), n)}
	runtime.AddCleanup(b, func(raw []byte) { _ = syscall.Munmap(raw) }, raw)
	return b
}
