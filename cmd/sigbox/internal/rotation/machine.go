package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
)

// Errors of the package.
var (
	ErrUnderWay = errors.New("a rotation is under way")
	ErrNone     = errors.New("no rotation is under way")
)

// SoakError says that clients have not had the time yet to learn the next key.
type SoakError struct {
	Component        string
	Published, Until time.Time
}

func (e *SoakError) Error() string {
	return fmt.Sprintf("%s waits: its next key was published at %s, and clients have until %s to learn it",
		e.Component, e.Published.Format(time.RFC3339), e.Until.Format(time.RFC3339))
}

// Work is what the steps do to the keys of one kind. Each can be called again for what is done already, and
// does nothing then. Numbers are those of keys.
type Work struct {
	// Make makes a key and what it needs, where nobody sees it.
	Make func(ctx context.Context, r Rotation) error
	// Drop removes what Make made.
	Drop func(ctx context.Context, n int) error
	// Publish has the trust root name a key that does not sign yet. nil: clients follow the switch by
	// themselves, as they do with the keys of TUF roles, and nothing soaks.
	Publish func(ctx context.Context, n int) error
	// Switch does what has to be done before the journal says that another key signs; nil for nothing.
	Switch func(ctx context.Context, from, to int) error
	// Retire gives a key an end in the trust root; nil where that is not to be.
	Retire func(ctx context.Context, n int, end time.Time) error
	// Taken waits until every process that runs has taken the journal over; nil where none does.
	Taken func(ctx context.Context) error
}

// Machine takes the keys of one kind from step to step.
type Machine struct {
	File  File
	Kind  string
	Work  Work
	Clock clock.Clock
	// Say is told of each step that is done and written down, and of each way back: the step is what it went
	// back to, "" where there is no rotation any more. An error ends the rotation there.
	Say func(r Rotation, undone bool) error

	Soak  time.Duration // how long a key is published before it signs
	Grace time.Duration // how long after the switch the old key ends
	Until Step          // where to stop; "" is Retired
}

// Begin takes the number of the next key. It fails with ErrUnderWay where there is a rotation already.
func (m *Machine) Begin(ctx context.Context, component string) error {
	j, k, err := m.read()
	if err != nil {
		return err
	}
	if k.Rotation != nil {
		return fmt.Errorf("%w: %s is %s", ErrUnderWay, k.Rotation.Component, k.Rotation.Step)
	}
	k.Last++
	k.Rotation = &Rotation{Component: component, From: k.InUse, To: k.Last, Step: Begun, Begun: m.now()}
	return m.note(ctx, j, k)
}

// Resume goes on from where the journal is, to the end or to Until. It fails with ErrNone where there is
// nothing to go on with, and with a *SoakError before clients can have learnt the key.
func (m *Machine) Resume(ctx context.Context) error {
	if err := m.taken(ctx); err != nil { // one that was killed did not wait
		return err
	}
	for {
		j, k, err := m.read()
		if err != nil {
			return err
		}
		r := k.Rotation
		if r == nil {
			return ErrNone
		}
		if r.Undoing {
			return m.back(ctx, j, k)
		}
		if slices.Index(order, r.Step) >= slices.Index(order, m.until()) {
			return nil
		}
		if err := m.step(ctx, j, k); err != nil || r.Step == Switched {
			return err
		}
	}
}

func (m *Machine) until() Step {
	if m.Until == "" {
		return Retired
	}
	return m.Until
}

// step does what follows, and writes it down.
func (m *Machine) step(ctx context.Context, j *Journal, k Kind) error {
	r := *k.Rotation
	k.Rotation = &r
	switch r.Step {
	case Begun:
		if err := m.Work.Make(ctx, r); err != nil {
			return fmt.Errorf("make the next key: %w", err)
		}
		r.Step, r.Made = Made, m.now()
	case Made:
		if m.Work.Publish != nil {
			if err := m.Work.Publish(ctx, r.To); err != nil {
				return fmt.Errorf("publish the next key: %w", err)
			}
		}
		r.Step, r.Published = Published, m.now()
	case Published:
		if until := r.Published.Add(m.Soak); m.Work.Publish != nil && m.Clock.Now().Before(until) {
			return &SoakError{r.Component, r.Published, until}
		}
		if err := m.change(ctx, r.From, r.To); err != nil {
			return err
		}
		r.Step, r.Switched, k.InUse = Switched, m.now(), r.To
	case Switched:
		if err := m.end(ctx, r.From, r.Switched); err != nil {
			return err
		}
		return m.over(ctx, j, k, false)
	}
	return m.note(ctx, j, k)
}

// change has another key sign.
func (m *Machine) change(ctx context.Context, from, to int) error {
	if m.Work.Switch == nil {
		return nil
	}
	if err := m.Work.Switch(ctx, from, to); err != nil {
		return fmt.Errorf("switch to another key: %w", err)
	}
	return nil
}

// end gives a key an end that leaves time for what it has just signed.
func (m *Machine) end(ctx context.Context, n int, since time.Time) error {
	if m.Work.Retire == nil {
		return nil
	}
	if now := m.now(); now.After(since) {
		since = now
	}
	if err := m.Work.Retire(ctx, n, since.Add(m.Grace)); err != nil {
		return fmt.Errorf("give the key that is not used any more an end: %w", err)
	}
	return nil
}

// Undo goes back: to the old key where the next one signs, and to no next key where it does not.
func (m *Machine) Undo(ctx context.Context) error {
	j, k, err := m.read()
	if err != nil {
		return err
	}
	if k.Rotation == nil {
		return fmt.Errorf("%w: there is nothing to undo; a key that was retired does not come back", ErrNone)
	}
	if !k.Rotation.Undoing {
		r := *k.Rotation
		r.Undoing, k.Rotation = true, &r
		j.set(m.Kind, k)
		if err := m.File.write(j); err != nil {
			return err
		}
	}
	return m.back(ctx, j, k)
}

// back goes one step back that people can tell: from the switch to before it, or from before it to nothing.
func (m *Machine) back(ctx context.Context, j *Journal, k Kind) error {
	r := *k.Rotation
	k.Rotation = &r
	switch r.Step {
	case Switched:
		if err := m.change(ctx, r.To, r.From); err != nil {
			return err
		}
		k.InUse = r.From
		if m.Work.Publish == nil { // the next key is in no trust root
			return m.over(ctx, j, k, true)
		}
		r.Step, r.Switched, r.Undoing = Published, time.Time{}, false
		return m.noteBack(ctx, j, k, true)
	case Made, Published: // a step that was killed may have published it, or switched to it
		if m.Work.Publish == nil {
			if err := m.change(ctx, r.To, r.From); err != nil {
				return err
			}
		}
		if err := m.end(ctx, r.To, m.now()); err != nil {
			return err
		}
	}
	if r.Published.IsZero() || m.Work.Publish == nil {
		if err := m.Work.Drop(ctx, r.To); err != nil {
			return fmt.Errorf("remove the next key: %w", err)
		}
	}
	return m.over(ctx, j, k, true)
}

// over notes that a rotation has ended.
func (m *Machine) over(ctx context.Context, j *Journal, k Kind, undone bool) error {
	r := *k.Rotation
	r.Undoing = false
	if !undone {
		r.Step = Retired
	}
	j.Past = append(j.Past, Ended{Rotation: r, Undone: undone, End: m.now()})
	k.Rotation = nil
	j.set(m.Kind, k)
	if err := m.File.write(j); err != nil {
		return err
	}
	if err := m.taken(ctx); err != nil {
		return err
	}
	if undone {
		r.Step = ""
	}
	return m.Say(r, undone)
}

// note writes a step down, and has the processes that run take it over.
func (m *Machine) note(ctx context.Context, j *Journal, k Kind) error {
	return m.noteBack(ctx, j, k, false)
}

func (m *Machine) noteBack(ctx context.Context, j *Journal, k Kind, undone bool) error {
	j.set(m.Kind, k)
	if err := m.File.write(j); err != nil {
		return err
	}
	if err := m.taken(ctx); err != nil {
		return err
	}
	return m.Say(*k.Rotation, undone)
}

func (m *Machine) taken(ctx context.Context) error {
	if m.Work.Taken == nil {
		return nil
	}
	return m.Work.Taken(ctx)
}

func (m *Machine) read() (*Journal, Kind, error) {
	j, _, err := m.File.Read()
	if err != nil {
		return nil, Kind{}, err
	}
	return j, j.Kind(m.Kind), nil
}

func (m *Machine) now() time.Time { return m.Clock.Now().UTC().Truncate(time.Second) }
