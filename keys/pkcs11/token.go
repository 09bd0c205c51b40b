package pkcs11

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/sigbox/sigbox/internal/tokenwire"
)

// token is a token with the child that reaches it, if one runs.
type token struct {
	pool *Pool
	uri  URI // without the key and the PIN
	name string

	turn chan struct{} // held by the one who starts a child

	mu       sync.Mutex
	child    *child
	pin      []byte // one that the token has accepted
	starts   int    // since something worked
	next     time.Time
	failed   error // the last start; nil for one that did not fail
	refused  error // no PIN is tried any more
	isClosed bool
}

// do has a child do something, at most twice: a child that has ended meanwhile, or has lost the token, is replaced.
// pinSource is that of the key, in case a PIN is needed.
func (t *token) do(pinSource string, r tokenwire.Request) (got tokenwire.Response, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), t.pool.options.Answer)
	defer cancel()
	for range 2 {
		var c *child
		if c, err = t.connected(ctx, pinSource); err != nil {
			return got, err
		}
		got, err = c.call(ctx, r)
		var said *tokenwire.Error
		switch {
		case err == nil:
			t.worked()
			return got, nil
		case errors.As(err, &said) && !lost(said.Code):
			t.worked()
			return got, t.answered(said)
		case ctx.Err() != nil:
			c.end(fmt.Errorf("no answer within %s, so that its process was ended", t.pool.options.Answer))
			return got, fmt.Errorf("%w: %s: %w", ErrAway, t.name, c.over())
		}
		c.end(err)
	}
	return got, fmt.Errorf("%w: %s: %w", ErrAway, t.name, err)
}

// answered is an error that is the token's own answer.
func (t *token) answered(said *tokenwire.Error) error {
	kind := map[string]error{tokenwire.NoKey: ErrNoKey, tokenwire.Taken: ErrTaken}[said.Kind]
	if kind == nil {
		return fmt.Errorf("%s: %w", t.name, said)
	}
	return fmt.Errorf("%w: %s: %w", kind, t.name, said)
}

// lost says whether after an answer nothing that the child has open is good any more. A new one finds out what is there.
func lost(code uint) bool {
	switch code {
	case tokenwire.DeviceError, tokenwire.KeyHandleInvalid, tokenwire.ObjectHandleInvalid, tokenwire.UserNotLoggedIn:
		return true
	}
	return notAboutPIN(code)
}

// worked has the next start wait for nothing.
func (t *token) worked() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.starts = 0
}

// running returns the child, nil for none.
func (t *token) running() *child {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.child == nil || t.child.over() != nil {
		return nil
	}
	return t.child
}

func (t *token) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.isClosed = true
	if t.child != nil {
		t.child.end(errors.New("closed"))
	}
}

// connected returns a child that is logged in. One caller at a time starts it; the others wait as long as ctx lets them.
func (t *token) connected(ctx context.Context, pinSource string) (*child, error) {
	if c := t.running(); c != nil {
		return c, nil
	}
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %s: it has not answered for %s", ErrAway, t.name, t.pool.options.Answer)
	}
	if c := t.running(); c != nil {
		return c, nil
	}
	if err := t.mayStart(); err != nil {
		return nil, err
	}
	c, err := t.connect(ctx, pinSource)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.child, t.failed = c, err
	if err == nil && t.isClosed {
		c.end(errors.New("closed"))
	}
	return c, err
}

// mayStart counts a start, or refuses it: they are further and further apart as long as nothing works.
func (t *token) mayStart() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isClosed {
		return fmt.Errorf("%w: %s: closed", ErrAway, t.name)
	}
	if t.refused != nil {
		return t.refused
	}
	if wait := time.Until(t.next); t.starts > 0 && wait > 0 {
		cause := t.failed
		if cause == nil {
			cause = fmt.Errorf("%w: %s: %w", ErrAway, t.name, t.child.over())
		}
		return fmt.Errorf("%w; tried again in %s", cause, wait.Round(100*time.Millisecond))
	}
	t.starts++
	t.next = time.Now().Add(backoff(t.starts, t.pool.options.Backoff))
	return nil
}

// backoff is how long after its start a child is the last one: nothing, then 100 ms and twice as long each time.
func backoff(starts int, most time.Duration) time.Duration {
	if starts <= 1 {
		return 0
	}
	return min(most, 100*time.Millisecond<<min(starts-2, 20))
}

// connect starts a child, has it open the module and find the token, and logs in.
func (t *token) connect(ctx context.Context, pinSource string) (c *child, err error) {
	away := func(err error) error { return fmt.Errorf("%w: %s: %w", ErrAway, t.name, err) }
	if err := checkModule(t.uri.Module); err != nil {
		return nil, away(err)
	}
	program := t.pool.options.Program
	if program == "" {
		if program, err = findProgram(); err != nil {
			return nil, away(err)
		}
	}
	if c, err = startChild(program); err != nil {
		return nil, away(err)
	}
	defer func() {
		if err != nil {
			c.end(err)
			c = nil
		}
	}()
	got, err := c.call(ctx, tokenwire.Request{Op: tokenwire.Open, Module: t.uri.Module, Token: t.uri.token()})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return c, away(fmt.Errorf("%s has not opened it within %s", t.uri.Module, t.pool.options.Answer))
	case err != nil:
		return c, away(err)
	case got.Info == nil || got.Info.Version != tokenwire.Version:
		return c, away(fmt.Errorf("%s is of another version than sigbox: install the two that were built together", program))
	}
	if err := t.login(ctx, c, *got.Info, pinSource); err != nil {
		return c, err
	}
	return c, nil
}

// checkModule looks at a module before it is loaded: whoever can write to it has the PIN and the keys.
func checkModule(path string) error {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("module-path: %w: it is installed with the token's software", err)
	case !st.Mode().IsRegular():
		return fmt.Errorf("module-path: %s is not a file", path)
	case st.Mode().Perm()&0o002 != 0:
		return fmt.Errorf("module-path: everybody can write to %s (mode %04o): run chmod o-w on it", path, st.Mode().Perm())
	}
	return nil
}

// login logs in. A PIN that the token has not accepted before is tried once by this process. When the outcome is not
// known, because the module has crashed or hung, that was the one try.
func (t *token) login(ctx context.Context, c *child, info tokenwire.Info, pinSource string) error {
	where := t.uri.Module + " " + info.Serial
	refused := func(err error) error { return fmt.Errorf("%w: %s: %w", ErrPIN, t.name, err) }
	if info.Flags&tokenwire.LoginRequired == 0 {
		return nil
	}
	if err := t.pool.refusal(where); err != nil {
		return t.refuse(err)
	}
	if info.Flags&tokenwire.PINInitialized == 0 {
		return refused(errors.New("the token has no user PIN yet: initialise it with its own tools"))
	}
	pin, accepted := t.acceptedPIN()
	if err := fewTries(info.Flags, accepted, t.pool.options.TryPIN); err != nil {
		return refused(err)
	}
	if !accepted {
		if pinSource == "" {
			return refused(errors.New("it wants a PIN, and the URI has no pin-source=file:/PATH"))
		}
		var err error
		if pin, err = readPIN(pinSource); err != nil {
			return refused(err)
		}
	}
	c.said.hide(pin)
	_, err := c.call(ctx, tokenwire.Request{Op: tokenwire.Login, PIN: pin})
	var said *tokenwire.Error
	switch answered := errors.As(err, &said); {
	case err == nil:
		t.mu.Lock()
		defer t.mu.Unlock()
		t.pin = pin
		return nil
	case answered && notAboutPIN(said.Code), accepted && (!answered || !aboutPIN(said.Code)):
		return fmt.Errorf("%w: %s: log in: %w", ErrAway, t.name, err)
	case !answered:
		err = fmt.Errorf("whether it is right is not known: %w", err)
	}
	err = refused(fmt.Errorf("%w. It is not tried again before sigbox is started again, since that could lock the token: "+
		"put the right PIN into the file that pin-source names first", err))
	t.pool.refuse(where, err)
	return t.refuse(err)
}

// refuse has no child started any more, since no PIN would be tried.
func (t *token) refuse(err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused = err
	return err
}

func (t *token) acceptedPIN() ([]byte, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pin, t.pin != nil
}

// samePIN refuses a key whose PIN file has another PIN than the one that the token has accepted: after a restart either
// of them might be the one that is tried.
func (t *token) samePIN(pinSource string) error {
	pin, accepted := t.acceptedPIN()
	if !accepted || pinSource == "" {
		return nil
	}
	other, err := readPIN(pinSource)
	if err == nil && !bytes.Equal(pin, other) {
		err = fmt.Errorf("%s has another PIN than the one that the token has accepted from the file of another key", pinSource)
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrPIN, t.name, err)
	}
	return nil
}
