package checkpoint

// Checkpoint is the tree head that a note commits to (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string   // first line of the note; no newline, not empty
	Size   int64    // leaves in the tree
	Root   [32]byte // RFC 6962 root of those leaves
}

// Signed is a checkpoint with the note text and signature lines that carry it.
type Signed struct {
	Checkpoint
	Note []byte // the whole signed note, as it is served; never changed
}
