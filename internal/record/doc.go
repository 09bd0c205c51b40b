// Package record writes what a test measured to a file, with what it takes to repeat it: commit, time,
// machine and raw counts. Figures in documents come from these files and are never typed by hand.
package record
