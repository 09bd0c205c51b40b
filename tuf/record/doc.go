// Package record keeps what an instance's trust root is composed of: every key and chain with its
// role, address and validity window, and the issuers that clients may ask for tokens.
//
// A [Record] only grows: [Record.Take] takes a statement in, [Record.Retire] gives a key an end, and
// nothing removes a key, since old signatures verify for ever. [Record.Follows] holds one record
// against the one before it. [Record.Material] is what tuf/trustroot composes the targets from, and
// [Record.Edition] composes them. There is one encoding of a record ([Record.Encode], [Parse]); it is
// stored beside the set that was composed from it, and goes through every ceremony.
//
// [Inbox] keeps the statements that came until a ceremony takes them in. It refuses, with the reason,
// what [Record.Take] would refuse: a signature that is not the key's, another instance's statement, a
// role that the sender does not have, a key of another role, an older statement than one that is
// there, a key that was retired, an origin that another key has, and whatever some client could not
// read (trustroot's linter).
//
// [Record.Adopt] takes in keys of another instance, which have no statements: they have an end from the first, sign
// nothing here, and are marked in the record and in what the holders of the targets keys are shown, who alone vouch
// for them. A record with such keys has a format of its own, so that an older sigbox does not take them for its own.
//
// Trust roots of others, which are served beside ours, are in it too (tuf/foreign): [Record.WithForeign] takes one
// in or replaces it by a newer one, [Record.WithoutForeign] lets it go.
//
// A record is not signed by itself: the signatures of the targets keys are over the targets that it
// composes to, and those of the ceremony over the record too.
package record
