// Package outside watches what would leave the machine.
//
// [Gone] and [Watched] run a command in a network namespace of its own: in the first there is no
// network, and [Attempts] says how often somebody wanted one; in the second every address is the
// machine itself, where nobody answers, and the only resolver is a [Recorder] inside, which notes
// each name that is asked for and each address that is dialled. Linux only; it needs root or
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

// setup runs inside, before the command. In a watched namespace every address routes to lo, so
// that a connection to the world is refused at once, and seen. $1 is the resolver's
// configuration, or empty: then there is no resolver, and the address that stands for it, of a
// documentation range (RFC 5737), has no route, so that asking it counts as an attempt. The
// mounts are seen by nobody else, and nothing of them stays.
const setup = `set -e
ip link set lo up
if [ -n "$1" ]; then
	ip route add local 0.0.0.0/0 dev lo
	ip -6 route add local ::/0 dev lo 2>/dev/null || true
	mount --bind "$1" /etc/resolv.conf
else
	mount -t tmpfs none /mnt
	echo nameserver 192.0.2.53 > /mnt/resolv.conf
	mount --bind /mnt/resolv.conf /etc/resolv.conf
	umount --lazy /mnt
fi
shift
exec "$@"
`

// Gone returns what to put before a command to run it with no network but an empty lo, and no
// resolver.
func Gone(ctx context.Context) ([]string, error) {
	return wrap(""), available(ctx)
}

// Watched returns what to put before a command to run it where a Recorder sees all. dir keeps
// the resolver's configuration.
func Watched(ctx context.Context, dir string) ([]string, error) {
	resolv := filepath.Join(dir, "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"), 0o644); err != nil {
		return nil, err
	}
	return wrap(resolv), available(ctx)
}

func wrap(resolv string) []string {
	return append(append([]string{"unshare"}, flags()...), "sh", "-c", setup, "sh", resolv)
}

func flags() []string {
	f := []string{"--net", "--mount", "--kill-child"}
	if os.Geteuid() != 0 {
		f = append(f, "--user", "--map-root-user")
	}
	return f
}

func available(ctx context.Context) error {
	args := append(flags(), "sh", "-c", "ip link set lo up && ip route add local 0.0.0.0/0 dev lo")
	if out, err := exec.CommandContext(ctx, "unshare", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %w: %s", ErrUnavailable, err, strings.TrimSpace(string(out)))
	}
	return nil
}
