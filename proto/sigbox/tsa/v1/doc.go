// Package tsapb is the service sigbox.tsa.v1.Timestamps, generated from tsa.proto. Its server is package
// tsa/web.
package tsapb
