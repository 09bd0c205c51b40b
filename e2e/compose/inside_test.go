package compose

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// confined looks at the processes themselves, not at what was asked of the engine: nobody is root, nobody has
// a capability or can get one, and the root file system is read-only.
func confined(t *testing.T, all map[string]container) {
	t.Helper()
	for service, c := range all {
		if c.State.Pid == 0 {
			continue
		}
		status := readStatus(t, c.State.Pid)
		for field, bad := range map[string]func(string) bool{
			"Uid":        func(v string) bool { return slices.Contains(strings.Fields(v), "0") },
			"Gid":        func(v string) bool { return slices.Contains(strings.Fields(v), "0") },
			"CapPrm":     func(v string) bool { return strings.Trim(v, "0") != "" },
			"CapEff":     func(v string) bool { return strings.Trim(v, "0") != "" },
			"CapBnd":     func(v string) bool { return strings.Trim(v, "0") != "" },
			"NoNewPrivs": func(v string) bool { return v != "1" },
			"Seccomp":    func(v string) bool { return v != "2" },
		} {
			if v, ok := status[field]; !ok || bad(v) {
				t.Errorf("%s: %s is %q", service, field, v)
			}
		}
		if !rootIsReadOnly(t, c.State.Pid) {
			t.Errorf("%s: its root file system can be written to", service)
		}
	}
}

func readStatus(t *testing.T, pid int) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		k, v, _ := strings.Cut(line, ":")
		out[k] = strings.TrimSpace(v)
	}
	return out
}

// rootIsReadOnly reads proc_pid_mountinfo(5): id, parent, device, root, mount point, options.
func rootIsReadOnly(t *testing.T, pid int) bool {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if words := strings.Fields(sc.Text()); len(words) > 5 && words[4] == "/" {
			return slices.Contains(strings.Split(words[5], ","), "ro")
		}
	}
	return false
}

// loopbackOnly: whatever listens in the engine's network is on 127.0.0.1, and it is what should be there.
func loopbackOnly(t *testing.T, ports ...int) {
	t.Helper()
	var got []int
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		raw, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			words := strings.Fields(line)
			const listening = "0A"
			if len(words) < 4 || words[3] != listening {
				continue
			}
			host, port, _ := strings.Cut(words[1], ":")
			b, err := hex.DecodeString(port)
			if err != nil || len(b) != 2 {
				t.Fatalf("%s: %q", table, line)
			}
			n := int(b[0])<<8 | int(b[1])
			if host != "0100007F" { // 127.0.0.1 in the byte order of the machine
				t.Errorf("%s: port %d is open on %s", table, n, host)
			}
			got = append(got, n)
		}
	}
	slices.Sort(got)
	slices.Sort(ports)
	if !slices.Equal(got, ports) {
		t.Errorf("ports on 127.0.0.1 are %v, want %v", got, ports)
	}
}

// ownKeysOnly: a service finds its own directory in /etc/sigbox, public things, and of the others nothing.
func ownKeysOnly(t *testing.T, all map[string]container) {
	t.Helper()
	private := []string{"ca", "tlog", "tuf", "issuer", "peers", "offline"}
	for _, service := range []string{"ca", "tlog", "tuf", "issuer"} {
		c, ok := all[service]
		if !ok {
			t.Errorf("%s does not run", service)
			continue
		}
		root := fmt.Sprintf("/proc/%d/root/etc/sigbox", c.State.Pid)
		for _, name := range private {
			entries, err := os.ReadDir(filepath.Join(root, name))
			if err != nil {
				t.Errorf("%s: %v", service, err)
			}
			if own := name == service; own != (len(entries) > 0) {
				t.Errorf("%s sees %d files in %s", service, len(entries), name)
			}
		}
		for _, name := range []string{"sigbox.yaml", "public/peers.pem"} {
			if _, err := os.Stat(filepath.Join(root, name)); err != nil {
				t.Errorf("%s: %v", service, err)
			}
		}
	}
}
