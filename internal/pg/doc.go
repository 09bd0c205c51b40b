// Package pg is what every PostgreSQL store of sigbox stands on: connections, start-up probes, and
// transactions whose end is known for what it is.
//
// [Open] refuses a server that would lose what it has acknowledged, and names the setting.
// [DB.Update] runs a transaction on a writing connection and ends in one of four ways: nil is
// durable; [ErrTransient], [ErrDuplicate] and other errors are rolled back; [ErrUnknownOutcome] is
// a COMMIT whose answer is missing or not a plain yes. Nothing a request does cancels a COMMIT.
//
// A writer that stalls keeps its locks. The server ends one that is idle in a transaction; it does
// not end one that it waits for in the middle of a COPY or of a pipeline, whatever timeouts are
// set. So whoever waits too long for a lock ends such sessions: see [DB.Update].
//
// The package knows no table.
package pg
