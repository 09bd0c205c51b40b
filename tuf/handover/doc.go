// Package handover carries trust statements (tuf/statement) from the service that makes them to the
// one that keeps the trust root: sigbox.trust.v1.Statements, gRPC.
//
// Who may call, and who answers, is for the connection to say: the wiring serves it behind mutual TLS
// only. Both sides are bounded, and neither opens a statement: a reader that trusts no sender must
// verify each one anyway.
package handover
