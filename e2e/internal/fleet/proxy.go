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

	"github.com/sigbox/sigbox/e2e/internal/daemon"
	"github.com/sigbox/sigbox/e2e/internal/instance"
)

// A process that is told to end is asked twice by the proxy before it refuses.
const shutdownDelay = time.Second

// OtherHost is a second host of each service that has replicas, at the port of the first.
const OtherHost = "127.0.0.2"

// proxy is haproxy in front of the replicas.
type proxy struct {
	daemon *daemon.Daemon
	stats  string // URL of what it knows of the replicas, as CSV
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
		fmt.Fprintf(&c, "frontend %s\n    bind %s\n    bind %s:%s\n    default_backend %s\nbackend %s\n", s, u.Host, OtherHost, u.Port(), s, s)
		for _, m := range members {
			fmt.Fprintf(&c, "    server %s%d %s\n", s, m.Replica, m.listen[s])
		}
	}
	file := filepath.Join(f.dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(c.String()), 0o600); err != nil {
		return nil, err
	}
	p := &proxy{stats: "http://" + stats + "/;csv"}
	if p.daemon, err = daemon.Start(exec.Command("haproxy", "-db", "-f", file), filepath.Join(f.dir, "haproxy.log")); err != nil {
		return nil, fmt.Errorf("haproxy (Debian package haproxy): %w", err)
	}
	if err := p.settled(ctx); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// settled waits until the proxy takes every replica for one that answers.
func (p *proxy) settled(ctx context.Context) error { return p.daemon.Await(ctx, p.up) }

// stop lets requests finish.
func (p *proxy) stop() error { return p.daemon.Stop(syscall.SIGUSR1) }

// up says which replica the proxy sends nothing to.
func (p *proxy) up(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.stats, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
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
