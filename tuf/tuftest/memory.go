package tuftest

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"github.com/sigbox/sigbox/tuf"
)

// Memory is a tuf.Store without a file, for tests that publish thousands of times.
type Memory struct {
	mu      sync.Mutex
	archive tuf.Archive
	inbox   []tuf.Message
}

var (
	_ tuf.Store = (*Memory)(nil)
	_ tuf.Inbox = (*Memory)(nil)
)

// Receive implements tuf.Inbox.
func (m *Memory) Receive(_ context.Context, msg tuf.Message) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.ContainsFunc(m.inbox, func(have tuf.Message) bool { return bytes.Equal(have.Envelope, msg.Envelope) }) {
		return false, nil
	}
	m.inbox = append(slices.Clone(m.inbox), msg)
	return true, nil
}

// Messages implements tuf.Inbox.
func (m *Memory) Messages(context.Context) ([]tuf.Message, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.inbox, nil
}

// Update implements tuf.Store.
func (m *Memory) Update(_ context.Context, f func(tuf.Release) (tuf.Release, error)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	cur := m.archive.Current
	next, err := f(cur)
	if err != nil || next.Versions() == cur.Versions() {
		return err
	}
	if cur.Created() {
		m.archive.Old = append(slices.Clone(m.archive.Old), cur.Targets, cur.Snapshot)
	}
	m.archive.Blobs = append(slices.Clone(m.archive.Blobs), next.Contents...)
	m.archive.Current = next
	return nil
}

// Versions implements tuf.Store.
func (m *Memory) Versions(context.Context) (tuf.Versions, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.archive.Current.Versions(), nil
}

// Load implements tuf.Store.
func (m *Memory) Load(context.Context) (tuf.Archive, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.archive.Current.Created() {
		return tuf.Archive{}, tuf.ErrNotCreated
	}
	return m.archive, nil
}
