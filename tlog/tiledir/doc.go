// Package tiledir writes a log to a directory as a C2SP tlog-tiles tree, which any static web
// server can serve:
//
//	checkpoint
//	tile/<L>/<N>[.p/<W>]
//	tile/entries/<N>[.p/<W>]
//
// [Export] goes on where the last export stopped. It never replaces a checkpoint by one that does
// not extend it, and files appear whole, the checkpoint last: a reader, or a crash at any point,
// finds the old tree or the new one. A full tile is written once.
//
// An export takes its hashes from the log, which checks them against its head; that the files of
// earlier exports are still what was written is not checked.
package tiledir
