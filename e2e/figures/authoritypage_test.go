package figures

import (
	"bytes"
	"fmt"
)

// writeAuthority writes what servers did for certificates and timestamps, ours first.
func writeAuthority(b *bytes.Buffer, a Authority) {
	b.WriteString("Certificates with an embedded SCT, each for a key of its own, by certbench, which others wrote; sigbox and upstream's log are on one\n" +
		"PostgreSQL server. Timestamps over SHA-256, each of a digest of its own, certificate included.\n\n")
	for i, list := range [][]Issuance{a.Certificates, a.Timestamps} {
		heading := []string{[]string{"certificates", "timestamps"}[i]}
		for _, l := range ours(list) {
			heading = append(heading, fmt.Sprintf("%d: /s", l.Clients), "p50", "p99")
		}
		row(b, true, append(heading, "sigbox, times that")...)
		for n, s := range list {
			cells := []string{s.What}
			times := ""
			for m, l := range s.Loads {
				cells = append(cells, number(l.PerSecond), ms(l.LatencyMS.P50), ms(l.LatencyMS.P99))
				if n > 0 && m < len(ours(list)) {
					times += fmt.Sprintf(", %d: %s", l.Clients, ratio(ours(list)[m].PerSecond, l.PerSecond))
				}
			}
			row(b, false, append(cells, trimList(times))...)
		}
		b.WriteString("\n")
	}
	b.WriteString("The number before a colon is how many clients there are.\n")
}

func trimList(s string) string {
	if s == "" {
		return s
	}
	return s[len(", "):]
}

// ours are the loads of the first server, which is sigbox.
func ours(list []Issuance) []Load {
	if len(list) == 0 {
		return nil
	}
	return list[0].Loads
}

// theirs are the loads of upstream's server.
func theirs(list []Issuance) []Load {
	if len(list) < 2 {
		return nil
	}
	return list[1].Loads
}

// targets are those for certificates and timestamps.
func (a Authority) targets() (list targetList) {
	times := func(of []Issuance, clients int) float64 {
		peer := loadOf(theirs(of), clients).PerSecond
		if peer == 0 {
			return 0
		}
		return loadOf(ours(of), clients).PerSecond / peer
	}
	for _, c := range []int{1, 16, 64} {
		list.atLeast("certificates, "+many(c)+", times upstream's Fulcio with its CT log", 4, times(a.Certificates, c), "")
	}
	list.atMost("certificates, one client, median", 6, loadOf(ours(a.Certificates), 1).LatencyMS.P50, " ms")
	for _, c := range []int{1, 16, 64} {
		list.atLeast("timestamps, "+many(c)+", times upstream's server", 1, times(a.Timestamps, c), "")
	}
	list.atMost("timestamps, 64 clients, p99", 50, loadOf(ours(a.Timestamps), 64).LatencyMS.P99, " ms")
	return list
}

func many(clients int) string {
	if clients == 1 {
		return "one client"
	}
	return fmt.Sprint(clients, " clients")
}
