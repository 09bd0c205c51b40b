// Package daemon runs other people's servers, with what they print in a file, and ends them.
package daemon

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Daemon is a program that runs. It is killed when the test binary ends, however that ends.
type Daemon struct {
	cmd  *exec.Cmd
	log  string
	done chan error
}

// Start starts a program. What it prints goes to the file log.
func Start(cmd *exec.Cmd, log string) (*Daemon, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d := &Daemon{cmd: cmd, log: log, done: make(chan error, 1)}
	go func() { d.done <- cmd.Wait() }()
	return d, nil
}

// Await waits until ready returns nil, the program has ended, ctx ends, or a minute is over.
func (d *Daemon) Await(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case exit := <-d.done:
			d.done <- exit
			return fmt.Errorf("%s ended: %w\n%s", d.cmd.Path, exit, d.Log())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", d.cmd.Path, err, d.Log())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Stop sends a signal and waits until the program has ended; after 30 s it is killed, which is an error.
// What exit code it ends with is its own affair.
func (d *Daemon) Stop(s syscall.Signal) error {
	_ = d.cmd.Process.Signal(s) // if it is gone, Wait has said so
	select {
	case <-d.done:
		return nil
	case <-time.After(30 * time.Second):
		_ = d.cmd.Process.Kill()
		<-d.done
		return fmt.Errorf("%s did not end within 30 s of %s", d.cmd.Path, s)
	}
}

// Log returns the end of what it printed.
func (d *Daemon) Log() string {
	raw, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	return string(raw[max(0, len(raw)-16<<10):])
}
