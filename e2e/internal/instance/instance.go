// Package instance runs the real sigbox binary, as a user does, and ends it.
package instance

import (
	"context"
	"fmt"
	"sync"

	"github.com/sigbox/sigbox/internal/freeport"
)

// Options say how an instance runs.
type Options struct {
	Binary string   // path of sigbox
	Data   string   // data directory
	Args   []string // further arguments of `sigbox up`
	Env    []string // the whole environment
	Addr   string   // "" picks a free port of 127.0.0.1
}

// Instance is a running `sigbox up`.
type Instance struct {
	*Process
	URL  string
	Addr string

	opts Options
}

// Start runs `sigbox up` and waits for its ready line.
func Start(ctx context.Context, o Options) (*Instance, error) {
	if o.Addr == "" {
		var err error
		if o.Addr, err = FreeAddr(); err != nil {
			return nil, err
		}
	}
	p, err := Launch(ctx, o.Binary, append([]string{"up", "--listen", o.Addr, "--data", o.Data}, o.Args...), o.Env)
	if err != nil {
		return nil, err
	}
	return &Instance{Process: p, URL: p.First, Addr: o.Addr, opts: o}, nil
}

// Again starts sigbox on the same address and data, after Stop or Kill.
func (i *Instance) Again(ctx context.Context) (*Instance, error) {
	o := i.opts
	o.Addr = i.Addr
	return Start(ctx, o)
}

var ports struct {
	sync.Mutex
	given map[int]bool
}

// Binary is the path of sigbox.
func (i *Instance) Binary() string { return i.opts.Binary }

// Data is the data directory.
func (i *Instance) Data() string { return i.opts.Data }

// FreePort is freeport.Port, and has the port among those of Ports.
func FreePort() (int, error) {
	port, err := freeport.Port()
	if err == nil {
		Own(port)
	}
	return port, err
}

// FreeAddr returns 127.0.0.1 with a port of FreePort.
func FreeAddr() (string, error) {
	port, err := FreePort()
	return fmt.Sprintf("127.0.0.1:%d", port), err
}

// Own adds a port of loopback that is of the harness, such as one that a client listens on by itself.
func Own(port int) {
	ports.Lock()
	defer ports.Unlock()
	if ports.given == nil {
		ports.given = map[int]bool{}
	}
	ports.given[port] = true
}

// Ports returns the ports that FreePort gave out, and those of Own.
func Ports() []int {
	ports.Lock()
	defer ports.Unlock()
	var out []int
	for p := range ports.given {
		out = append(out, p)
	}
	return out
}
