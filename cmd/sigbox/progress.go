package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// progress shows how far something has got: a bar that is drawn over itself on a terminal, and
// elsewhere a line for every tenth of the way.
type progress struct {
	out        io.Writer
	name, what string
	terminal   bool
	shown      int64 // percent; -1 before the first
}

func newProgress(out io.Writer, name, what string) *progress {
	return &progress{out: out, name: name, what: what, terminal: os.Getenv("TERM") != "dumb" && isTerminal(out), shown: -1}
}

func (p *progress) update(done, total int64) {
	if total <= 0 {
		return
	}
	percent := int64(float64(done) / float64(total) * 100)
	switch {
	case percent == p.shown:
	case p.terminal:
		p.shown = percent
		fmt.Fprintf(p.out, "\r%-10s [%-40s] %3d%% %d %s", p.name, strings.Repeat("#", int(percent*40/100)), percent, done, p.what)
	case percent/10 > p.shown/10 || p.shown < 0 || done == total:
		p.shown = percent
		fmt.Fprintf(p.out, "%s: %d of %d %s\n", p.name, done, total, p.what)
	}
}

// done leaves the line of the bar, so that what comes next begins on its own.
func (p *progress) done() {
	if p.terminal && p.shown >= 0 {
		fmt.Fprintln(p.out)
	}
}
