package fleet

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/instance"
)

const (
	// A process that is told to end is asked twice by the proxy before it refuses.
	shutdownDelay = time.Second
	proxyLimit    = 20 * time.Second
)

// proxy is haproxy in front of the replicas.
type proxy struct {
	cmd   *exec.Cmd
	log   string
	stats string // URL of what it knows of the replicas, as CSV
	done  chan error
}

const proxyHead = `global
    maxconn 2000
defaults
    mode http
    timeout connect 1s
    timeout client 90s
    timeout server 90s
    timeout check 1s
    retries 3
    option redispatch
    # All that clients send can be sent again: a log answers an entry that it has with that entry, and a
    # second certificate for the same key does no harm.
    retry-on conn-failure empty-response
    option httpchk GET /readyz
    default-server check inter 200ms fall 2 rise 1
`

// startProxy runs haproxy on the public addresses of the services that have replicas.
func startProxy(ctx context.Context, f *Fleet) (*proxy, error) {
	var c strings.Builder
	c.WriteString(proxyHead)
	stats, err := instance.FreeAddr()
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(&c, "frontend stats\n    bind %s\n    stats enable\n    stats uri /\n", stats)
	for _, s := range services {
		members := f.Of(s)
		if len(members) < 2 {
			continue
		}
		u, err := url.Parse(f.URLs[s])
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&c, "frontend %s\n    bind %s\n    default_backend %s\nbackend %s\n", s, u.Host, s, s)
		for _, m := range members {
			fmt.Fprintf(&c, "    server %s%d %s\n", s, m.Replica, m.listen[s])
		}
	}
	file := filepath.Join(f.dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(c.String()), 0o600); err != nil {
		return nil, err
	}
	p := &proxy{log: filepath.Join(f.dir, "haproxy.log"), stats: "http://" + stats + "/;csv", done: make(chan error, 1)}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.CommandContext(ctx, "haproxy", "-db", "-f", file)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("haproxy (Debian package haproxy): %w", err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	if err := p.settled(); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// settled waits until the proxy takes every replica for one that answers.
func (p *proxy) settled() error {
	for deadline := time.Now().Add(proxyLimit); ; time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-p.done:
			p.done <- err
			raw, _ := os.ReadFile(p.log) // only to help whoever reads a failure
			return fmt.Errorf("haproxy ended: %w\n%s", err, raw)
		default:
		}
		err := p.up()
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// up says which replica the proxy sends nothing to.
func (p *proxy) up() error {
	resp, err := http.Get(p.stats)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	rows, err := csv.NewReader(resp.Body).ReadAll()
	if err != nil {
		return fmt.Errorf("haproxy's statistics: %w", err)
	}
	const server, status = 1, 17 // columns
	for _, r := range rows[1:] {
		if r[server] != "FRONTEND" && r[server] != "BACKEND" && r[status] != "UP" {
			return fmt.Errorf("haproxy: %s is %s", r[server], r[status])
		}
	}
	return nil
}

func (p *proxy) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGUSR1) // lets requests finish; if it is gone, Wait has said so
	select {
	case <-p.done:
	case <-time.After(proxyLimit):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	return nil
}
