package tlog

// Hook is called at the named points of the commit path. Production has none. A test's hook
// returns an error to make the step fail there, or blocks, or looks around.
type Hook func(point string) error

// The points, in the order in which a batch passes them. Those from PointTxBegin to
// PointTxCommitted are the Store's, the others the engine's.
const (
	PointTxBegin          = "tx.begin"             // before the head is locked
	PointSequenced        = "seq.assigned"         // the batch has its indexes; nothing is written
	PointLeafInserted     = "leaf.inserted"        // leaves are written
	PointTilesWritten     = "nodes.written"        // full tiles are written
	PointIndexInserted    = "index.inserted"       // search keys are written
	PointAttestInserted   = "attestation.inserted" // attestations are written
	PointRootRecomputed   = "root.recomputed"      // rows are read back and checked
	PointHeadSigned       = "head.signed"          // the checkpoint is signed and verified
	PointHeadStored       = "head.stored"          // the head row is moved
	PointTxPrecommit      = "tx.precommit"         // nothing is left but COMMIT; an error rolls back
	PointTxCommitSent     = "tx.commit.sent"       // COMMIT is lost on the way: rolled back, outcome unknown
	PointTxCommitted      = "tx.committed"         // the answer to COMMIT is lost: committed, outcome unknown
	PointGuardSent        = "anchor.cas.sent"      // before the guard is asked to move
	PointGuardDone        = "anchor.cas.done"      // the guard has moved, its answer is lost
	PointHeadPublished    = "head.published"       // readers see the head; an error has no effect
	PointResponseReleased = "response.released"    // before callers are woken; an error has no effect
)

// Hit calls the hook if there is one.
func (h Hook) Hit(point string) error {
	if h == nil {
		return nil
	}
	return h(point)
}
