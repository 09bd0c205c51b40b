package ctlog_test

import (
	"bytes"
	"net/http"
	"testing"
)

// FuzzAddChain: of all leaves, the one that our authority has signed is taken, whatever stands around it.
func FuzzAddChain(f *testing.F) {
	s := newStack(f)
	leaf, inter, root := s.leaf(f, with(poison)).Raw, s.ca.Intermediate.Raw, s.ca.Root.Raw
	f.Add(leaf, inter)
	f.Add(leaf, root)
	f.Add(s.leaf(f).Raw, inter)
	f.Add(leaf[:len(leaf)-1], inter)
	f.Add(deep(30000), inter)
	f.Fuzz(func(t *testing.T, first, second []byte) {
		sct, err := s.server.AddPreChain(t.Context(), [][]byte{first, second})
		if (err == nil) != (sct != nil) || err == nil && (!bytes.Equal(first, leaf) || !bytes.Equal(second, inter)) {
			t.Fatalf("%x under %x: %v", first, second, err)
		}
	})
}

// FuzzAddChainBody: any body is answered with 200 or 4xx, and what is no chain of ours leaves no entry.
func FuzzAddChainBody(f *testing.F) {
	s := newStack(f)
	good := chainBody(f, [][]byte{s.leaf(f, with(poison)).Raw, s.ca.Intermediate.Raw})
	f.Add(`{"chain":[]}`)
	f.Add(`{"chain":["QQ=="]}`)
	f.Add(`{"chain":null,"Chain":[]}`)
	f.Add(good[:len(good)-2])
	f.Fuzz(func(t *testing.T, body string) {
		for _, path := range []string{"/ct/v1/add-chain", "/ct/v1/add-pre-chain"} {
			if status, answer := s.post(t, path, body); status != http.StatusOK && (status < 400 || status > 499) {
				t.Fatalf("%s: %d %s", path, status, answer)
			}
		}
		if s.logged.Len() != 0 {
			t.Fatalf("our log says: %s", s.logged)
		}
	})
}
