package stack

import (
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/sigbox/sigbox/tuf"
)

// TestRotateMidway: a client that had seen that there is no newer root, just before one was published that replaces a
// key, goes on to verify the set that came with it; and a key that was replaced signs nothing later.
func TestRotateMidway(t *testing.T) {
	made := newTemplate(t)
	for _, component := range all() {
		if !isTUF(component) {
			continue
		}
		t.Run(component, func(t *testing.T) {
			r := copyOf(t, made)
			before, _ := r.published(t)
			if err := r.begin(t, component, "", cut{}); err != nil {
				t.Fatal(err)
			}
			after, _ := r.published(t)
			if len(after.Roots) != len(before.Roots)+1 {
				t.Fatalf("%d roots after %d", len(after.Roots), len(before.Roots))
			}
			if err := takes(before.Roots[len(before.Roots)-1], after); err != nil {
				t.Errorf("with the root of before: %v", err)
			}
			if err := takes(after.Roots[len(after.Roots)-1], after); err != nil {
				t.Errorf("with the root of after: %v", err)
			}
			r.serves(t) // two days later the timestamp was signed again
			later, _ := r.published(t)
			if component == roleTUFTimestamp && takes(before.Roots[len(before.Roots)-1], later) == nil {
				t.Error("the key of before signs still")
			}
		})
	}
}

// takes is a client that has a root and fetches what follows it.
func takes(root tuf.Metadata, set tuf.Release) error {
	tm, err := trustedmetadata.New(root.Bytes)
	if err != nil {
		return err
	}
	tm.RefTime = set.Timestamp.SignedAt
	if _, err := tm.UpdateTimestamp(set.Timestamp.Bytes); err != nil {
		return err
	}
	if _, err := tm.UpdateSnapshot(set.Snapshot.Bytes, false); err != nil {
		return err
	}
	_, err = tm.UpdateTargets(set.Targets.Bytes)
	return err
}
