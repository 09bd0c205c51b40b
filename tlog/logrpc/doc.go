// Package logrpc is our own gRPC service over the logs of a process, sigbox.tlog.v1.Logs: append,
// proofs, and Follow, the stream that monitors and mirrors stand on. The file log.proto documents it
// message by message; docs/follow.md says how a follower verifies what it gets, and package
// tlog/follow does that.
//
// It knows no kind of entry: for every log it is given a [Parser], which is another face's, so that an
// entry is checked here as it is checked there.
//
// Followers are woken by the publication of a head, not by a clock; one that keeps up gets at most
// ten batches a second. All followers of a log that are near its head share one read of every entry.
// What a follower can make the server hold is bounded: one batch of 256 KiB (or of one entry) that
// waits for the client, and the same again twice in its encoding; the number of followers is bounded too. Flow
// control is gRPC's: a batch is read when the one before was taken.
//
// It does not notice by itself that a peer is dead or takes nothing: whoever serves it over net/http
// does (httpx.Streaming). It serves no proofs of absence and no search.
package logrpc
