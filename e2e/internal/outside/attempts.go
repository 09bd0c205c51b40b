package outside

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Attempts returns how often a program wanted to reach an address to which there is no route, since the network
// namespace was made that the caller is in. With [Gone] that is every connection beyond loopback and
// every question for a name, tolerated or not: the kernel counts them (OutNoRoutes of IP and IPv6, RFC 4293
// ipSystemStatsOutNoRoutes).
func Attempts() (int, error) {
	v4, err := noRoutes("/proc/self/net/snmp", "Ip:")
	if err != nil {
		return 0, err
	}
	raw, err := os.ReadFile("/proc/self/net/snmp6")
	if errors.Is(err, os.ErrNotExist) {
		return v4, nil // a kernel without IPv6
	}
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "Ip6OutNoRoutes" {
			v6, err := strconv.Atoi(f[1])
			return v4 + v6, err
		}
	}
	return 0, errors.New("/proc/self/net/snmp6 has no Ip6OutNoRoutes")
}

// noRoutes reads a table of the kernel that has a line with names before the line with values.
func noRoutes(path, prefix string) (int, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	column := -1
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0 || f[0] != prefix:
		case column < 0:
			if column = slices.Index(f, "OutNoRoutes"); column < 0 {
				return 0, fmt.Errorf("%s has no OutNoRoutes", path)
			}
		case column < len(f):
			return strconv.Atoi(f[column])
		}
	}
	return 0, fmt.Errorf("%s has no values of %s", path, prefix)
}
