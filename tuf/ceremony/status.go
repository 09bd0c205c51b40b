package ceremony

import (
	"fmt"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox/tuf"
)

// Group is a set of keys of which some number must sign.
type Group struct {
	What      string // for people: "root", "root, by the keys of version 1", "targets"
	Role      string // tuf.Root or tuf.Targets
	Threshold int
	Keys      []string // TUF key ids
	Signed    []string // those of Keys that have
}

// Have is how many have signed.
func (g Group) Have() int { return len(g.Signed) }

func (g Group) missing() (ids []string) {
	for _, id := range g.Keys {
		if !slices.Contains(g.Signed, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Groups are the signatures that the request needs: a new root those of its own keys and, where there
// is a root before it, those of that one's too.
func (r *Request) Groups() (list []Group) {
	p := r.parsed
	if p.root != nil {
		if p.baseRoot != nil {
			what := fmt.Sprintf("root, by the keys of version %d", p.baseRoot.Signed.Version)
			list = append(list, group(what, tuf.Root, p.baseRoot, p.root.Signatures))
		}
		list = append(list, group("root", tuf.Root, p.root, p.root.Signatures))
	}
	if p.targets != nil {
		list = append(list, group("targets", tuf.Targets, r.inForce(), p.targets.Signatures))
	}
	return list
}

func group(what, role string, root *metadata.Metadata[metadata.RootType], sigs []metadata.Signature) Group {
	named := root.Signed.Roles[role]
	g := Group{What: what, Role: role, Threshold: named.Threshold, Keys: slices.Sorted(slices.Values(named.KeyIDs))}
	for _, id := range g.Keys {
		if slices.ContainsFunc(sigs, func(s metadata.Signature) bool { return s.KeyID == id }) {
			g.Signed = append(g.Signed, id)
		}
	}
	return g
}

// Complete says whether everybody has signed who must.
func (r *Request) Complete() bool {
	for _, g := range r.Groups() {
		if g.Have() < g.Threshold {
			return false
		}
	}
	return true
}
