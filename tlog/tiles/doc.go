// Package tiles serves a log as static tiles (C2SP tlog-tiles): checkpoint, hash tiles and entry
// bundles below one prefix.
//
// Only what the published checkpoint covers is served. A full tile or bundle never changes and
// may be cached for ever; a partial one is not cached, since the tree outgrows it. Every path
// that is not exactly one that C2SP tlog-tiles writes is 404, and so is one beyond the head.
package tiles
