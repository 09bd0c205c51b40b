// Package statement is what one service says about one key of its own, so that it can get into the
// trust root: "this key, this role, this address, valid from" (docs/design/0009).
//
// A statement is a DSSE envelope over JSON, payload type [PayloadType], with one signature, by the
// key that it is about: of a chain, the first certificate's. The signature shows possession. It
// means nothing in any role of the key, since no role signs DSSE's framing over this type.
//
// [Sign] makes one and [Open] reads one. There is one encoding of a statement: Open refuses whatever
// Sign would not have written. A statement is a claim and no trust: the acceptance rules decide what a
// repository takes in, and only the signatures of the targets keys make it trust.
//
// An OpenID Connect issuer has no statement of its own, for it has no key that clients trust: the
// certificate authority names those that clients may ask for tokens ([Statement.Issuers]).
package statement
