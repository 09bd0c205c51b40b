package compose

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/e2e/internal/clients"
	"github.com/sigbox/sigbox/e2e/internal/sh"
)

// published are the ports of docker-compose.yml.
var published = []int{3000, 5001, 5555, 8080, 8081}

var services = []string{"postgres", "ca", "tlog", "tuf", "issuer"}

// lastLine is of what `sigbox tour` prints.
const lastLine = "The environment files set nothing beyond the shell they are sourced in."

// TestUp: `up` in a fresh clone, nothing else typed, and then what happens to a machine in its life. With each of
// the two tools.
func TestUp(t *testing.T) {
	for _, with := range []tool{plugin, legacy} {
		t.Run(with.name, func(t *testing.T) {
			// Without its image; what of it is in the builder's cache stays.
			_, _ = world.engine.Docker(context.Background(), nil, "rmi", "--no-prune", "sigbox:local")
			p := clone(t, with)
			up := p.up(lastLine)
			p.healthy(services...)
			all := p.containers()
			confined(t, all)
			ownKeysOnly(t, all)
			loopbackOnly(t, published...)
			if with.name == plugin.name {
				pasted(t, p, up.text())
			}
			v := visit(t, "http://127.0.0.1:8081/tuf", issuerURL)
			first := v.sign("after up")
			up.interrupt()
			again(t, p, v, first)
		})
	}
}

// again: stopped and started, restarted, and each service killed, nothing is lost and everything goes on.
func again(t *testing.T, p *project, v *visitor, first signed) {
	p.do("up", "--detach")
	p.healthy(services...)
	if out := p.do("logs", "--no-color", "init"); !strings.Contains(out, "Everything is there in") {
		t.Errorf("init, run again, made something:\n%s", out)
	}
	v.verify(first)
	p.do("restart")
	p.healthy(services...)
	p.completed("init")
	v.verify(first)
	for _, s := range append([]string{"registry"}, services...) {
		p.crash(s)
		took := p.healthy(services...)
		fmt.Printf("%s: %s was killed, and all was healthy %.1f s after it ran again\n", p.name, s, took.Seconds())
		v.script("cosign 3 signs and verifies on both logs after the kill of "+s, quick, "N="+s)
	}
	v.verify(first)
	v.verify(v.sign("after restart and kills"))
	loopbackOnly(t, published...)
	confined(t, p.containers())
}

// pasted: what `up` printed at its end, typed into a shell, word for word.
func pasted(t *testing.T, p *project, printed string) {
	t.Helper()
	lines := p.do("logs", "--no-color", "--no-log-prefix", "tour")
	if !strings.Contains(printed, "env-cosign3.sh") {
		t.Fatal("up did not print the tour")
	}
	_, rest, _ := strings.Cut(lines, "What clients need")
	export, rest, _ := strings.Cut(rest, "Sign and verify with cosign 3:")
	three, two, ok := strings.Cut(rest, "Sign and verify with cosign 2:")
	if !ok {
		t.Fatalf("the tour has changed:\n%s", lines)
	}
	for _, c := range []struct {
		client   clients.Client
		commands string
	}{{clients.Cosign3, three}, {clients.Cosign2, two}} {
		bin := t.TempDir()
		path, err := c.client.Path()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, "cosign")); err != nil {
			t.Fatal(err)
		}
		// Debian's docker is the one with the engine; another may be before it on this machine's PATH.
		if err := os.Symlink("/usr/bin/docker", filepath.Join(bin, "docker")); err != nil {
			t.Fatal(err)
		}
		script := "set -eux\ncd " + p.dir + "\nPATH=" + bin + ":$PATH\n" + indented(export) + indented(c.commands)
		out, err := sh.Run(context.Background(), nil, script, p.env, scriptLimit)
		if err != nil {
			t.Fatalf("the tour with cosign %s, pasted: %v\n%s", c.client.Version, err, out)
		}
		fmt.Printf("ok the commands that up printed, pasted, with cosign %s\n", c.client.Version)
	}
}

// indented returns the lines that are commands.
func indented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "  ") {
			b.WriteString(line)
		}
	}
	return b.String()
}
