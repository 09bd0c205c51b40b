package pkcs11

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"github.com/sigbox/sigbox/internal/tokenwire"
)

// Program is the name of the child's program, and ProgramVariable the environment variable that says where it is, for
// one that is neither beside sigbox nor in PATH.
const (
	Program         = "sigbox-pkcs11"
	ProgramVariable = "SIGBOX_PKCS11_PROGRAM"
)

// findProgram returns the path of the child's program.
func findProgram() (string, error) {
	if path := os.Getenv(ProgramVariable); path != "" {
		if !filepath.IsAbs(path) {
			return "", fmt.Errorf("%s is not an absolute path", ProgramVariable)
		}
		return path, nil
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), Program)
		if st, err := os.Stat(beside); err == nil && st.Mode().IsRegular() {
			return beside, nil
		}
	}
	path, err := exec.LookPath(Program)
	if err != nil {
		return "", fmt.Errorf("the program %s, which keys on a token need, is neither beside sigbox nor in PATH: put it there (docs/hsm.md), "+
			"or name it with %s", Program, ProgramVariable)
	}
	return path, nil
}

// child is a running child: one module, one token.
type child struct {
	cmd  *exec.Cmd
	in   *os.File
	said *tail

	writing sync.Mutex

	mu      sync.Mutex
	last    uint64
	pending map[uint64]chan tokenwire.Response
	ended   chan struct{} // closed when it is over
	cause   error         // why; set before ended is closed
}

// startChild starts the program. The child ends when its standard input is closed, and so with this process, however
// that ends. It is in a process group of its own: Ctrl-C in a terminal is for us, who still have signatures to make.
func startChild(program string) (*child, error) {
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, theirIn.Close(), in.Close())
	}
	c := &child{cmd: exec.Command(program), in: in, said: &tail{}, pending: map[uint64]chan tokenwire.Response{}, ended: make(chan struct{})}
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = theirIn, theirOut, c.said
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.cmd.WaitDelay = time.Second // a grandchild of a module may hold standard error open
	err = c.cmd.Start()
	_, _ = theirIn.Close(), theirOut.Close()
	if err != nil {
		_, _ = in.Close(), out.Close()
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	go c.listen(out)
	return c, nil
}

// listen hands answers to those who wait for them, until the child ends or says what is no answer.
func (c *child) listen(out *os.File) {
	var err error
	for err == nil {
		var r tokenwire.Response
		if err = tokenwire.Read(out, &r); err != nil {
			break
		}
		c.mu.Lock()
		waiter, ok := c.pending[r.ID]
		delete(c.pending, r.ID)
		c.mu.Unlock()
		if ok {
			waiter <- r // has room for it
		} // else it has given up
	}
	if !errors.Is(err, io.EOF) {
		_ = c.cmd.Process.Kill()
	}
	_ = c.cmd.Wait() // ProcessState says it
	_ = out.Close()
	cause := fmt.Sprintf("%s was ended, since it sent %v", Program, err)
	if errors.Is(err, io.EOF) {
		cause = fmt.Sprintf("%s ended (%s)", Program, c.cmd.ProcessState)
	}
	if said := c.said.String(); said != "" {
		cause += ", and said last: " + said
	}
	c.end(errors.New(cause))
}

// end makes it over, for the first cause that there is.
func (c *child) end(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return
	}
	c.cause = cause
	_ = c.in.Close()
	_ = c.cmd.Process.Kill()
	close(c.ended)
}

// over says why it has ended, nil for one that has not.
func (c *child) over() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// call sends a request and waits for its answer. An error that is a [*tokenwire.Error] is the child's own answer; with
// any other there is none.
func (c *child) call(ctx context.Context, r tokenwire.Request) (tokenwire.Response, error) {
	answer := make(chan tokenwire.Response, 1)
	c.mu.Lock()
	c.last++
	r.ID = c.last
	c.pending[r.ID] = answer
	c.mu.Unlock()
	if err := c.send(ctx, r); errors.Is(err, os.ErrDeadlineExceeded) { // it is stopped, and the pipe is full
		return tokenwire.Response{}, context.DeadlineExceeded
	} // any other is one of a child that ends, which says why
	select {
	case got := <-answer:
		if got.Error != nil {
			return got, got.Error
		}
		return got, nil
	case <-c.ended:
		return tokenwire.Response{}, c.over()
	case <-ctx.Done():
		return tokenwire.Response{}, ctx.Err()
	}
}

func (c *child) send(ctx context.Context, r tokenwire.Request) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if at, ok := ctx.Deadline(); ok {
		_ = c.in.SetWriteDeadline(at)
	}
	return tokenwire.Write(c.in, r)
}

// tail keeps the end of what a child writes to standard error, where modules say what they miss.
type tail struct {
	mu     sync.Mutex
	text   []byte
	full   bool   // the rest does not count
	secret []byte // the PIN: a module may print what it is given
}

const (
	maxSaid  = 8 << 10
	maxShown = 300
)

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.full {
		return len(p), nil
	}
	t.text = append(t.text, p...)
	if i := bytes.Index(t.text, []byte("\nPC=")); i >= 0 { // a crash, of which Go prints all stacks and registers
		t.text, t.full = t.text[:i], true
	}
	if n := len(t.text) - maxSaid; n > 0 {
		t.text = append(t.text[:0], t.text[n:]...)
	}
	return len(p), nil
}

// hide keeps a secret out of what is shown.
func (t *tail) hide(secret []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.secret = secret
}

// String is the last lines in one.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := t.text
	if len(t.secret) > 0 {
		text = bytes.ReplaceAll(text, t.secret, []byte("(PIN)"))
	}
	shown := strings.Join(strings.FieldsFunc(string(text), func(r rune) bool { return unicode.IsControl(r) }), "; ")
	if len(shown) > maxShown {
		shown = "..." + strings.ToValidUTF8(shown[len(shown)-maxShown:], "")
	}
	return strings.ToValidUTF8(shown, "?")
}
