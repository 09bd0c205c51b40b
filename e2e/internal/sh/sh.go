// Package sh runs the shell scripts of the scenarios, with deadlines, and keeps what they print.
package sh

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// Prelude makes the clients available to a script under names that say which one it is. Each
// sources its environment file in a subshell of its own, so a script can use all of them.
//
//	refuses TEXT COMMAND...   the command must fail, and say TEXT
//	says TEXT COMMAND...      the command must succeed, and say TEXT
const Prelude = `set -eu
within() { timeout -k 5 "$LIMIT" "$@"; }
cosign3() { ( . "$TRUST/env-cosign3.sh"; within "$COSIGN3" "$@" </dev/null ); }
cosign2() { ( . "$TRUST/env-cosign2.sh"; within "$COSIGN2" "$@" </dev/null ); }
# cosign 2 with a signing configuration takes no service URLs, so it wants cosign 3's file.
cosign2sc() { ( . "$TRUST/env-cosign3.sh"; within "$COSIGN2" "$@" </dev/null ); }
rekorcli() { within "$REKORCLI" --rekor_server "$REKOR" "$@"; }
sigbox() { within "$SIGBOX" "$@"; }
tool() { SIGBOX_E2E_TOOL=1 within "$TOOL" "$@"; }
token() { sigbox token --url "$URL" --email "$1"; }
refuses() {
	want=$1; shift
	if "$@" >"$WORK/.out" 2>&1; then
		cat "$WORK/.out"; echo "FAIL: this was accepted: $*"; exit 1
	fi
	cat "$WORK/.out"
	grep -qF -- "$want" "$WORK/.out" || { echo "FAIL: refused, but does not say: $want"; exit 1; }
}
says() {
	want=$1; shift
	"$@" >"$WORK/.out" 2>&1 || { cat "$WORK/.out"; echo "FAIL: $*"; exit 1; }
	cat "$WORK/.out"
	grep -qF -- "$want" "$WORK/.out" || { echo "FAIL: does not say: $want"; exit 1; }
}
cd "$WORK"
set -x
`

// Run runs a script under sh and returns all it printed, its trace included. Its process group
// is killed when ctx ends or the script is done. The words of before, if any, start the shell.
func Run(ctx context.Context, before []string, script string, env []string, limit time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	args := append(slices.Clone(before), "sh", "-c", script)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 2 * time.Second // for a child left behind that holds the output open
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return "", err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	defer func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }()
	select {
	case err := <-done:
		return out.String(), err
	case <-ctx.Done():
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-done
		return out.String(), fmt.Errorf("not done within %s", limit)
	}
}
