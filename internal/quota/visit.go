package quota

// Visit is one request, from its arrival to its answer. It is for one goroutine. A nil *Visit is of a
// service without quotas.
type Visit struct {
	quotas                    *Quotas
	from                      string
	gone                      func() error // not nil once the client does not wait any more
	address, identity, issuer grant
	moved                     bool // the address has been given back, since the identity pays
	settled                   bool
}

// Wants says whether it matters who a request is from.
func (v *Visit) Wants() bool {
	return v != nil && (v.quotas.identity.current().on() || v.quotas.issuer.current().on())
}

// Identify charges who the request is from, and gives back what the address was charged where that
// identity is vouched for and has a quota. Its error is an [*ExceededError].
func (v *Visit) Identify(who Identity) error {
	if v == nil || who.Name == "" {
		return nil
	}
	q := v.quotas
	limited := q.identity.current().on()
	err := error(nil)
	if v.identity, err = q.take(q.identity, "identity", who.Name); err == nil && who.Vouched && who.Issuer != "" {
		if v.issuer, err = q.take(q.issuer, "issuer", who.Issuer); err != nil {
			v.identity.giveBack()
		}
	}
	if who.Vouched && (limited || err != nil) {
		v.moved = v.address.table != nil
		v.address.giveBack()
	}
	return err
}

// Duplicate says that there was nothing new in the request: the address pays for it.
func (v *Visit) Duplicate() {
	if v == nil {
		return
	}
	v.identity.giveBack()
	v.issuer.giveBack()
	if v.moved {
		v.moved = false
		v.quotas.address.charge(v.from)
	}
}

// Settle says how the request was answered. Where that was our fault (5xx), all is given back, but not to a
// client that did not wait for the answer: what is under way is finished all the same, and who hangs up
// each time, or sets a deadline of a few milliseconds, would write for nothing.
func (v *Visit) Settle(ourFault bool) {
	if v == nil {
		return
	}
	v.settled = true
	if ourFault && v.gone() == nil {
		v.identity.giveBack()
		v.issuer.giveBack()
		v.address.giveBack()
	}
}

// End is for a defer: a visit that has not been settled ends in a panic, which is our fault.
func (v *Visit) End() {
	if v != nil && !v.settled {
		v.Settle(true)
	}
}
