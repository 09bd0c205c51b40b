//go:build cgo

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/miekg/pkcs11"
	"golang.org/x/sys/unix"

	"github.com/sigbox/sigbox/internal/tokenwire"
)

func main() {
	// The parent says when it is over, by closing the pipe: it still has signatures to make after a signal to all.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	in, out, err := takePipes()
	if err == nil {
		err = serve(in, out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sigbox-pkcs11: "+err.Error())
		os.Exit(1)
	}
}

// takePipes moves the pipes of the parent away from standard input and output, so that a module can neither read from
// the one nor print to the other.
func takePipes() (in, out *os.File, err error) {
	var files [2]*os.File
	for fd := range files {
		// A process that a module starts does not get the copy.
		moved, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return nil, nil, fmt.Errorf("move descriptor %d: %w", fd, err)
		}
		files[fd] = os.NewFile(uintptr(moved), "pipe")
	}
	null, err := os.Open(os.DevNull)
	if err == nil {
		err = errors.Join(unix.Dup2(int(null.Fd()), 0), null.Close(), unix.Dup2(2, 1))
	}
	return files[0], files[1], err
}

// atOnce is how many requests are worked on at a time, each in a session of its own.
const atOnce = 16

// serve answers requests until there are no more.
func serve(in io.Reader, out io.Writer) error {
	answers := make(chan tokenwire.Response)
	go func() {
		for a := range answers {
			if err := tokenwire.Write(out, a); err != nil {
				os.Exit(1) // nobody listens
			}
		}
	}()
	t := &token{keys: map[string]pkcs11.ObjectHandle{}}
	slots := make(chan struct{}, atOnce)
	for {
		var r tokenwire.Request
		if err := tokenwire.Read(in, &r); errors.Is(err, io.EOF) {
			t.leave()
			return nil
		} else if err != nil {
			return err
		}
		slots <- struct{}{}
		go func() {
			answers <- t.answer(r)
			<-slots
		}()
	}
}

// leave closes what is open, as far as that takes a moment: what hangs is left to the operating system.
func (t *token) leave() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.module != nil {
			_ = t.module.Finalize()
		}
	}()
	select {
	case <-done:
	case <-time.After(500 * time.Millisecond):
	}
}

// answer does what a request asks for.
func (t *token) answer(r tokenwire.Request) tokenwire.Response {
	a := tokenwire.Response{ID: r.ID}
	err := t.do(r, &a)
	if err == nil {
		return a
	}
	said := &tokenwire.Error{Text: err.Error()}
	var code pkcs11.Error
	if errors.As(err, &code) {
		said.Code = uint(code)
	}
	switch {
	case errors.Is(err, errNoKey):
		said.Kind = tokenwire.NoKey
	case errors.Is(err, errTaken):
		said.Kind = tokenwire.Taken
	}
	return tokenwire.Response{ID: r.ID, Error: said}
}

func (t *token) do(r tokenwire.Request, a *tokenwire.Response) (err error) {
	if opened := t.opened(); opened != (r.Op != tokenwire.Open) || r.Key == nil && r.Op != tokenwire.Open && r.Op != tokenwire.Login {
		return fmt.Errorf("%q is not for now", r.Op)
	}
	switch r.Op {
	case tokenwire.Open:
		a.Info, err = t.open(r.Module, r.Token)
	case tokenwire.Login:
		err = t.login(string(r.PIN))
	case tokenwire.Find:
		a.SPKI, err = t.find(*r.Key)
	case tokenwire.Check:
		err = t.check(*r.Key)
	case tokenwire.Sign:
		a.Signature, err = t.sign(*r.Key, r.Scheme, r.Input)
	case tokenwire.Make:
		a.SPKI, err = t.make(*r.Key)
	default:
		err = fmt.Errorf("%q is not an operation", r.Op)
	}
	return err
}
