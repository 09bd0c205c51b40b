package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestProgress(t *testing.T) {
	for _, tc := range []struct {
		name       string
		terminal   bool
		total      int64
		want       []string
		maxUpdates int
	}{
		{"terminal", true, 100_000, []string{"\rct         [" + strings.Repeat("#", 20) + strings.Repeat(" ", 20) + "]  50% 50000 leaves", "] 100% 100000 leaves\n"}, 101},
		{"file", false, 100_000, []string{"ct: 50000 of 100000 leaves\n", "ct: 100000 of 100000 leaves\n"}, 12},
		{"nothing to do", true, 0, nil, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out bytes.Buffer
			p := newProgress(&out, "ct", "leaves")
			p.terminal = tc.terminal
			for done := int64(1); done <= max(1, tc.total); done++ {
				p.update(done, tc.total)
			}
			p.done()
			for _, want := range tc.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("not shown: %q in\n%q", want, out.String())
				}
			}
			if n := strings.Count(out.String(), "leaves"); n > tc.maxUpdates {
				t.Errorf("%d updates shown, want at most %d", n, tc.maxUpdates)
			}
		})
	}
}
