package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/freeport"
)

// TestMain lets the test binary be sigbox itself, so that what is tested is the whole program,
// under the race detector where the tests are.
func TestMain(m *testing.M) {
	if os.Getenv("SIGBOX_TEST_RUN") == "1" {
		if at, err := strconv.Atoi(os.Getenv("SIGBOX_TEST_DIE_AT")); err == nil {
			dieAt(at)
		}
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// dieAt is main that is killed, as by kill -9, once it has written some lines to standard output.
func dieAt(line int) {
	root := rootCommand()
	root.SetOut(&mortal{out: os.Stdout, left: line})
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "sigbox: "+err.Error())
		os.Exit(1)
	}
	os.Exit(0)
}

type mortal struct {
	out  io.Writer
	left int
}

func (m *mortal) Write(p []byte) (int, error) {
	n, err := m.out.Write(p)
	if m.left -= bytes.Count(p, []byte("\n")); m.left <= 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return n, err
}

// sigbox returns the program with these arguments, in an empty home directory.
func sigbox(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // far beyond any test, on a machine that is busy too
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"SIGBOX_TEST_RUN=1", "HOME=" + cmd.Dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}
	for _, v := range os.Environ() { // of a token that package hsmtest has made
		if strings.HasPrefix(v, "SOFTHSM2_CONF=") || strings.HasPrefix(v, "HSMTEST_") || strings.HasPrefix(v, "SIGBOX_PKCS11_PROGRAM=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	return cmd
}

// run runs the program to its end.
func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return finish(t, sigbox(t, args...))
}

func finish(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// instanceRun is a running `sigbox up`.
type instanceRun struct {
	cmd     *exec.Cmd
	url     string
	summary string
	stderr  *lockedBuffer
}

// start runs `up` and waits for its ready line.
func start(t *testing.T, args ...string) *instanceRun {
	t.Helper()
	return startCommand(t, sigbox(t, append([]string{"up"}, args...)...))
}

func startCommand(t *testing.T, cmd *exec.Cmd) *instanceRun {
	t.Helper()
	r := &instanceRun{cmd: cmd, stderr: &lockedBuffer{}}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = r.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		r.summary += lines.Text() + "\n"
		if url, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
			r.url = url
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return r
		}
	}
	_ = cmd.Wait()
	t.Fatalf("up ended before it was ready (%s):\n%s", cmd.ProcessState, r.stderr)
	return nil
}

// stop sends a signal and returns the exit code.
func (r *instanceRun) stop(t *testing.T, sig os.Signal) int {
	t.Helper()
	if err := r.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	_ = r.cmd.Wait() // the exit code says it
	return r.cmd.ProcessState.ExitCode()
}

// freeAddr returns a loopback address that was free a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	port, err := freeport.Port()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

func newData(t *testing.T) string { return filepath.Join(t.TempDir(), "data") }

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
