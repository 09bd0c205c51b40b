// Package runs is what released clients did against the real binary, as the end-to-end tests wrote it
// down: one JSON file for each client, in results/, which is part of the program.
//
// A row is a row of the README's table on one log: what was done, the version that did it, the day,
// the commit, and every command with its exit status and the SHA-256 of what it printed. `sigbox clients`
// and the page /clients name a version of a client only where there is such a row; docs/clients.md is made
// from the same files. They are never edited by hand:
//
//	SIGBOX_RESULTS=$PWD/internal/runs/results e2e/run
//
// writes the files of the clients whose rows were run and passed; see [Results.Write] for what becomes
// of rows that were not run.
package runs
