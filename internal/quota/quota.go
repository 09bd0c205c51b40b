package quota

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sigbox/sigbox/internal/clock"
)

// Rates are the quotas of a service. A zero one is no limit.
type Rates struct {
	Address  Rate // of a client address; of an IPv6 one its network of 64 bits
	Identity Rate // of an identity or key
	Issuer   Rate // of all identities of an OpenID Connect issuer together
}

// Clients tells the address of a client from the other end of a connection and the headers of a
// request. *httpx.Requests is one.
type Clients interface {
	Client(remote string, h http.Header) string
}

// Config is what Quotas are made of.
type Config struct {
	Service string // for metrics
	Clients Clients
	Clock   clock.Clock
	Metrics prometheus.Registerer // nil for none
}

// Quotas are those of one service in this process. They are safe for concurrent use, and a nil *Quotas has
// no limits.
type Quotas struct {
	clients                   Clients
	address, identity, issuer *table
	refused                   *prometheus.CounterVec
}

// New returns Quotas without limits: see [Quotas.Set].
func New(c Config) *Quotas {
	q := &Quotas{
		clients: c.Clients, address: newTable(c.Clock, generation), identity: newTable(c.Clock, generation), issuer: newTable(c.Clock, generation),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sigbox_quota_refused_total", Help: "Requests that were refused since a quota was used up.", ConstLabels: prometheus.Labels{"service": c.Service},
		}, []string{"quota"}),
	}
	if c.Metrics != nil {
		c.Metrics.MustRegister(q.refused)
	}
	return q
}

// Set changes the limits.
func (q *Quotas) Set(r Rates) {
	q.address.set(r.Address)
	q.identity.set(r.Identity)
	q.issuer.set(r.Issuer)
}

// Identity is who a request is from.
type Identity struct {
	Name   string // "" for nobody that can be told
	Issuer string // of who is vouched for, "" where there is none
	// Vouched says that somebody who is believed has said that the name is the requester's. What a
	// requester can make up at will, such as a new key, is not.
	Vouched bool
}

// ExceededError says that a quota is used up. Its text is for the client.
type ExceededError struct {
	Quota string // "client address", "identity" or "issuer"
	Rate  Rate
	Wait  time.Duration // until one request is earned back
}

func (e *ExceededError) Error() string {
	return fmt.Sprintf("the quota of this %s is used up (%s): try again in %d s", e.Quota, e.Rate, e.Seconds())
}

// Seconds is for Retry-After: Wait, rounded up.
func (e *ExceededError) Seconds() int { return max(1, int(math.Ceil(e.Wait.Seconds()))) }

// Arrive charges the client address of a request. Its error is an [*ExceededError].
func (q *Quotas) Arrive(r *http.Request) (*Visit, error) {
	if q == nil {
		return nil, nil
	}
	return q.arrive(r.Context(), r.RemoteAddr, r.Header)
}

func (q *Quotas) arrive(ctx context.Context, remote string, h http.Header) (*Visit, error) {
	v := &Visit{quotas: q, from: network(q.clients.Client(remote, h)), gone: ctx.Err}
	var err error
	v.address, err = q.take(q.address, "client address", v.from)
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (q *Quotas) take(t *table, name, key string) (grant, error) {
	g, rate, wait := t.take(key)
	if wait > 0 {
		q.refused.WithLabelValues(name).Inc()
		return g, &ExceededError{name, rate, wait}
	}
	return g, nil
}

// network is what an address counts as: whoever has an IPv6 address has 2^64 of them. What is no address is
// one client.
func network(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	if a = a.Unmap().WithZone(""); a.Is4() {
		return a.String()
	}
	return netip.PrefixFrom(a, 64).Masked().String()
}
