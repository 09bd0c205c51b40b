// Package foreign is trust roots of others: those of the public Sigstore instance, of other sigbox instances,
// which are served beside our own and never mixed with it.
//
// A [Root] is a trusted_root.json as its publisher made it, under a name of ours, with what shows that it is the
// publisher's: the roots of their TUF repository from the one that was pinned on, and the targets metadata that
// names the file. [Take] and [Root.Refresh] are the client workflow of the TUF specification (5.3 to 5.7) against
// a [Source]; [FromFile] takes a file, of which nobody knows more than who brought it. [Root.Check] verifies all
// of it again, without the network, and [Root.Follows] says what one may not do to the one before it: go back.
// Both are for those who sign, and who see neither the network nor the machine where it was taken.
//
// An [Index] is what clients are told of the roots that there are. [Vouch] says for which issuers the
// authorities of two of them could vouch, which is what a merged file lets them do.
//
// What it does not do: delegations (the file is one of the top-level targets), and following a repository by
// itself: what clients trust changes when somebody says so.
package foreign
