// Package tlogpb is the service sigbox.tlog.v1.Logs, generated from log.proto, which documents every
// message, unit and error. The server is package tlog/logrpc; package tlog/follow is a client that
// verifies what it follows.
package tlogpb
