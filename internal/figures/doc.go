// Package figures writes down what a test measured: one JSON file for each measurement, with the raw
// counts and with what it takes to repeat it. Figures in documents come from these files and are
// never typed by hand.
package figures
