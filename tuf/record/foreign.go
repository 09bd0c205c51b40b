package record

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/foreign"
	"github.com/sigbox/sigbox/tuf/statement"
	"github.com/sigbox/sigbox/tuf/trustroot"
)

// FindForeign returns the foreign root of a name, nil if it is not there.
func (r Record) FindForeign(name string) *foreign.Root {
	for _, f := range r.Foreign {
		if f.Name == name {
			return &f
		}
	}
	return nil
}

// WithForeign takes a foreign root in, or replaces the one of its name, which it must follow.
func (r Record) WithForeign(f foreign.Root) (Record, error) {
	next := r.clone()
	i := slices.IndexFunc(next.Foreign, func(o foreign.Root) bool { return o.Name == f.Name })
	if i >= 0 {
		if err := f.Follows(next.Foreign[i]); err != nil {
			return r, err
		}
		next.Foreign[i] = f
	} else {
		next.Foreign = append(next.Foreign, f)
	}
	slices.SortFunc(next.Foreign, func(a, b foreign.Root) int { return strings.Compare(a.Name, b.Name) })
	_, err := next.Edition()
	return next, err
}

// WithoutForeign lets a foreign root go: clients that refresh do not find it any more.
func (r Record) WithoutForeign(name string) (Record, error) {
	next := r.clone()
	next.Foreign = slices.DeleteFunc(next.Foreign, func(o foreign.Root) bool { return o.Name == name })
	if len(next.Foreign) == len(r.Foreign) {
		return r, fmt.Errorf("%w: there is no foreign root %.40q: sigbox trust list shows those that there are", ErrRecord, name)
	}
	if len(next.Foreign) == 0 {
		next.Foreign = nil
	}
	return next, nil
}

// foreignTargets are the targets of the foreign roots, each of which must be sound and have no key of ours: a
// signature of ours would otherwise count as one of theirs.
func (r Record) foreignTargets(own []tuf.Target) ([]tuf.Target, error) {
	if len(r.Foreign) > foreign.MaxRoots {
		return nil, fmt.Errorf("%w: %d foreign roots, want at most %d", ErrRecord, len(r.Foreign), foreign.MaxRoots)
	}
	for i, f := range r.Foreign {
		if i > 0 && r.Foreign[i-1].Name >= f.Name {
			return nil, fmt.Errorf("%w: foreign root %s is there twice, or out of order", ErrRecord, f.Name)
		}
		if err := f.Check(); err != nil {
			return nil, err
		}
		for _, t := range own {
			if t.Name != trustroot.TrustedRootName {
				continue
			}
			if err := trustroot.Shared(t.Content, f.Content); err != nil {
				return nil, fmt.Errorf("%w: %s shares a key with this instance: %w: is it this instance's own trust root?", foreign.ErrForeign, f.Name, err)
			}
		}
	}
	return foreign.Publish(r.Foreign)
}

// foreignFollows: what is there under a name is no older than what was there.
func (r Record) foreignFollows(prev Record) error {
	for _, old := range prev.Foreign {
		if f := r.FindForeign(old.Name); f != nil {
			if err := f.Follows(old); err != nil {
				return fmt.Errorf("%w: %w", ErrRecord, err)
			}
		}
	}
	return nil
}

type wireForeign struct {
	Name       string   `json:"name"`
	Repository string   `json:"repository,omitempty"`
	Target     string   `json:"target,omitempty"`
	Roots      [][]byte `json:"roots,omitempty"`
	Targets    []byte   `json:"targets,omitempty"`
	Timestamp  int64    `json:"timestamp_version,omitempty"`
	Snapshot   int64    `json:"snapshot_version,omitempty"`
	Content    []byte   `json:"content"`
	Issuers    []string `json:"issuers,omitempty"`
	Taken      string   `json:"taken"`
	Expires    string   `json:"expires"`
}

func foreignOut(f foreign.Root) wireForeign {
	return wireForeign{
		Name: f.Name, Repository: f.Repository, Target: f.Target, Roots: f.Roots, Targets: f.Targets, Timestamp: f.Timestamp, Snapshot: f.Snapshot,
		Content: f.Content, Issuers: f.Issuers, Taken: statement.Stamp(f.Taken), Expires: statement.Stamp(f.Expires),
	}
}

func (w wireForeign) root() (f foreign.Root, err error) {
	f = foreign.Root{
		Name: w.Name, Repository: w.Repository, Target: w.Target, Roots: w.Roots, Targets: w.Targets, Timestamp: w.Timestamp, Snapshot: w.Snapshot,
		Content: w.Content, Issuers: w.Issuers,
	}
	if f.Taken, err = time.Parse(statement.TimeForm, w.Taken); err == nil {
		f.Expires, err = time.Parse(statement.TimeForm, w.Expires)
	}
	if err != nil {
		return foreign.Root{}, errors.New("taken and expires: not times of the form YYYY-MM-DDTHH:MM:SSZ")
	}
	return f, nil
}
