package freeport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports are taken from below the range from which Linux takes those of outgoing connections (32768 on): one of
// that range is often somebody's by the time that the server listens.
const low, high = 20000, 32000

var given struct {
	sync.Mutex
	ports map[int]bool
}

// Port returns a port of 127.0.0.1 on which nobody listens, never the same one twice in one process.
func Port() (int, error) {
	given.Lock()
	defer given.Unlock()
	if given.ports == nil {
		given.ports = map[int]bool{}
	}
	for range 1000 {
		port := low + rand.IntN(high-low)
		if given.ports[port] {
			continue
		}
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		given.ports[port] = true
		return port, ln.Close()
	}
	return 0, errors.New("no port of 127.0.0.1 is free")
}
