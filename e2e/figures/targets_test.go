package figures

import (
	"bytes"
	"fmt"
)

// target is a figure that was to be had, with what was measured.
type target struct {
	what     string
	want     string
	have     string
	met, was bool // was it measured at all?
}

// writeTargets says which of the figures that were asked for are met.
func writeTargets(b *bytes.Buffer, list []target) {
	b.WriteString("\n## What was to be had\n\nOn two processors with everything on them.\n\n")
	row(b, true, "figure", "wanted", "measured", "met")
	for _, g := range list {
		met := "no"
		switch {
		case !g.was:
			met, g.have = "not measured", ""
		case g.met:
			met = "yes"
		}
		row(b, false, g.what, g.want, g.have, met)
	}
}

// targetList is a list of targets that grows.
type targetList []target

func (l *targetList) atLeast(what string, want, have float64, unit string) {
	*l = append(*l, target{what, "at least " + number(want) + unit, number(have) + unit, have >= want, have > 0})
}

func (l *targetList) atMost(what string, want, have float64, unit string) {
	*l = append(*l, target{what, "at most " + number(want) + unit, fmt.Sprintf("%.1f", have) + unit, have <= want, have > 0})
}

func targets(e Engine, r Rekor) (list targetList) {
	atLeast, atMost := list.atLeast, list.atMost
	atLeast("engine, 256 writers", 12_000, cellOf(e.Sigbox, 256).PerSecond, " entries/s")
	atMost("engine, one writer, median", 3, cellOf(e.Sigbox, 1).LatencyMS.P50, " ms")
	peer := peerV1(r)
	for _, s := range r.Sizes {
		at := s.label()
		for _, api := range []loads{{"Rekor v1", s.V1}, {"Rekor v2", s.V2}} {
			many, one := loadOf(api.list, 128), loadOf(api.list, 1)
			times := 0.0
			if peer.PerSecond > 0 {
				times = many.PerSecond / peer.PerSecond
			}
			atLeast(fmt.Sprintf("%s, %s, 128 clients, times upstream's Rekor v1", api.what, at), 15, times, "")
			atMost(fmt.Sprintf("%s, %s, one client, median", api.what, at), 6, one.LatencyMS.P50, " ms")
			atMost(fmt.Sprintf("%s, %s, 128 clients, p99", api.what, at), 150, many.LatencyMS.P99, " ms")
		}
	}
	if n := len(r.Sizes); n > 1 {
		first, last := r.Sizes[0], r.Sizes[n-1]
		for _, api := range [][2]loads{{{"Rekor v1", first.V1}, {"", last.V1}}, {{"Rekor v2", first.V2}, {"", last.V2}}} {
			empty, full := loadOf(api[0].list, 128).PerSecond, loadOf(api[1].list, 128).PerSecond
			if empty > 0 {
				atLeast(fmt.Sprintf("%s, %s, 128 clients, share of the empty log's throughput", api[0].what, last.label()), 80, 100*full/empty, " %")
			}
		}
		atMost("resident memory, "+last.label(), 150, float64(last.Memory.Resident)/1e6, " MB")
		atLeast("fsck, "+last.label(), 50_000, last.Fsck.PerSecond, " leaves/s")
	}
	return list
}

func cellOf(list []Cell, writers int) Cell {
	for _, c := range list {
		if c.Writers == writers {
			return c
		}
	}
	return Cell{}
}

func loadOf(list []Load, clients int) Load {
	for _, l := range list {
		if l.Clients == clients {
			return l
		}
	}
	return Load{}
}
