package stack

import (
	"crypto"
	"testing"
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
)

// TestRotateKeepsMirrors: a root that names the keys of mirrors behind an air gap names them after the rotation of
// any TUF role, and after the way back.
func TestRotateKeepsMirrors(t *testing.T) {
	made := newTemplate(t)
	for _, component := range all() {
		if !isTUF(component) {
			continue
		}
		t.Run(component, func(t *testing.T) {
			r := copyOf(t, made)
			mirrors := r.nameMirrors(t, 2)
			named := func(when string) {
				t.Helper()
				cur, _ := r.published(t)
				s, err := tuf.SignersOf(cur.Roots[len(cur.Roots)-1].Bytes)
				if err != nil {
					t.Fatal(err)
				}
				for i, of := range []tuf.Signers{s.Snapshot, s.Timestamp} {
					if len(of.Keys) != 3 || of.Threshold != 1 || !of.Names(mirrors[2*i]) || !of.Names(mirrors[2*i+1]) {
						t.Errorf("%s: %d keys, %d of which must sign", when, len(of.Keys), of.Threshold)
					}
				}
				if len(s.Root.Keys) != 1 || len(s.Targets.Keys) != 1 {
					t.Errorf("%s: %d keys of root, %d of targets", when, len(s.Root.Keys), len(s.Targets.Keys))
				}
			}
			named("before")
			if err := r.begin(t, component, rotation.Switched, cut{}); err != nil {
				t.Fatal(err)
			}
			named("switched")
			r.serves(t)
			if err := r.on(t, component, "", cut{}, undo); err != nil {
				t.Fatal(err)
			}
			named("undone")
			if err := r.begin(t, component, "", cut{}); err != nil {
				t.Fatal(err)
			}
			named("at the end")
			r.serves(t)
		})
	}
}

// nameMirrors publishes a root that names keys of snapshot and of timestamp of some mirrors, and returns them: those
// of snapshot, and then those of timestamp.
func (r *rotated) nameMirrors(t *testing.T, n int) (list []crypto.PublicKey) {
	t.Helper()
	rs, err := OpenRotations(t.Context(), r.dir, "", r.clock)
	if err != nil {
		t.Fatal(err)
	}
	defer rs.Close()
	repo, cur, used, err := rs.repository(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	signers, err := tuf.SignersOf(cur.Roots[len(cur.Roots)-1].Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []*tuf.Signers{&signers.Snapshot, &signers.Timestamp} {
		for range n {
			key, err := keys.NewECDSA()
			if err != nil {
				t.Fatal(err)
			}
			of.Keys, list = append(of.Keys, key.Public()), append(list, key.Public())
		}
	}
	if err := rs.publishRoot(t.Context(), repo, cur, signers, []crypto.Signer{used.Root}, nil); err != nil {
		t.Fatal(err)
	}
	r.clock.Advance(time.Second)
	return list
}
