package writers

import (
	"sync/atomic"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/quota"
	"github.com/sigbox/sigbox/tlog"
)

// Gate is what lets entries into one log, under a policy that may be replaced. It is safe for concurrent
// use, and a nil *Gate lets everything in.
type Gate struct {
	policy atomic.Pointer[Policy]
	clock  clock.Clock
}

// NewGate returns a gate with a policy.
func NewGate(p *Policy, c clock.Clock) *Gate {
	g := &Gate{clock: c}
	g.Set(p)
	return g
}

// Set replaces the policy.
func (g *Gate) Set(p *Policy) { g.policy.Store(p) }

// Admit has an entry's writer pass the policy and then his quotas. Errors are a [*RefusedError] and a
// [*quota.ExceededError].
func (g *Gate) Admit(e tlog.Entry, v *quota.Visit) error {
	if g == nil {
		return nil
	}
	p := g.policy.Load()
	if p.Open() && !v.Wants() {
		return nil
	}
	who, err := p.Admit(e, g.clock.Now())
	if err != nil {
		return err
	}
	return v.Identify(who)
}
