package setup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/filelock"
)

// Options are what one run of init is given.
type Options struct {
	Dir     string // made if it is not there
	Choices Choices
	// Admin are the connection strings to make schemas and users with, secrets and all: they are not
	// kept. Issuer is not used. Empty ones are those of Choices, which have no user and no password.
	Admin Services
	Guard string // the same for the guard
	Dev   bool   // the run is for an instance with --dev
	TUF   Signers
	Clock clock.Clock
	Out   io.Writer // a line for everything that is made
}

// Result is what an instance is after a run.
type Result struct {
	Plan    Plan
	Config  string // path of the configuration
	Changed bool   // by this run
}

// ErrWaiting says that the holders of offline keys have something to do first, which the error names.
// Running init again goes on from there.
var ErrWaiting = errors.New("waiting for offline keys")

// Waiting is an [ErrWaiting].
type Waiting struct {
	For  string // what is missing
	Todo string // what to do, in lines for a person to read; ends with a newline

	Again string // the command that goes on; "" is init
}

func (w *Waiting) Error() string {
	return "waiting for " + w.For + ": do what is said above, and run " + cmp.Or(w.Again, "init") + " again"
}

// Is makes it an ErrWaiting.
func (w *Waiting) Is(target error) bool { return target == ErrWaiting }

// builder is one run.
type builder struct {
	dir     string
	plan    Plan
	admin   Services
	guard   string
	tuf     Signers
	issuer  string // that the trust root names, if the statements name none
	clock   clock.Clock
	out     io.Writer
	changed bool
}

// Run makes what is missing of an instance. An error that wraps [ErrWaiting] is no failure.
func Run(ctx context.Context, o Options) (_ *Result, err error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	b := &builder{dir: dir, admin: o.Admin, guard: o.Guard, tuf: o.TUF, clock: o.Clock, out: o.Out}
	unlock, err := b.enter()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := b.loadPlan(o.Choices); err != nil {
		return nil, err
	}
	if o.Dev && b.plan.Production {
		return nil, fmt.Errorf("%s is of an instance that was made with --production: name another directory with --dir", b.dir)
	}
	result := func() *Result { return &Result{Plan: b.plan, Config: b.path(configFile), Changed: b.changed} }
	for _, step := range []func(context.Context) error{
		b.makeFiles, b.makePeers, b.makeDatabases, b.makeChains, b.makeLogs, b.makeTrust,
	} {
		if err := step(ctx); err != nil {
			return result(), err
		}
	}
	return result(), nil
}

// enter makes the directory, takes its lock and removes what a killed run left half written.
func (b *builder) enter() (unlock func() error, err error) {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return nil, err
	}
	if is, err := b.there(planFile); err != nil {
		return nil, err
	} else if !is {
		if err := b.empty(); err != nil {
			return nil, err
		}
	}
	lock, err := filelock.Acquire(b.path("lock"))
	if errors.Is(err, filelock.ErrHeld) {
		return nil, fmt.Errorf("another sigbox init is at work in %s: wait for it", b.dir)
	}
	if err != nil {
		return nil, err
	}
	return lock.Close, b.sweep()
}

// empty refuses a directory that somebody else has filled. Empty directories in it are mount points of
// what is to be kept apart.
func (b *builder) empty() error {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == "lock" || unfinished(e.Name()) {
			continue
		}
		if e.IsDir() {
			inside, err := os.ReadDir(b.path(e.Name()))
			if err == nil && (len(inside) == 0 || e.Name() == "lost+found") {
				continue
			}
		}
		return fmt.Errorf("%s is not empty and was not made by sigbox init (there is %s): name another directory with --dir", b.dir, e.Name())
	}
	return nil
}

// makeFiles makes what needs nothing but random numbers: directories, configuration and keys.
func (b *builder) makeFiles(context.Context) error {
	if err := b.makeDirectories(); err != nil {
		return err
	}
	if err := b.make(configFile, open, b.config); err != nil {
		return err
	}
	if err := b.keepSigners(); err != nil {
		return err
	}
	if err := b.makeKeys(); err != nil {
		return err
	}
	if err := b.makePasswords(); err != nil {
		return err
	}
	return b.makeIssuers()
}
