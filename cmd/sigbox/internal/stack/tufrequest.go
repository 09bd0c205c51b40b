package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/ceremony"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/statement"
	"github.com/sigbox/sigbox/tuf/trustroot"
)

// Retirement is the end of a key.
type Retirement struct {
	ID  [32]byte // of record.Key
	End time.Time
}

// Wish is what a request is to bring about beside what waits in the inbox.
type Wish struct {
	Statements [][]byte // brought by hand
	Issuers    []string // for clients to ask, beside those that the CA names
	Retire     []Retirement
	Adopt      []record.Key // of other instances, to verify with
	// Without are the keys (ids of record.Key) of which nothing is taken that waits: a service with a
	// wrong configuration has said it.
	Without [][32]byte

	// The signers of the next root; nil where the root stays.
	Root *tuf.RootSigners
	// RenewRoot and RenewTargets sign the role again although nothing changed, before it expires.
	RenewRoot, RenewTargets bool

	GoodFor time.Duration
}

// Request makes the request for the set that follows the current one, with everything that waits in
// the inbox.
func (t *TUFRepo) Request(ctx context.Context, w Wish) (*ceremony.Request, error) {
	now := t.clock.Now()
	cur, rec, err := t.Current(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range w.Retire {
		if rec, err = rec.Retire(e.ID, e.End); err != nil {
			return nil, err
		}
	}
	rec, pending, err := t.pending(ctx, rec, w.Without)
	if err != nil {
		return nil, err
	}
	var taken [][]byte
	for _, p := range pending {
		taken = append(taken, p.Envelope)
	}
	for _, k := range w.Adopt {
		if rec, _, err = rec.Adopt(k, now); err != nil {
			return nil, err
		}
	}
	rec, by, err := rec.Collect(w.Statements, now)
	if err != nil {
		return nil, hintWithout(err, pending)
	}
	for _, u := range w.Issuers {
		rec = rec.WithIssuer(u, now.Add(-time.Hour))
	}
	o := ceremony.Options{
		Instance: t.Inbox.Instance, Current: cur, Record: rec, Statements: append(taken, by...),
		Root: w.Root, RenewTargets: w.RenewTargets, Lifetimes: tuf.Production(), GoodFor: w.GoodFor, Now: now,
	}
	if o.Root == nil && w.RenewRoot {
		if !cur.Created() {
			return nil, errors.New("there is no root to renew: sigbox tuf init makes the first")
		}
		same, err := tuf.SignersOf(cur.Roots[len(cur.Roots)-1].Bytes)
		if err != nil {
			return nil, err
		}
		o.Root = &same
	}
	r, err := ceremony.New(o)
	return r, hintWithout(err, pending)
}

// pending is what waits, but for some keys, each of which must have something that waits.
func (t *TUFRepo) pending(ctx context.Context, cur record.Record, without [][32]byte) (record.Record, []record.Received, error) {
	now := t.clock.Now()
	rec, pending, err := t.Inbox.Pending(ctx, cur, now)
	if err != nil || len(without) == 0 {
		return rec, pending, err
	}
	for _, id := range without {
		if !slices.ContainsFunc(pending, func(p record.Received) bool { return p.Statement.KeyID() == id }) {
			return rec, nil, fmt.Errorf("nothing of key %x waits, so that nothing can be left out: sigbox tuf status shows what waits", id)
		}
	}
	return t.Inbox.Pending(ctx, cur, now, without...)
}

// hintWithout says how to go on without what waits, where it may be the reason that nothing can be composed.
func hintWithout(err error, pending []record.Received) error {
	if len(pending) == 0 || !errors.Is(err, trustroot.ErrMaterial) && !errors.Is(err, record.ErrRefused) {
		return err
	}
	var list strings.Builder
	for _, p := range pending {
		fmt.Fprintf(&list, "\n  --without %x    %s at %s", p.Statement.KeyID(), p.Statement.Role, p.Statement.URL)
	}
	return fmt.Errorf("%w\nIt takes in what waits in the inbox. Retire the key that is replaced (--retire), or leave out what is not meant:%s", err, list.String())
}

// Publish hands a request to the repository, and reports whether there was anything to do. While a key of snapshot or
// timestamp is rotated, the set is signed by the one of before too.
func (t *TUFRepo) Publish(ctx context.Context, r *ceremony.Request) (changed bool, err error) {
	signers := t.Keys
	if signers.Before, err = t.replaced(); err != nil {
		return false, err
	}
	t.Repo.UseKeys(signers)
	return r.Publish(ctx, t.Repo, t.Inbox.Instance, t.clock.Now())
}

// maxStatementFiles bounds what ReadStatements takes of a directory.
const maxStatementFiles = 256

// ReadStatements reads trust statements: a file, or the files *.json of a directory in the order of
// their names.
func ReadStatements(path string) (list [][]byte, err error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("trust statements: %w", err)
	}
	files := []string{path}
	if st.IsDir() {
		if files, err = filepath.Glob(filepath.Join(path, "*.json")); err != nil {
			return nil, fmt.Errorf("trust statements: %w", err)
		}
		slices.Sort(files)
		files = slices.DeleteFunc(files, func(f string) bool { return strings.HasPrefix(filepath.Base(f), ".") })
		if len(files) == 0 || len(files) > maxStatementFiles {
			return nil, fmt.Errorf("trust statements: %s has %d files *.json, want 1 to %d", path, len(files), maxStatementFiles)
		}
	}
	for _, f := range files {
		raw, err := ReadBounded(f, statement.MaxSize+2)
		if err != nil {
			return nil, fmt.Errorf("trust statement: %w", err)
		}
		raw = bytes.TrimSpace(raw)
		if _, err := statement.Open(raw); err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		list = append(list, raw)
	}
	return list, nil
}

// ReadBounded reads a regular file of at most max bytes.
func ReadBounded(path string, max int64) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(raw)) > max {
		err = fmt.Errorf("%s has more than %d bytes", path, max)
	}
	return raw, err
}

// Waiting returns the statements that wait in the inbox, and the record of the current set.
func (t *TUFRepo) Waiting(ctx context.Context) ([]record.Received, record.Record, error) {
	_, rec, err := t.Current(ctx)
	if err != nil {
		return nil, rec, err
	}
	_, pending, err := t.Inbox.Pending(ctx, rec, t.clock.Now())
	return pending, rec, err
}
