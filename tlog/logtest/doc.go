// Package logtest makes logs for tests, and holds the conformance suite of [tlog.Log].
package logtest
