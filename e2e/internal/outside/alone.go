package outside

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const aloneEnv = "SIGBOX_E2E_ALONE"

// Alone is for tests of programs that listen on every address, which nothing of ours may: it runs the
// calling test again, in a process with a network namespace of its own where there is only loopback, and
// returns false. In that process it returns true. What needs the network comes before the call.
func Alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(aloneEnv) != "" {
		return true
	}
	prefix, err := Gone(t.Context())
	if err != nil {
		t.Fatalf("%s runs servers that listen on every address: %v", t.Name(), err)
	}
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(a string) bool { return strings.HasPrefix(a, "-test.testlogfile") })
	command := append(append(prefix, os.Args[0]), append(args, "-test.run=^"+t.Name()+"$", "-test.v")...)
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Env = append(os.Environ(), aloneEnv+"=1", "GOPROXY=off")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Errorf("in a namespace of its own: %v", err)
	}
	return false
}
