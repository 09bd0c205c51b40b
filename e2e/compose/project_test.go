package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// tool is a program that runs compose files.
type tool struct {
	name    string
	command []string
}

var (
	plugin = tool{name: "docker compose v2.40.3", command: []string{"/usr/bin/docker", "compose"}}
	legacy = tool{name: "docker-compose 1.29.2", command: []string{"/usr/bin/docker-compose"}}
)

// project is a fresh clone of the repository in which a tool is run.
type project struct {
	tool
	t     *testing.T
	dir   string
	files []string // arguments that name the compose files; none for docker-compose.yml
	env   []string
}

// clone copies what git would check out to a new directory: nothing that is ignored, and no .git.
func clone(t *testing.T, with tool) *project {
	t.Helper()
	p := &project{tool: with, t: t, dir: filepath.Join(t.TempDir(), "sigbox"), env: append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + t.TempDir(), "LANG=C.UTF-8",
	}, world.engine.Env()...)}
	script := `cd "$1" && git -c safe.directory="$1" ls-files -co --exclude-standard -z | while IFS= read -r -d '' f; do [ ! -e "$f" ] || printf '%s\0' "$f"; done |
tar --null -T - -cf - | (mkdir -p "$2" && tar -xf - -C "$2")`
	if out, err := exec.Command("bash", "-euo", "pipefail", "-c", script, "bash", world.source, p.dir).CombinedOutput(); err != nil {
		t.Fatalf("clone: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s\n%s", p.quietly("ps", "-a"), tail(p.quietly("logs", "--no-color"), 200))
		}
		p.quietly("down", "--volumes", "--timeout", "10")
	})
	return p
}

func (p *project) cmd(ctx context.Context, args ...string) *exec.Cmd {
	all := append(append(append([]string{}, p.command...), p.files...), args...)
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	cmd.Dir, cmd.Env = p.dir, p.env
	return cmd
}

// do runs a command of the tool and returns what it printed.
func (p *project) do(args ...string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	start := time.Now()
	out, err := p.cmd(ctx, args...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("%s %s: %v\n%s", p.name, strings.Join(args, " "), err, tail(string(out), 100))
	}
	fmt.Printf("ok %5.1f s  %s: %s\n", time.Since(start).Seconds(), p.name, strings.Join(args, " "))
	return string(out)
}

// quietly runs a command that may fail.
func (p *project) quietly(args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, _ := p.cmd(ctx, args...).CombinedOutput() // for a person to read, or to clean up
	return string(out)
}

// attached is `up` as a person runs it, in a terminal of its own.
type attached struct {
	p    *project
	cmd  *exec.Cmd
	done chan error

	mu  sync.Mutex
	out bytes.Buffer
}

func (a *attached) Write(b []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.out.Write(b)
}

func (a *attached) text() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.out.String()
}

// up runs `up` and waits until it prints the text.
func (p *project) up(until string) *attached {
	p.t.Helper()
	start := time.Now()
	a := &attached{p: p, cmd: p.cmd(context.Background(), "up"), done: make(chan error, 1)}
	a.cmd.Stdout, a.cmd.Stderr = a, a
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := a.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() { a.done <- a.cmd.Wait() }()
	for deadline := time.Now().Add(8 * time.Minute); !strings.Contains(a.text(), until); time.Sleep(100 * time.Millisecond) {
		select {
		case err := <-a.done:
			p.t.Fatalf("%s up ended: %v\n%s", p.name, err, tail(a.text(), 150))
		default:
		}
		if time.Now().After(deadline) {
			_ = a.cmd.Process.Kill()
			p.t.Fatalf("%s up does not print %q:\n%s", p.name, until, tail(a.text(), 150))
		}
	}
	fmt.Printf("ok %5.1f s  %s: up, from a fresh clone to the commands for cosign\n", time.Since(start).Seconds(), p.name)
	return a
}

// interrupt is Ctrl-C.
func (a *attached) interrupt() {
	a.p.t.Helper()
	_ = syscall.Kill(-a.cmd.Process.Pid, syscall.SIGINT)
	select {
	case <-a.done: // the tools' exit codes after it differ
	case <-time.After(90 * time.Second):
		_ = a.cmd.Process.Kill()
		a.p.t.Fatalf("%s up did not end within 90 s of Ctrl-C\n%s", a.p.name, tail(a.text(), 50))
	}
}

// container is what the engine says of one.
type container struct {
	ID, Name string
	State    struct {
		Status   string
		Pid      int
		ExitCode int
		Health   *struct{ Status string }
	}
	RestartCount int
	Config       struct{ Labels map[string]string }
	service      string
}

// containers returns all of the project, by service; replicas that have services of their own too.
func (p *project) containers() map[string]container {
	p.t.Helper()
	ids := strings.Fields(docker(p.t, "ps", "-aq", "--filter", "label=com.docker.compose.project"))
	if len(ids) == 0 {
		p.t.Fatal("there are no containers")
	}
	var list []container
	if err := json.Unmarshal([]byte(docker(p.t, append([]string{"inspect"}, ids...)...)), &list); err != nil {
		p.t.Fatal(err)
	}
	all := map[string]container{}
	for _, c := range list {
		if c.Config.Labels["com.docker.compose.oneoff"] == "True" {
			continue
		}
		c.service = c.Config.Labels["com.docker.compose.service"]
		all[c.service] = c
	}
	return all
}

// healthy waits until all services have the health that they should, and returns how long that took.
func (p *project) healthy(services ...string) time.Duration {
	p.t.Helper()
	start := time.Now()
	for {
		var not []string
		all := p.containers()
		for _, s := range services {
			if c := all[s]; c.State.Status != "running" || c.State.Health == nil || c.State.Health.Status != "healthy" {
				not = append(not, s+" "+c.State.Status)
			}
		}
		if len(not) == 0 {
			return time.Since(start)
		}
		if time.Since(start) > 2*time.Minute {
			p.t.Fatalf("not healthy within 2 minutes: %s", strings.Join(not, ", "))
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// completed waits until a service that is to end has ended, and well.
func (p *project) completed(service string) {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		c := p.containers()[service]
		if c.State.Status == "exited" && c.State.ExitCode == 0 {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s is %s, exit code %d", service, c.State.Status, c.State.ExitCode)
		}
	}
}

// crash kills the process of a service as a crash does: the engine is not told.
func (p *project) crash(service string) {
	p.t.Helper()
	before := p.containers()[service]
	if before.State.Pid <= 0 {
		p.t.Fatalf("%s does not run", service)
	}
	if err := syscall.Kill(before.State.Pid, syscall.SIGKILL); err != nil {
		p.t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if c := p.containers()[service]; c.RestartCount > before.RestartCount && c.State.Status == "running" && c.State.Pid != before.State.Pid {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s was killed and is not started again", service)
		}
	}
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := world.engine.Docker(context.Background(), io.Reader(nil), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tail(text string, lines int) string {
	all := strings.Split(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// newDir makes a directory.
func newDir(t *testing.T, parts ...string) string {
	t.Helper()
	dir := filepath.Join(parts...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
