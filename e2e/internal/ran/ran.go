// Package ran writes down what clients are made to do: where results are wanted, a script gets a wrapper in
// place of each client, which runs the released program as it is and notes the command, its exit status
// and the SHA-256 of what it printed.
//
// The wrapper is the test binary itself, called through a file of two lines ([Wrap]); what it passes on is the
// caller's environment and streams. Commands are noted with variables in place of what differs from run to run.
package ran

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/sigbox/sigbox/internal/runs"
)

// Variables of the wrapper; the client does not see them.
const (
	asVar   = "SIGBOX_E2E_RAN_AS"   // name of the client
	realVar = "SIGBOX_E2E_RAN_REAL" // its program
	logVar  = "SIGBOX_E2E_RAN_LOG"  // file to note commands in
)

// OfflineVar is set for scripts that run where nothing but the machine itself can be reached.
const OfflineVar = "SIGBOX_E2E_OFFLINE"

// Note is one command of one client.
type Note struct {
	Client  string       `json:"client"`
	Command runs.Command `json:"command"`
}

// Wrap makes the wrapper of a client in dir and returns its path. self is the test binary, log the file to
// note commands in. A client with several programs is called CLIENT/PROGRAM, where PROGRAM is what people type.
func Wrap(dir, self, log, client, program string) (string, error) {
	path := filepath.Join(dir, strings.ReplaceAll(client, "/", "-"))
	text := fmt.Sprintf("#!/bin/sh\n%s=%s %s=%s %s=%s exec %s \"$@\"\n", asVar, quote(client), realVar, quote(program), logVar, quote(log), quote(self))
	return path, os.WriteFile(path, []byte(text), 0o755)
}

// Called says whether this process is a wrapper.
func Called() bool { return os.Getenv(asVar) != "" }

// Main runs the client, notes what it did and returns its exit status.
func Main(args []string) (int, error) {
	client, typed, several := strings.Cut(os.Getenv(asVar), "/")
	if !several {
		typed = programs[client]
	}
	program, log := os.Getenv(realVar), os.Getenv(logVar)
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SIGBOX_E2E_") })
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Stdin = env, os.Stdin
	sum := &shared{hash: sha256.New()}
	cmd.Stdout, cmd.Stderr = io.MultiWriter(os.Stdout, sum), io.MultiWriter(os.Stderr, sum)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 1, fmt.Errorf("%s: %w", program, err)
	}
	note := Note{client, runs.Command{
		Line: line(cmp.Or(typed, client), args, env), Env: sourced(env), Does: does(client, typed, args), Offline: os.Getenv(OfflineVar) != "",
		Exit: cmd.ProcessState.ExitCode(), Output: hex.EncodeToString(sum.hash.Sum(nil)),
	}}
	text, err := json.Marshal(note)
	if err != nil {
		return 1, err
	}
	f, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return 1, err
	}
	_, err = f.Write(append(text, '\n'))
	return note.Command.Exit, errors.Join(err, f.Close())
}

type shared struct {
	mu   sync.Mutex
	hash hash.Hash
}

func (s *shared) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hash.Write(b)
}

// Read returns the notes after the first skip ones; none where nothing was run.
func Read(log string, skip int) (notes []Note, err error) {
	f, err := os.Open(log)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for i := 0; lines.Scan(); i++ {
		if i < skip {
			continue
		}
		var n Note
		if err := json.Unmarshal(lines.Bytes(), &n); err != nil {
			return nil, fmt.Errorf("%s: %w", log, err)
		}
		notes = append(notes, n)
	}
	return notes, lines.Err()
}

// programs are the names that people type.
var programs = map[string]string{"cosign-2": "cosign", "cosign-3": "cosign", "policy-controller": "tester", "sigstore-python": "sigstore"}

// abilities say by the first word of a command what it shows of a client.
var abilities = map[string]string{
	"sign": runs.Sign, "sign-blob": runs.Sign, "attest": runs.Attest, "attest-blob": runs.Attest,
	"verify": runs.Verify, "verify-blob": runs.Verify, "verify-attestation": runs.Verify, "verify-blob-attestation": runs.Verify,
	"-bsau": runs.Sign, "--verify": runs.Verify, "verify-tag": runs.Verify, // gitsign, the first two as git calls it
	"--image": runs.Verify, "apply": runs.Verify, // policy-controller's tester, Kyverno
}

// does says what a command shows. What is no subcommand of that name is for the client's own rule.
func does(client, typed string, args []string) string {
	if rule := rules[client]; rule != nil {
		return rule(typed, args)
	}
	return byWord(args)
}

// byWord goes by the first word that is in abilities.
func byWord(args []string) string {
	if i := slices.IndexFunc(args, func(a string) bool { return abilities[a] != "" }); i >= 0 {
		return abilities[args[i]]
	}
	return ""
}

// rules are those of clients whose commands are called otherwise. typed is the program.
var rules = map[string]func(typed string, args []string) string{"sigstore-js": javaScript, "sigstore-go": goExample, "sigstore-java": javaFile}

// javaScript goes by the name of the file that Node runs: sign.mjs, attest.mjs, verify-offline.mjs.
func javaScript(typed string, args []string) string {
	if typed != "node" || len(args) == 0 {
		return byWord(args)
	}
	word, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(args[0]), ".mjs"), "-")
	return abilities[word]
}

// javaFile goes by the name of the file that Java compiles and runs: Sign.java, Verify.java.
func javaFile(_ string, args []string) string {
	for _, a := range args {
		if name, ok := strings.CutSuffix(filepath.Base(a), ".java"); ok {
			return abilities[strings.ToLower(name)]
		}
	}
	return ""
}

// goExample goes by which of the two programs it is.
func goExample(typed string, args []string) string {
	switch {
	case strings.HasSuffix(typed, "-verification"):
		return runs.Verify
	case slices.Contains(args, "-in-toto"):
		return runs.Attest
	}
	return runs.Sign
}

// named are the variables of scripts whose values are put back, the first of equal values.
var named = []string{
	"TOKEN", "OTHER_TOKEN", "IMAGE", "TAG", "REPO", "FILES", "KEPT", "OTHER_TRUST", "OTHER_URL", "TRUST", "WORK", "DATA", "HOME", "URL", "MIRROR", "REKOR",
}

// detached is the file in which git hands a signature to who verifies it.
var detached = regexp.MustCompile(`^/.*/\.git_vtag_tmp\w+$`)

var jwt = regexp.MustCompile(`^eyJ[\w-]+\.[\w-]+\.[\w-]+$`)

// line is the command as a shell takes it, with variables for what differs from run to run.
func line(typed string, args, env []string) string {
	words := []string{typed}
	values := map[string]string{}
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		if i := slices.Index(named, name); i >= 0 && len(value) > 5 && (values[value] == "" || i < slices.Index(named, values[value])) {
			values[value] = name
		}
	}
	var longest []string
	for v := range values {
		longest = append(longest, v)
	}
	slices.SortFunc(longest, func(a, b string) int { return len(b) - len(a) })
	for _, a := range args {
		if jwt.MatchString(a) {
			a = "\x00TOKEN\x00"
		}
		a = detached.ReplaceAllString(a, "\x00SIGNATURE\x00")
		for _, v := range longest {
			a = strings.ReplaceAll(a, v, "\x00"+values[v]+"\x00")
		}
		words = append(words, word(a))
	}
	return strings.Join(words, " ")
}

// needless are braces that nothing needs.
var needless = regexp.MustCompile(`\$\{([A-Z_]+)\}([^A-Za-z0-9_]|$)`)

var variable = regexp.MustCompile("\x00([A-Z_]+)\x00")

// word quotes an argument in which variables stand between NUL bytes.
func word(a string) string {
	if !strings.Contains(a, "\x00") {
		if a != "" && strings.Trim(a, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@%:,=") == "" {
			return a
		}
		return quote(a)
	}
	a = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(a)
	a = variable.ReplaceAllString(a, "$${$1}")
	return `"` + needless.ReplaceAllString(a, "$$$1$2") + `"`
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// sourced is the environment file of `trust export` that was sourced, by the cache that it names.
func sourced(env []string) string {
	for _, v := range env {
		if cache, ok := strings.CutPrefix(v, "TUF_ROOT="); ok {
			if name, ok := strings.CutPrefix(filepath.Base(cache), "tuf-"); ok {
				return "env-" + name + ".sh"
			}
		}
	}
	return ""
}
