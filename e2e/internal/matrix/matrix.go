// Package matrix turns what the scenarios did into the table of the README.
package matrix

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
)

// Cell is the outcome of a scenario on one log.
type Cell string

// Cells; any other text is a reason that the scenario itself has checked.
const (
	Works   Cell = "yes"
	Refused Cell = "refused" // as it must be
	Failed  Cell = "FAILED"
	NotRun  Cell = "not run"
	None    Cell = "–" // the scenario does not touch this log
)

// Row is one line of the table: what a client does, on the Rekor v1 and on the Rekor v2 log.
type Row struct {
	Client, What string
	V1, V2       Cell
}

// Table collects outcomes. Rows keep the order in which they were announced.
type Table struct {
	mu   sync.Mutex
	rows []*Row
}

// Announce adds a row whose cells are not run yet; which does not apply is None.
func (t *Table) Announce(r Row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, &r)
}

// Record fills the cell of a row for a log, 1 or 2. A failure stays.
func (t *Table) Record(client, what string, log int, c Cell) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.rows {
		if r.Client != client || r.What != what {
			continue
		}
		cell := &r.V1
		if log == 2 {
			cell = &r.V2
		}
		if *cell != Failed {
			*cell = c
		}
	}
}

// Complete says whether every announced cell has an outcome.
func (t *Table) Complete() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.rows {
		if r.V1 == NotRun || r.V2 == NotRun {
			return false
		}
	}
	return len(t.rows) > 0
}

// Markdown renders the table.
func (t *Table) Markdown() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	b.WriteString("| client | what | Rekor v1 | Rekor v2 |\n|---|---|---|---|\n")
	for _, r := range t.rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.Client, r.What, r.V1, r.V2)
	}
	return b.String()
}

// The table stands between these lines of the README.
const (
	begin = "<!-- clients: made by e2e, do not edit -->\n"
	end   = "<!-- clients: end -->\n"
)

// InSync says whether the file holds the table as it is now; with write, it makes it so.
func InSync(path, table string, write bool) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(text, []byte(begin))
	old, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		return fmt.Errorf("%s lacks the lines %q and %q", path, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	if string(old) == table {
		return nil
	}
	if !write {
		return fmt.Errorf("the table of clients in %s is not what this run found: run e2e/run -update and look at the difference", path)
	}
	out := append([]byte(nil), before...)
	out = append(append(append(append(out, begin...), table...), end...), after...)
	return os.WriteFile(path, out, 0o644)
}
