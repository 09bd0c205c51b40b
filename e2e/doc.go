// Package e2e runs released, unmodified Sigstore clients against the real sigbox binary.
//
// Its tests are what a user types: scenarios_test.go is one table of shell scripts, each run on a
// new instance (a new data directory, a free loopback port) with only an environment file of
// `sigbox trust export` sourced. README.md in this directory says how to run them and what they
// need. It is a module of its own, and the clients are not even in that one: they are built with
// `go install PATH@VERSION`, because another module graph is another client.
package e2e
