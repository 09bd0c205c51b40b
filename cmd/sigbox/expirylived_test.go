//go:build postgres

package main

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/pgtest"
)

// lived is an instance that serves, made some time ago by a clock of ours.
type lived struct {
	t               *testing.T
	binary, clock   string // the program, and the file of its clock
	dir, file, work string
	address, inside string
	flags           []string // of init, beside those of every instance
	database        string
	serve           *instanceRun
	meanwhile       func() // what others do before the steps; nil for nothing
	root            string // of authorities, which answers requests
}

func newLived(t *testing.T, binary string, age time.Duration) *lived {
	t.Helper()
	server := pgtest.Shared(t)
	l := &lived{t: t, binary: binary, clock: filepath.Join(t.TempDir(), "clock"), work: t.TempDir(), dir: filepath.Join(t.TempDir(), "sigbox"), address: freeAddr(t), inside: freeAddr(t), database: server.URL(server.Database(t))}
	l.file, l.root = filepath.Join(l.dir, "sigbox.yaml"), filepath.Join(l.dir, "offline")
	l.flags = []string{"--ca-peer", freeAddr(t), "--tlog-peer", freeAddr(t)}
	l.goTo(time.Now().Add(-age))
	return l
}

func (l *lived) initArgs() []string {
	return append(initArgs(l.dir, l.address, l.database), l.flags...)
}

func (l *lived) init() {
	l.t.Helper()
	l.ok(l.initArgs()...)
	writeText(l.t, l.file, read(l.t, l.file)+"operations: {listen: \""+l.inside+"\"}\n")
}

// goTo sets the clock of all programs, those that run too.
func (l *lived) goTo(at time.Time) {
	l.t.Helper()
	writeText(l.t, l.clock+".new", time.Until(at).String())
	if err := os.Rename(l.clock+".new", l.clock); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lived) now() time.Time {
	l.t.Helper()
	offset, err := time.ParseDuration(read(l.t, l.clock))
	if err != nil {
		l.t.Fatal(err)
	}
	return time.Now().Add(offset)
}

func (l *lived) cmd(args ...string) *exec.Cmd {
	cmd := sigbox(l.t, args...)
	cmd.Path, cmd.Dir, cmd.Env = l.binary, l.work, append(cmd.Env, "SIGBOX_CLOCK_OFFSET="+l.clock)
	return cmd
}

func (l *lived) ok(args ...string) string {
	l.t.Helper()
	stdout, stderr, code := finish(l.t, l.cmd(args...))
	if code != 0 {
		l.t.Fatalf("sigbox %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

func (l *lived) start() {
	l.t.Helper()
	l.serve = startCommand(l.t, l.cmd("serve", "--config", l.file))
}

func (l *lived) stop() {
	l.t.Helper()
	if l.serve == nil {
		return
	}
	if code := l.serve.stop(l.t, os.Interrupt); code != 0 {
		l.t.Fatalf("serve: exit code %d\n%s", code, l.serve.stderr)
	}
	l.serve = nil
}

// expiry is what the command prints, where something has ended too.
func (l *lived) expiry() string {
	l.t.Helper()
	stdout, stderr, _ := finish(l.t, l.cmd("expiry", "--config", l.file))
	if strings.Contains(stderr, "not everything could be looked at") {
		l.t.Fatal(stderr)
	}
	return stdout
}

// ends are all of them, in order.
func (l *lived) ends() string {
	l.t.Helper()
	return strings.Join(regexp.MustCompile(`(?m)^\S+ \S+Z  `).FindAllString(l.expiry(), -1), "\n")
}

func endOf(t *testing.T, line string) time.Time {
	t.Helper()
	text, _, _ := strings.Cut(line, "Z  ")
	at, err := time.Parse(time.DateTime, text)
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return at
}

// warning is the threshold of which the running server warns, in seconds; "" where the line is not there.
func (l *lived) warning(what string) string {
	l.t.Helper()
	m := regexp.MustCompile(`(?m)^sigbox_expires_warning_seconds\{what="` + what + `"\} (\S+)$`).FindStringSubmatch(l.get("/metrics"))
	if m == nil {
		return ""
	}
	return m[1]
}

func (l *lived) get(path string) string {
	l.t.Helper()
	res, err := http.Get("http://" + l.inside + path)
	if err != nil {
		l.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return string(raw)
}

// upkeep does what had been due for the roles that people sign, some of which have ended meanwhile.
func (l *lived) upkeep(but string) {
	l.t.Helper()
	for _, what := range []string{"tuf root", "tuf targets"} {
		if line, _ := steps(l.t, l.expiry(), what); what != but && endOf(l.t, line).Before(l.now().Add(30*aDay)) {
			l.renew(what)
		}
	}
}

func (l *lived) renew(what string) {
	l.t.Helper()
	_, list := steps(l.t, l.expiry(), what)
	for _, step := range list {
		l.step(step)
	}
	_ = os.Remove(filepath.Join(l.work, "renew.json"))
}

// mend does the steps.
func (l *lived) mend(list []string) {
	l.t.Helper()
	if !strings.HasPrefix(list[0], "sigbox serve ") {
		l.start()
	}
	for n, step := range list {
		again := n+1 < len(list) && strings.HasPrefix(list[n+1], "sigbox rotate ")
		switch {
		case strings.HasPrefix(step, "sigbox rotate "):
			l.rotate(step, again)
		default:
			l.step(step)
		}
	}
}

// shell runs a step as it is printed, with what stands in it for names of their own.
func (l *lived) shell(step, input string) (stdout, stderr string, code int) {
	l.t.Helper()
	step, _, _ = strings.Cut(step, "    (")
	cmd := exec.CommandContext(l.t.Context(), "sh", "-c", `sigbox() { "$SIGBOX" "$@"; }; `+strings.ReplaceAll(step, "--out ROOT ", "--out "+filepath.Join(l.work, "ROOT")+" "))
	cmd.Dir, cmd.Env, cmd.Stdin = l.work, append(l.cmd().Env, "SIGBOX="+l.binary), strings.NewReader(input)
	return finish(l.t, cmd)
}

// step does one that nobody has to wait for.
func (l *lived) step(step string) {
	l.t.Helper()
	switch {
	case strings.HasPrefix(step, "sigbox serve "):
		before := l.ends()
		l.start()
		for deadline := time.Now().Add(30 * time.Second); l.ends() == before && time.Now().Before(deadline); { // it renews when it is up
			time.Sleep(100 * time.Millisecond)
		}
	case strings.HasPrefix(step, "sigbox tuf sign "):
		l.sign(strings.Fields(step)[3])
	case strings.HasPrefix(step, "before then, name "):
		l.namesNext(step)
	case strings.HasPrefix(step, "sigbox ca root "):
		l.run(step)
		l.root = filepath.Join(l.work, "ROOT")
	case strings.HasPrefix(step, "sigbox log freeze ") && strings.Contains(step, "stop serve meanwhile"):
		l.stop()
		l.run(step)
		l.start()
	case strings.HasPrefix(step, "sigbox "), strings.HasPrefix(step, "rm "):
		l.run(step)
	case strings.HasPrefix(step, "replace ") && strings.Contains(step, " with the key set "):
		l.writeKeySet(strings.Fields(step)[1], 800*aDay)
	case strings.HasPrefix(step, "replace "):
		l.replaceTLS(step)
	}
}

func (l *lived) run(step string) string {
	l.t.Helper()
	stdout, stderr, code := l.shell(step, "")
	if code != 0 {
		l.t.Fatalf("%s: exit code %d\n%s%s", step, code, stdout, stderr)
	}
	return stdout
}

// sign is what the holders of keys do, who type the beginning of the request's id. Those whose signature is not
// wanted are refused.
func (l *lived) sign(file string) {
	l.t.Helper()
	id := requestID.FindStringSubmatch(l.run("sigbox tuf status " + file))
	if id == nil {
		l.t.Fatalf("%s has no id", file)
	}
	said, signed := "", 0
	for _, name := range []string{"tuf-root.key", "tuf-targets.key"} {
		stdout, stderr, code := l.shell("sigbox tuf sign "+file+" --key "+filepath.Join(l.dir, "offline", name), id[1][:8]+"\n")
		if code == 0 {
			signed++
		}
		said += stdout + stderr
	}
	if signed == 0 {
		l.t.Fatalf("%s: nobody has signed\n%s", file, said)
	}
}

// rotate runs a printed sigbox rotate until it ends, where it is to be run again, and does what it asks others for.
func (l *lived) rotate(step string, again bool) {
	l.t.Helper()
	for range 12 {
		stdout, stderr, code := l.shell(step, "")
		switch {
		case code == 0:
			return
		case code == exitWaiting:
			l.others(stdout)
		case strings.Contains(stderr, "clients have until"):
			l.stop()
			l.goTo(l.now().Add(8*aDay + time.Minute))
			l.start()
		default:
			l.t.Fatalf("%s: exit code %d\n%s%s", step, code, stdout, stderr)
		}
		if again {
			return
		}
	}
	l.t.Fatalf("%s does not come to an end", step)
}

var (
	answered = regexp.MustCompile(`(?m)^have (\S+) answered: `)
	asked    = regexp.MustCompile(`(?m)^request (\S+): have it signed`)
	toName   = regexp.MustCompile(`(ca\.key|ca\.chain|ca\.tsa\.key|ca\.tsa\.chain): (\S+)`)
)

// others are those whom a rotation has waited for.
func (l *lived) others(todo string) {
	l.t.Helper()
	if m := answered.FindStringSubmatch(todo); m != nil {
		answer := filepath.Join(l.work, "answer.pem")
		_ = os.Remove(answer)
		l.ok("ca", "sign-csr", m[1], "--root", l.root, "--out", answer)
		_, next, _ := strings.Cut(todo, "then: sigbox rotate")
		next, _, _ = strings.Cut(next, "\n")
		if stdout, stderr, code := l.shell(strings.Replace("sigbox rotate"+next, "ANSWER", answer, 1), ""); code == exitWaiting {
			l.others(stdout)
		} else {
			l.t.Fatalf("sigbox rotate%s: exit code %d\n%s%s", next, code, stdout, stderr)
		}
		return
	}
	if m := asked.FindStringSubmatch(todo); m != nil {
		l.sign(m[1])
		_, publish, _ := strings.Cut(todo, "then: sigbox tuf publish")
		publish, _, _ = strings.Cut(publish, "\n")
		l.run("sigbox tuf publish" + publish)
		return
	}
	if l.namesLog(todo) {
		l.stop()
		l.start()
		return
	}
	text, changed := read(l.t, l.file), 0
	for _, m := range toName.FindAllStringSubmatch(todo, -1) {
		before := map[string]string{"ca.key": "key: ca/ca.key", "ca.chain": "chain: ca/chain.pem", "ca.tsa.key": "key: ca/tsa.key", "ca.tsa.chain": "chain: ca/tsa-chain.pem"}[m[1]]
		name, _, _ := strings.Cut(before, ":")
		changed += strings.Count(text, before)
		text = strings.Replace(text, before, name+": "+strings.TrimRight(m[2], "."), 1)
	}
	if changed != 2 {
		l.t.Fatalf("nobody knows what to do about\n%s", todo)
	}
	writeText(l.t, l.file, text)
	l.stop()
	l.start()
}
