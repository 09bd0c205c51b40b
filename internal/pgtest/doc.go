// Package pgtest runs real PostgreSQL servers for tests, from the binaries that are installed.
//
// [Shared] is one server per test binary, started when the first test asks for it; [Start] is a
// server of a test's own, to be configured, killed and restarted. Each lives in a temporary
// directory, listens on a socket there and on a port of 127.0.0.1, and ends with the test binary,
// however that ends. [Keep] is one whose directory stays, for data that takes long to make. Durability is on, as in production: a test of a log that runs with
// fsync=off has shown nothing.
//
// A test never skips for want of a server. It fails and names the package to install.
package pgtest
