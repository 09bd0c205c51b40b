package pgtest

import (
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// Verdict is what a proxy does with some bytes.
type Verdict int

// The verdicts.
const (
	Forward Verdict = iota
	Half            // forward the first half and hold the rest for ever
	Hold            // forward nothing in this direction any more; the connection stays, as in a partitioned network
	Cut             // close both sides; the bytes are lost
)

// Rule decides about bytes that pass, in the order in which one direction of one connection carries
// them. It may block.
type Rule func(fromClient bool, data []byte) Verdict

// Proxy is a network between a client and a server that a test can break.
type Proxy struct {
	target string
	listen net.Listener
	rule   atomic.Pointer[Rule]

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// Proxy starts a proxy to the server. It is closed when the test ends, with all connections.
func (s *Server) Proxy(t testing.TB) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{target: s.Address(), listen: l, conns: make(map[net.Conn]bool)}
	done := make(chan bool)
	go func() {
		defer close(done)
		p.serve()
	}()
	t.Cleanup(func() {
		_ = l.Close()
		p.Close()
		<-done
	})
	return p
}

// URL returns the connection string of a database as the superuser, through the proxy.
func (p *Proxy) URL(database string) string {
	return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", p.listen.Addr(), url.PathEscape(database))
}

// Through turns a connection string of the server into one that goes through the proxy.
func (p *Proxy) Through(t testing.TB, connection string) string {
	t.Helper()
	u, err := url.Parse(connection)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	user := q.Get("user")
	for _, name := range []string{"host", "port", "user"} {
		q.Del(name)
	}
	if user != "" {
		u.User = url.User(user)
	}
	u.Host, u.RawQuery = p.listen.Addr().String(), q.Encode()
	return u.String()
}

// Set sets the rule for all connections, those that are open too; nil forwards everything.
func (p *Proxy) Set(r Rule) {
	if r == nil {
		p.rule.Store(nil)
		return
	}
	p.rule.Store(&r)
}

// Close closes all connections. New ones are still accepted.
func (p *Proxy) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
		delete(p.conns, c)
	}
}

func (p *Proxy) serve() {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		client, err := p.listen.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		wg.Go(func() { p.pump(client, server, true) })
		wg.Go(func() { p.pump(server, client, false) })
	}
}

// pump carries one direction until either side ends.
func (p *Proxy) pump(from, to net.Conn, fromClient bool) {
	held := false
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		data, verdict := buf[:n], Forward
		if r := p.rule.Load(); r != nil && !held {
			verdict = (*r)(fromClient, data)
		}
		switch verdict {
		case Cut:
			return
		case Half:
			data, held = data[:n/2], true
			_, err = to.Write(data)
		case Hold:
			held = true
		case Forward:
			if !held {
				_, err = to.Write(data)
			}
		}
		if err != nil {
			return
		}
	}
}
