package freeport_test

import (
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/sigbox/sigbox/internal/freeport"
)

// TestPort: no port twice, each one free, and none that the kernel gives to an outgoing connection.
func TestPort(t *testing.T) {
	raw, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Fatal(err)
	}
	var first, last int
	if _, err := fmt.Sscan(string(raw), &first, &last); err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for range 500 {
		port, err := freeport.Port()
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] || port >= first && port <= last {
			t.Fatalf("port %d: given before: %v; of outgoing connections: %d to %d", port, seen[port], first, last)
		}
		seen[port] = true
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
