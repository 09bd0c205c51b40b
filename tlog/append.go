package tlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/sigbox/sigbox/tlog/tile"
)

// Append implements [Log].
func (e *Engine) Append(ctx context.Context, entry Entry) (Receipt, error) {
	p, second, err := e.queue(entry)
	if err != nil {
		return Receipt{}, err
	}
	if err := p.wait(ctx); err != nil {
		return Receipt{}, err
	}
	return e.receipt(ctx, p, second)
}

// AppendEarly implements [Early].
func (e *Engine) AppendEarly(ctx context.Context, entry Entry) (r Receipt, shown func(context.Context) error, err error) {
	p, second, err := e.queue(entry)
	if err != nil {
		return Receipt{}, nil, err
	}
	select {
	case <-p.durable:
		r = Receipt{Leaf: p.leaf, Duplicate: second, Proof: p.growth.inclusion(p.leaf.Index), Checkpoint: p.next.signed}
		return r, p.shown, nil
	case <-p.done:
		r, err = e.receipt(ctx, p, second)
		return r, p.shown, err
	case <-ctx.Done():
		return Receipt{}, nil, fmt.Errorf("wait for the commit: %w", ctx.Err())
	}
}

// queue has an entry wait for the next commit, or finds the equal one that does (second is true then).
func (e *Engine) queue(entry Entry) (p *pending, second bool, err error) {
	if p, err = e.prepare(entry); err != nil {
		return nil, false, err
	}
	return e.pool.add(p)
}

// prepare encodes the entry once, for a place it will probably not get, so that one which cannot
// be logged is refused before it waits, and so that the pool knows its size.
func (e *Engine) prepare(entry Entry) (*pending, error) {
	p := &pending{entry: entry, identity: entry.Identity(), durable: make(chan struct{}), done: make(chan struct{})}
	v := e.published.Load()
	leaf, err := e.encode(p, v.edge.size, e.cfg.Clock.Now().UnixMilli())
	if err != nil {
		return nil, err
	}
	p.size = len(leaf.Data) + len(leaf.Attestation)
	return p, nil
}

// encode turns an entry into a leaf. A panic of the entry's code fails the entry, not the log.
func (e *Engine) encode(p *pending, index, timeMS int64) (_ Leaf, err error) {
	defer func() {
		if r := recover(); r != nil {
			e.cfg.Logger.Error("an entry's encoder panicked", "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("encode entry: panic: %v", r)
		}
	}()
	input, stored, err := p.entry.Encode(index, timeMS)
	if err != nil {
		return Leaf{}, err
	}
	l := Leaf{Index: index, TimeMS: timeMS, Identity: p.identity, Hash: tile.LeafHash(input), Data: stored}
	if a, ok := p.entry.(Attester); ok {
		if b := a.Attestation(); len(b) > 0 {
			l.Attestation = b
		}
	}
	if n := max(len(input), len(stored), len(l.Attestation)); n > e.cfg.MaxEntry {
		return Leaf{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, n, e.cfg.MaxEntry)
	}
	have, err := leafHash(e.cfg.LeafInput, l)
	if err == nil && have != l.Hash {
		err = errors.New("it gives another leaf")
	}
	if err != nil {
		return Leaf{}, fmt.Errorf("encode entry: Config.LeafInput must give the leaf back from the stored bytes: %w", err)
	}
	return l, nil
}

// searchKeys returns the entry's keys without repetitions.
func searchKeys(p *pending) ([]Key, error) {
	keys := p.entry.Keys()
	if len(keys) > maxKeys {
		return nil, fmt.Errorf("%w: %d search keys, at most %d", ErrTooLarge, len(keys), maxKeys)
	}
	var rows []Key
next:
	for _, k := range keys {
		if len(k) > maxKeyBytes {
			return nil, fmt.Errorf("%w: a search key of %d bytes, at most %d", ErrTooLarge, len(k), maxKeyBytes)
		}
		for _, have := range rows {
			if bytes.Equal(have.Key, k) {
				continue next
			}
		}
		rows = append(rows, Key{Key: k, Index: p.leaf.Index})
	}
	return rows, nil
}

// receipt answers a waiter. For a new entry it needs nothing but memory.
func (e *Engine) receipt(ctx context.Context, p *pending, second bool) (Receipt, error) {
	if p.err != nil {
		return Receipt{}, p.err
	}
	r := Receipt{Leaf: p.leaf, Duplicate: second || p.known, Checkpoint: p.view.signed}
	if p.growth != nil {
		r.Proof = p.growth.inclusion(p.leaf.Index)
		return r, nil
	}
	t := e.tree(p.view)
	var err error
	if r.Leaf, err = e.leaf(ctx, t, p.leaf.Index); err != nil {
		return Receipt{}, err
	}
	if r.Leaf.Identity != p.identity {
		return Receipt{}, fmt.Errorf("%w: leaf %d is found under another identity than its own", ErrCorrupt, r.Leaf.Index)
	}
	if r.Proof, err = t.inclusion(ctx, r.Leaf.Index, t.edge.size); err != nil {
		return Receipt{}, err
	}
	return r, nil
}
