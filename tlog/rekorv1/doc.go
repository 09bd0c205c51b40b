// Package rekorv1 is the face of a log as Rekor v1 (sigstore/rekor openapi.yaml): entries are
// posted to it, read by index or UUID, searched, and proven, with a signed entry timestamp (SET),
// an inclusion proof and a checkpoint in every answer.
//
// An answer is given after the entry is committed, and its proof and checkpoint are those of the
// commit. Nothing is answered that this package has not verified itself: the leaf hash of the
// body, the inclusion proof against the checkpoint's root, and the SET with the log's public key.
//
// A duplicate is answered 409 with a Location that resolves now or, where Config.ReturnDuplicates
// is set, 201 with the entry that the log holds. What the kinds are is the caller's choice
// (Config.Kinds); this package knows none.
//
// A log may have several shards (Config.Inactive, and Config.Next while it runs): trees one after the other, of which only the last
// takes entries. The index of an entry is virtual, it counts through all of them; a proof is of one
// tree and counts in it. An entry that only an older shard holds is new to the last one, as
// upstream has it.
//
// Statuses, error bodies and headers are upstream's, with these differences, all stricter: JSON
// with a key twice, with data after it or nested too deep is 400; a list or query that asks for
// nothing is 422; at most Config.MaxResults entries, the newest, answer a search. Malformed JSON
// is 400, where upstream says 500.
package rekorv1
