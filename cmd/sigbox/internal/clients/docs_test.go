package clients

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/sigbox/sigbox/internal/runs"
)

// unrun is the reason of a cell of a client that no test runs.
const unrun = "No run of it is on record. Its files are written from its documentation and its source."

// Matrix is docs/clients.md: what each client was seen to do, in results, why a cell is empty, and the storms. A cell
// without a run and without a reason is an error, and so is a reason that a run belies.
func Matrix(all []*Client, results fs.FS, weather []storms) (string, error) {
	m := matrix{index: map[string]int{}}
	var table, rows strings.Builder
	table.WriteString("| client | version | " + strings.Join(Columns, " | ") + " |\n" + strings.Repeat("|---", len(Columns)+2) + "|\n")
	for _, c := range all {
		f, err := runs.Read(results, c.Name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		evidence, err := c.evidence(results)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&table, "| %s | %s |", escape(c.Title), evidence)
		for _, column := range Columns {
			cell, err := m.cell(c, column, f)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&table, " %s |", cell)
		}
		table.WriteString("\n")
		writeRows(&rows, c, f)
	}
	var b strings.Builder
	b.WriteString(matrixIntro)
	b.WriteString(table.String())
	b.WriteString("\n## Why\n\n")
	for n, reason := range m.reasons {
		fmt.Fprintf(&b, "%d. %s\n", n+1, reason)
	}
	b.WriteString("\n## What else each cannot do\n")
	for _, c := range all {
		fmt.Fprintf(&b, "\n%s\n\n", escape(c.Title))
		for _, line := range c.Cannot {
			fmt.Fprintf(&b, "- %s\n", line)
		}
	}
	if err := writeStorms(&b, weather); err != nil {
		return "", err
	}
	b.WriteString("\n## What was run\n\nEvery command, its exit status and the SHA-256 of what it printed are in the files. An outcome is that of the whole " +
		"row, which may be about another client: what Kyverno refuses, cosign has signed.\n")
	b.WriteString(rows.String())
	return b.String(), nil
}

const matrixIntro = `# Clients

Made by a test from the results of real runs and from what ` + "`sigbox clients`" + ` says; not edited by hand.

A yes means that this version did it in the end-to-end tests, released and unmodified, against the real binary:
on Rekor v1, on Rekor v2, and offline where nothing but the machine itself could be reached. The numbers are
reasons, below. ` + "`sigbox clients NAME`" + ` and the page ` + "`/clients`" + ` of an instance write the files of each.

`

// matrix numbers the reasons in the order in which they appear.
type matrix struct {
	reasons []string
	index   map[string]int
}

func (m *matrix) cell(c *Client, column string, f runs.File) (string, error) {
	done, gap := did(f, column), c.Gaps[column]
	switch {
	case done && gap.Why == "":
		return "yes", nil
	case done && gap.Partly:
		return fmt.Sprintf("partly (%d)", m.number(c.Title+": "+gap.Why)), nil
	case done:
		return "", fmt.Errorf("consumers/%s.txt says why it cannot do %s, and a run has done it: take the line away, or say partly", c.Name, column)
	case gap.Why != "" && !gap.Partly:
		return fmt.Sprintf("no (%d)", m.number(c.Title+": "+gap.Why)), nil
	case gap.Why != "":
		return fmt.Sprintf("not run (%d)", m.number(c.Title+": "+gap.Why+" This was not run.")), nil
	case len(f.Rows) == 0:
		return fmt.Sprintf("not run (%d)", m.number(unrun)), nil
	}
	return "", fmt.Errorf("consumers/%s.txt: the matrix has no run of %s and no reason: add a line \"no %s: why\"", c.Name, column, column)
}

func (m *matrix) number(reason string) int {
	if m.index[reason] == 0 {
		m.reasons = append(m.reasons, reason)
		m.index[reason] = len(m.reasons)
	}
	return m.index[reason]
}

// did says whether a row shows what the column asks.
func did(f runs.File, column string) bool {
	for _, r := range f.Rows {
		switch column {
		case "v1", "v2":
			if fmt.Sprintf("v%d", r.Log) == column && (r.Did(runs.Sign) || r.Did(runs.Verify) || r.Did(runs.Attest)) {
				return true
			}
		default:
			if r.Did(column) {
				return true
			}
		}
	}
	return false
}

func writeRows(b *strings.Builder, c *Client, f runs.File) {
	if len(f.Rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n### %s\n\n[%s.json](../internal/runs/results/%s.json)\n\n", escape(c.Title), c.Name, c.Name)
	b.WriteString("| what | Rekor | outcome | version | day | commit | commands |\n|---|---|---|---|---|---|---:|\n")
	for _, r := range f.Rows {
		log := "–"
		if r.Log > 0 {
			log = fmt.Sprintf("v%d", r.Log)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %.12s | %d |\n", escape(r.What), log, escape(r.Outcome), r.Version, r.Date, r.Commit, len(r.Commands))
	}
}

// escape keeps a text in its cell.
func escape(s string) string { return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s) }
