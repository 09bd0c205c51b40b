// Package ceremony has root and targets signed by people who hold the keys offline, by passing one
// file from one to the next (docs/design/0009).
//
// The file is a [Request]: what is to be signed, the set it follows, the record of trust material, the
// statements that back it, and what was signed so far. It is all the state there is: a ceremony that
// is interrupted goes on from the file, and copies that were signed apart are put together with
// [Request.Merge].
//
//	r, err := ceremony.New(ceremony.Options{...})    the request
//	raw, err := r.Encode()                            the file
//	r, err = ceremony.Parse(raw)                      at the next signer's
//	text, err := r.Words()                            what changes
//	roles, err := r.Sign(key, now)
//	changed, err := r.Publish(ctx, repo, instance, now)
//
// Whoever has all keys at hand does the same without a file: New, Sign for each key, Publish.
//
// Parse refuses what does not fit together, whoever made it: metadata that is not exactly what the
// record composes to, a record that does not follow the one before it or that no statement backs, a
// signature that is wrong, of an unknown key, or there twice. What a signer is told in words is made
// from the bytes to be signed, and from those of the set before.
//
// Each signer also signs an approval of the whole request by its [Request.ID], so that the instance,
// the record, the set it follows and the date until which it is good are as much signed as the
// metadata is. The approvals are the transcript; the request as it was published is stored with the
// set.
//
// A key is any crypto.Signer with a P-256 key: a file today, a token or a KMS later.
package ceremony
