// Package rekorv2 is the face of a log as Rekor v2 (sigstore/rekor-tiles): the service
// dev.sigstore.rekor.v2.Rekor over gRPC, and its CreateEntry over HTTP in the JSON of
// grpc-gateway. Reading over HTTP is package tiles.
//
// An entry is answered 201 with its TransparencyLogEntry after it is committed, and the proof and
// checkpoint in it are those of the commit; both are verified here first. A duplicate is answered
// 201 too, with the stored entry and a fresh proof: upstream's 409 is followed by no client.
//
// A log may have several shards (Config.Next): the last one takes entries, whoever froze the one before it
// and whenever. Each is at a path of its own too, by its log id; there a frozen one is 405.
//
// The only kind is hashedrekord 0.0.2. A DSSE envelope is logged as the hash of its
// pre-authentication encoding; dsseRequestV002 gets upstream's refusal. integratedTime is 0: in
// Rekor v2 the time is proven by a timestamp authority.
package rekorv2
