// Package mirrordir writes the published TUF repository as plain files that any web server can
// serve with no process of ours.
//
// Files appear whole (a temporary file, synced, then renamed) and in an order in which nothing
// refers to what is not there yet: contents of targets, targets, snapshot, roots, and the
// timestamp last. A reader, or a crash, at any point finds the old set or the new one. Files of
// earlier sets are kept; nothing is deleted. The package knows only [tuf.Published].
package mirrordir
