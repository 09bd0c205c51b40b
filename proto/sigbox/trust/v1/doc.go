// Package trustpb is the service sigbox.trust.v1.Statements, generated from trust.proto. Server and
// client are package tuf/handover; what is handed over is package tuf/statement.
package trustpb
