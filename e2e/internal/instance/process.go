package instance

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// startLimit is how long a start may take on a machine busy with other scenarios.
const startLimit = 60 * time.Second

// Process is a sigbox command that serves: it has printed its ready lines, which are its last.
type Process struct {
	First  string        // what follows "ready " in the first of them
	Ready  time.Duration // from process start to that line
	Stdout string        // all that was printed before it

	cmd    *exec.Cmd
	name   string
	stderr *buffer
	done   chan struct{}
	err    error // of Wait; set before done is closed
}

// Launch runs a command of the binary and waits for its first ready line. env is the whole environment.
func Launch(ctx context.Context, binary string, args, env []string) (*Process, error) {
	p := &Process{name: "sigbox " + args[0], stderr: &buffer{}, done: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, binary, args...)
	p.cmd.Env, p.cmd.Stderr = env, p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan [2]string, 1)
	go p.read(stdout, ready)
	select {
	case printed := <-ready:
		p.Stdout, p.First, p.Ready = printed[0], printed[1], time.Since(started)
	case <-p.done:
	case <-time.After(startLimit):
		p.Kill()
	}
	if p.First == "" {
		return nil, fmt.Errorf("%s gave no ready line: %w\n%s", p.name, p.err, p.stderr)
	}
	return p, nil
}

// read passes the lines up to the first ready line on, wants none but such after it, and reaps the
// process.
func (p *Process) read(stdout io.Reader, ready chan<- [2]string) {
	var before strings.Builder
	var late string
	isReady := false
	for sc := bufio.NewScanner(stdout); sc.Scan(); {
		what, ok := strings.CutPrefix(sc.Text(), "ready ")
		switch {
		case isReady && !ok:
			late = sc.Text()
		case isReady:
		case ok:
			isReady = true
			ready <- [2]string{before.String(), what}
		default:
			before.WriteString(sc.Text() + "\n")
		}
	}
	if p.err = p.cmd.Wait(); p.err == nil && late != "" {
		p.err = fmt.Errorf("the ready lines were not the last on stdout: %q came after", late)
	}
	close(p.done)
}

// Stop sends SIGTERM and wants exit code 0.
func (p *Process) Stop() error {
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.Kill()
		return errors.New(p.name + " did not end within 30 s of SIGTERM")
	}
	if p.err != nil {
		return fmt.Errorf("%s after SIGTERM: %w\n%s", p.name, p.err, p.stderr)
	}
	return nil
}

// Signal sends a signal; a process that is gone gets none.
func (p *Process) Signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) } // Wait says why it is gone

// Kill ends the process with SIGKILL.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Log returns what the process wrote to stderr so far.
func (p *Process) Log() string { return p.stderr.String() }

// Pid returns the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// buffer is a bytes.Buffer for one writer and other readers.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
