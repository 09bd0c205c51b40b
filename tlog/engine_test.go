package tlog_test

import (
	"testing"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sigbox/sigbox/tlog/logtest"
)

func TestAppendIsProvenAtOnce(t *testing.T) {
	log := logtest.New(t)
	for i := range 300 {
		r, err := log.Append(t.Context(), logtest.Numbered(i))
		if err != nil {
			t.Fatal(err)
		}
		if r.Leaf.Index != int64(i) || r.Duplicate {
			t.Fatalf("entry %d: index %d, duplicate %v", i, r.Leaf.Index, r.Duplicate)
		}
		root := r.Checkpoint.Root
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(i), uint64(r.Checkpoint.Size), r.Leaf.Hash[:], r.Proof, root[:]); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
	}
	r, err := log.Append(t.Context(), logtest.Numbered(7))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Duplicate || r.Leaf.Index != 7 || string(r.Leaf.Data) != string(logtest.Numbered(7)) {
		t.Fatalf("duplicate: %+v", r.Leaf)
	}
	root := r.Checkpoint.Root
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, 7, uint64(r.Checkpoint.Size), r.Leaf.Hash[:], r.Proof, root[:]); err != nil {
		t.Fatal(err)
	}
}
