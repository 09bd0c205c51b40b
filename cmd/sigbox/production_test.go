//go:build postgres

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/pgtest"
)

// console is one command of a page, with what it is said to print.
type console struct {
	machine, command string
	want             string
}

// consoles returns the commands of the page's console blocks, in order.
func consoles(t *testing.T, page string) (list []console) {
	t.Helper()
	inside := false
	for line := range strings.Lines(page) {
		line = strings.TrimSuffix(line, "\n")
		machine, command, isCommand := strings.Cut(line, "$ ")
		last := len(list) - 1
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case !inside:
		case isCommand && (machine == "server" || machine == "offline"):
			list = append(list, console{machine: machine, command: command})
		case strings.HasSuffix(list[last].command, "\\") && list[last].want == "":
			list[last].command += "\n" + line
		default:
			list[last].want += line + "\n"
		}
	}
	if len(list) < 5 {
		t.Fatalf("the page has %d commands only", len(list))
	}
	return list
}

// block returns the first fenced block of a kind.
func block(t *testing.T, page, kind string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page, "```"+kind+"\n")
	text, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatalf("the page has no block of %s", kind)
	}
	return text
}

// varying are what two runs print differently: keys, ids, dates.
var varying = regexp.MustCompile(`[0-9a-f]{16,}|\b[0-9]{15,}\b|20[0-9]{2}-[0-9]{2}-[0-9]{2}(T[0-9:]+Z)?`)

// says compares output with what a page says, where a line of dots stands for any lines.
func says(want, got string) error {
	want, got = varying.ReplaceAllString(want, "#"), varying.ReplaceAllString(got, "#")
	rest, anywhere := got, false
	for part := range strings.SplitSeq("\n"+want, "\n...\n") {
		part = strings.TrimPrefix(part, "\n")
		at := strings.Index("\n"+rest, "\n"+part)
		if at < 0 || at > 0 && !anywhere {
			return fmt.Errorf("it does not say, after what came before:\n%s", part)
		}
		rest, anywhere = rest[at+len(part):], true
	}
	if !strings.HasSuffix("\n"+want, "\n...\n") && strings.TrimSpace(rest) != "" {
		return fmt.Errorf("it says more:\n%s", rest)
	}
	return nil
}

// paper is the two machines of the page, as directories.
type paper struct {
	dir     string
	replace *strings.Replacer // paths and addresses of the page to those of the test
	back    *strings.Replacer
	id      string // of the request that is signed
}

func newPaper(t *testing.T) *paper {
	t.Helper()
	server, dir := pgtest.Shared(t), t.TempDir()
	for _, d := range []string{"server", "offline", "bin", "etc", "media/stick", "media/safe"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self := "#!/bin/sh\nSIGBOX_TEST_RUN=1 exec " + os.Args[0] + ` "$@"` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "bin", "sigbox"), []byte(self), 0o755); err != nil {
		t.Fatal(err)
	}
	etc, media := filepath.Join(dir, "etc"), filepath.Join(dir, "media")
	return &paper{
		dir: dir,
		replace: strings.NewReplacer("/etc/sigbox", etc+"/sigbox", "/media/", media+"/",
			"postgres://postgres@db.example.com/sigbox", "'"+server.URL(server.Database(t))+"'",
			"postgres://postgres@guard.example.com/guard", "'"+server.URL(server.Database(t))+"'"),
		back: strings.NewReplacer(etc+"/sigbox", "/etc/sigbox", media+"/", "/media/", "go run ./cmd/sigbox", "sigbox"),
	}
}

var (
	approve   = regexp.MustCompile(`--approve [0-9a-f]+`)
	printedID = regexp.MustCompile(`request's id is ([0-9a-f]{16})`)
)

// run runs a command of the page on its machine and returns what it prints, in the words of the page.
func (p *paper) run(t *testing.T, c console, env ...string) (output string, code int) {
	t.Helper()
	text := approve.ReplaceAllString(p.replace.Replace(c.command), "--approve "+p.id)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", text)
	cmd.Dir = filepath.Join(p.dir, c.machine)
	cmd.Env = append([]string{"PATH=" + filepath.Join(p.dir, "bin") + ":" + os.Getenv("PATH"), "HOME=" + cmd.Dir, "TMPDIR=" + os.TempDir()}, env...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if m := printedID.FindStringSubmatch(string(out)); m != nil {
		p.id = m[1]
	}
	return p.back.Replace(string(out)), cmd.ProcessState.ExitCode()
}

// offlineKeysStayThere looks for the offline keys on the server.
func (p *paper) offlineKeysStayThere(t *testing.T) {
	t.Helper()
	secrets := 0
	for name, content := range tree(t, filepath.Join(p.dir, "media", "safe")) {
		if !strings.HasSuffix(name, ".key") {
			continue
		}
		secrets++
		for _, machine := range []string{"server", "etc", "media/stick"} {
			for other, have := range tree(t, filepath.Join(p.dir, machine)) {
				if have == content {
					t.Errorf("the offline key %s is on %s as %s", name, machine, other)
				}
			}
		}
	}
	if secrets != 6 {
		t.Errorf("%d offline keys", secrets)
	}
}

func productionPage(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("../../docs/production.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestProductionPage runs docs/production.md from top to bottom, compares what it says with what is
// printed, and then runs the instance. init waits where the page says so, and nowhere else.
func TestProductionPage(t *testing.T) {
	page := productionPage(t)
	p := newPaper(t)
	write(t, filepath.Join(p.dir, "server", "issuers.yaml"), block(t, page, "yaml"))
	waits := 0
	for _, c := range consoles(t, page) {
		output, code := p.run(t, c)
		want := 0
		if strings.Contains(output, "sigbox: waiting for") {
			want, waits = exitWaiting, waits+1
		}
		if code != want {
			t.Fatalf("%s$ %s\nexit code %d, want %d:\n%s", c.machine, c.command, code, want, output)
		}
		if err := says(c.want, output); err != nil {
			t.Errorf("%s$ %s\n%v\nall of it:\n%s", c.machine, c.command, err, output)
		}
	}
	if waits != 2 {
		t.Errorf("init waited %d times", waits)
	}
	p.offlineKeysStayThere(t)
	p.serves(t)
}

// TestProductionResumes follows the same page, where every init is killed after each thing that it makes
// and run again, and where it is run again before what it asks for is done. Its
// tokens are of machines only.
func TestProductionResumes(t *testing.T) {
	page := productionPage(t)
	p := newPaper(t)
	write(t, filepath.Join(p.dir, "server", "issuers.yaml"), "oidc-issuers:\n  https://gitlab.example.com:\n    issuer-url: https://gitlab.example.com\n    client-id: sigstore\n    type: gitlab-pipeline\n")
	kills := 0
	for _, c := range consoles(t, page) {
		isInit := strings.HasPrefix(c.command, "sigbox init")
		for isInit {
			output, code := p.run(t, c, "SIGBOX_TEST_DIE_AT=1")
			if code != 128+9 {
				t.Fatalf("%s\nexit code %d:\n%s", c.command, code, output)
			}
			if !strings.HasPrefix(output, "made ") && !strings.HasPrefix(output, "schema ") {
				break
			}
			kills++
		}
		output, code := p.run(t, c)
		if code != 0 && code != exitWaiting {
			t.Fatalf("%s$ %s\nexit code %d:\n%s", c.machine, c.command, code, output)
		}
		if !isInit {
			continue
		}
		if again, second := p.run(t, c); second != code || strings.Contains(again, "made ca/") {
			t.Errorf("again: exit code %d\n%s", second, again)
		}
	}
	if kills < 35 {
		t.Errorf("killed %d times only", kills)
	}
	p.offlineKeysStayThere(t)
	p.serves(t)
}

// serves runs the instance on addresses that are free, and has a client take its trust root.
func (p *paper) serves(t *testing.T) {
	t.Helper()
	file := filepath.Join(p.dir, "etc", "sigbox", "sigbox.yaml")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	address, ca, tlog := freeAddr(t), freeAddr(t), freeAddr(t)
	write(t, file, strings.NewReplacer("127.0.0.1:8080", address, "127.0.0.1:9441", ca, "127.0.0.1:9443", tlog).Replace(string(raw)))
	trusted(t, filepath.Dir(file), "http://"+address)
}
