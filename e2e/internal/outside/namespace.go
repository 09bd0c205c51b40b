// Package outside watches what would leave the machine.
//
// [Enter] runs a command in a network namespace in which every address is the machine itself
// and nobody answers, with a resolver that refuses every name. A [Recorder] inside notes each
// name that is asked for and each address that is dialled. Linux only; it needs root or
// unprivileged user namespaces.
package outside

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrUnavailable says that this machine does not let us make namespaces.
var ErrUnavailable = errors.New("network namespaces are not available here")

// setup runs inside, before the command. Every address routes to lo, so that a connection to the
// world is refused at once, and seen.
const setup = `set -e
ip link set lo up
if [ "$OUTSIDE_WATCH" = 1 ]; then
	ip route add local 0.0.0.0/0 dev lo
	ip -6 route add local ::/0 dev lo 2>/dev/null || true
	mount --bind "$OUTSIDE_RESOLV" /etc/resolv.conf
fi
exec "$@"
`

// Command returns a command that runs args in a new network namespace where only lo exists. With
// watched, names and addresses can be recorded there; without, there is simply no network.
func Command(ctx context.Context, dir string, watched bool, args ...string) (*exec.Cmd, error) {
	if err := Available(ctx); err != nil {
		return nil, err
	}
	resolv := filepath.Join(dir, "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"), 0o644); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "unshare", append(append(flags(), "sh", "-c", setup, "sh"), args...)...)
	watch := "0"
	if watched {
		watch = "1"
	}
	cmd.Env = append(os.Environ(), "OUTSIDE_RESOLV="+resolv, "OUTSIDE_WATCH="+watch)
	return cmd, nil
}

func flags() []string {
	f := []string{"--net", "--mount", "--kill-child"}
	if os.Geteuid() != 0 {
		f = append(f, "--user", "--map-root-user")
	}
	return f
}

// Available says whether namespaces can be made.
func Available(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "unshare", append(flags(), "sh", "-c", "ip link set lo up && ip route add local 0.0.0.0/0 dev lo")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %w: %s", ErrUnavailable, err, strings.TrimSpace(string(out)))
	}
	return nil
}
