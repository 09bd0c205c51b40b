// Package instance runs the real sigbox binary, as a user does, and ends it.
package instance

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// startLimit is how long `sigbox up` may take on a machine busy with other scenarios.
const startLimit = 60 * time.Second

// Options say how an instance runs.
type Options struct {
	Binary string   // path of sigbox
	Data   string   // data directory
	Args   []string // further arguments of `sigbox up`
	Env    []string // the whole environment
	Addr   string   // "" picks a free port of 127.0.0.1
}

// Instance is a running sigbox.
type Instance struct {
	URL    string
	Addr   string
	Ready  time.Duration // from process start to the ready line
	Stdout string        // all that was printed before the ready line

	opts   Options
	cmd    *exec.Cmd
	stderr *buffer
	done   chan struct{}
	err    error // of Wait; set before done is closed
}

// Start runs `sigbox up` and waits for its ready line.
func Start(ctx context.Context, o Options) (*Instance, error) {
	if o.Addr == "" {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		o.Addr = fmt.Sprintf("127.0.0.1:%d", port)
	}
	i := &Instance{Addr: o.Addr, opts: o, stderr: &buffer{}, done: make(chan struct{})}
	i.cmd = exec.CommandContext(ctx, o.Binary, append([]string{"up", "--listen", o.Addr, "--data", o.Data}, o.Args...)...)
	i.cmd.Env, i.cmd.Stderr = o.Env, i.stderr
	i.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := i.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started := time.Now()
	if err := i.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan [2]string, 1)
	go i.read(stdout, ready)
	select {
	case printed := <-ready:
		i.Stdout, i.URL, i.Ready = printed[0], printed[1], time.Since(started)
	case <-i.done:
	case <-time.After(startLimit):
		i.Kill()
	}
	if i.URL == "" {
		return nil, fmt.Errorf("sigbox up gave no ready line: %w\n%s", i.err, i.stderr)
	}
	return i, nil
}

// read passes the lines up to the ready line on, wants none after it, and reaps the process.
func (i *Instance) read(stdout io.Reader, ready chan<- [2]string) {
	var before strings.Builder
	var late string
	isReady := false
	for sc := bufio.NewScanner(stdout); sc.Scan(); {
		url, ok := strings.CutPrefix(sc.Text(), "ready ")
		switch {
		case isReady:
			late = sc.Text()
		case ok:
			isReady = true
			ready <- [2]string{before.String(), url}
		default:
			before.WriteString(sc.Text() + "\n")
		}
	}
	if i.err = i.cmd.Wait(); i.err == nil && late != "" {
		i.err = fmt.Errorf("the ready line was not the last on stdout: %q came after", late)
	}
	close(i.done)
}

// Stop sends SIGTERM and wants exit code 0.
func (i *Instance) Stop() error {
	_ = i.cmd.Process.Signal(syscall.SIGTERM) // if it is gone, Wait says why
	select {
	case <-i.done:
	case <-time.After(30 * time.Second):
		i.Kill()
		return errors.New("sigbox did not end within 30 s of SIGTERM")
	}
	if i.err != nil {
		return fmt.Errorf("sigbox after SIGTERM: %w\n%s", i.err, i.stderr)
	}
	return nil
}

// Kill ends the process with SIGKILL.
func (i *Instance) Kill() {
	_ = i.cmd.Process.Kill()
	<-i.done
}

// Again starts sigbox on the same address and data, after Stop or Kill.
func (i *Instance) Again(ctx context.Context) (*Instance, error) {
	o := i.opts
	o.Addr = i.Addr
	return Start(ctx, o)
}

// Log returns what the process wrote to stderr so far.
func (i *Instance) Log() string { return i.stderr.String() }

// Pid returns the process id.
func (i *Instance) Pid() int { return i.cmd.Process.Pid }

var ports struct {
	sync.Mutex
	given map[int]bool
}

// FreePort returns a port of 127.0.0.1 on which nobody listens, never the same one twice. It is
// below the range from which the kernel takes ports of outgoing connections, so that it stays
// free while an instance restarts.
func FreePort() (int, error) {
	const low, high = 20000, 32000
	ports.Lock()
	defer ports.Unlock()
	if ports.given == nil {
		ports.given = map[int]bool{}
	}
	for range 1000 {
		port := low + rand.IntN(high-low)
		if ports.given[port] {
			continue
		}
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		_ = ln.Close()
		ports.given[port] = true
		return port, nil
	}
	return 0, errors.New("no free port")
}

// Own adds a port of loopback that a client of the harness listens on by itself.
func Own(port int) {
	ports.Lock()
	defer ports.Unlock()
	if ports.given == nil {
		ports.given = map[int]bool{}
	}
	ports.given[port] = true
}

// Ports returns the ports that FreePort gave out, and those of Own.
func Ports() []int {
	ports.Lock()
	defer ports.Unlock()
	var out []int
	for p := range ports.given {
		out = append(out, p)
	}
	return out
}

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
