// Package differential plays the requests of tlog/differential and ca/differential to running
// upstream servers and to the binary, and holds what they answer against the recordings that the unit
// tests compare with.
//
// Upstream's servers take minutes to build, so that part runs where SIGBOX_PROOF is set; with -update
// it writes the recordings. The binary is asked in every run.
package differential
