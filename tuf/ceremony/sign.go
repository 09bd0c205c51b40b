package ceremony

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/statement"
)

// approvalType is the type of the DSSE payload that an approval signs.
const approvalType = "application/vnd.sigbox.ceremony-approval.v1+json"

// holders are keys by their TUF ids.
type holders map[string]*ecdsa.PublicKey

// holdersOf returns the keys of a role of a root; none of no root.
func holdersOf(m *metadata.Metadata[metadata.RootType], role string) holders {
	out := holders{}
	if m == nil {
		return out
	}
	for _, id := range m.Signed.Roles[role].KeyIDs {
		if pub, err := m.Signed.Keys[id].ToPublicKey(); err == nil { // checkRoot has seen it
			if p, ok := pub.(*ecdsa.PublicKey); ok {
				out[id] = p
			}
		}
	}
	return out
}

// rootKeys are the keys that may sign the new root: those of the root before, and its own.
func (r *Request) rootKeys() holders {
	all := holdersOf(r.parsed.baseRoot, tuf.Root)
	for id, pub := range holdersOf(r.parsed.root, tuf.Root) {
		all[id] = pub
	}
	return all
}

// targetsKeys are the keys that sign the new targets.
func (r *Request) targetsKeys() holders { return holdersOf(r.inForce(), tuf.Targets) }

// inForce is the root under which the set will be.
func (r *Request) inForce() *metadata.Metadata[metadata.RootType] {
	if r.parsed.root != nil {
		return r.parsed.root
	}
	return r.parsed.baseRoot
}

func verify(pub *ecdsa.PublicKey, payload, sig []byte) bool {
	digest := sha256.Sum256(payload)
	return ecdsa.VerifyASN1(pub, digest[:], sig)
}

// checkSignatures wants signatures of these keys only, and right. Two of one key were refused when the
// metadata was read.
func (r *Request) checkSignatures(role string, payload []byte, sigs []metadata.Signature, keys holders) error {
	for _, s := range sigs {
		pub := keys[s.KeyID]
		switch {
		case pub == nil:
			return fmt.Errorf("%w: %s is signed with key %.16q, which is not one of its signers'", ErrUnknownKey, role, s.KeyID)
		case !verify(pub, payload, s.Signature):
			return fmt.Errorf("%s: the signature of key %.16s is not one of these bytes: the request was changed after it was signed", role, s.KeyID)
		}
	}
	return nil
}

// signedRoles are the roles that a key has signed.
func (r *Request) signedRoles(id string) (roles []string) {
	by := func(s metadata.Signature) bool { return s.KeyID == id }
	if r.parsed.root != nil && slices.ContainsFunc(r.parsed.root.Signatures, by) {
		roles = append(roles, tuf.Root)
	}
	if r.parsed.targets != nil && slices.ContainsFunc(r.parsed.targets.Signatures, by) {
		roles = append(roles, tuf.Targets)
	}
	return roles
}

// signers are the ids of all keys that have signed something.
func (r *Request) signers() (ids []string) {
	for id := range r.allKeys() {
		if len(r.signedRoles(id)) > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (r *Request) allKeys() holders {
	all := holders{}
	if r.parsed.root != nil {
		all = r.rootKeys()
	}
	if r.parsed.targets != nil {
		for id, pub := range r.targetsKeys() {
			all[id] = pub
		}
	}
	return all
}

// payload is what an approval signs.
func (a Approval) payload(request [32]byte) []byte {
	raw, err := json.Marshal(struct {
		Request []byte   `json:"request"`
		KeyID   string   `json:"key_id"`
		Roles   []string `json:"roles"`
		At      string   `json:"at"`
	}{request[:], a.KeyID, a.Roles, statement.Stamp(a.At)})
	if err != nil { // texts
		panic(err)
	}
	return dsse.PAE(approvalType, raw)
}

// checkApprovals wants one of each key that has signed, about what it has signed, and no other.
func (r *Request) checkApprovals() error {
	keys, id, seen := r.allKeys(), r.ID(), map[string]bool{}
	for _, a := range r.Approvals {
		pub := keys[a.KeyID]
		switch {
		case pub == nil:
			return fmt.Errorf("%w: key %.16q has approved it, and is not a signer's", ErrUnknownKey, a.KeyID)
		case seen[a.KeyID]:
			return fmt.Errorf("key %.16s has approved it twice", a.KeyID)
		case !slices.Equal(a.Roles, r.signedRoles(a.KeyID)):
			return fmt.Errorf("key %.16s has approved %q, and has signed %q", a.KeyID, a.Roles, r.signedRoles(a.KeyID))
		case !verify(pub, a.payload(id), a.Sig):
			return fmt.Errorf("the approval of key %.16s is not one of this request: it was changed after it was signed", a.KeyID)
		}
		seen[a.KeyID] = true
	}
	for _, id := range r.signers() {
		if !seen[id] {
			return fmt.Errorf("key %.16s has signed, and its approval is missing", id)
		}
	}
	return nil
}

// Sign adds the signatures of a key to everything it has a part in, and its approval. It returns the
// roles that it signed.
func (r *Request) Sign(key crypto.Signer, now time.Time) (roles []string, err error) {
	if err := r.CheckTime(now); err != nil {
		return nil, err
	}
	id, err := tuf.KeyID(key.Public())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknownKey, err)
	}
	if r.allKeys()[id] == nil {
		return nil, fmt.Errorf("%w: its id is %s; the signers' are %s", ErrUnknownKey, id, strings.Join(r.ids(), " "))
	}
	if len(r.signedRoles(id)) > 0 {
		return nil, fmt.Errorf("%w (key %.16s): give the file to the next signer", ErrSigned, id)
	}
	next := *r // whole, or not at all
	if r.parsed.root != nil && r.rootKeys()[id] != nil {
		if next.Root, err = signed(r.Root, payloadOf(r.parsed.root), id, key, metadata.Root().FromBytes); err != nil {
			return nil, err
		}
		roles = append(roles, tuf.Root)
	}
	if r.parsed.targets != nil && r.targetsKeys()[id] != nil {
		if next.Targets, err = signed(r.Targets, payloadOf(r.parsed.targets), id, key, metadata.Targets().FromBytes); err != nil {
			return nil, err
		}
		roles = append(roles, tuf.Targets)
	}
	a := Approval{KeyID: id, Roles: roles, At: now.UTC().Truncate(time.Second)}
	if a.Sig, err = sign(key, a.payload(r.ID())); err != nil {
		return nil, err
	}
	next.Approvals = append(slices.Clone(r.Approvals), a)
	if err := next.check(); err != nil {
		return nil, err
	}
	*r = next
	return roles, nil
}

func sign(key crypto.Signer, payload []byte) ([]byte, error) {
	digest := sha256.Sum256(payload)
	sig, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return sig, nil
}

// signed returns metadata with one signature more.
func signed[T metadata.Roles](raw, payload []byte, id string, key crypto.Signer, parse func([]byte) (*metadata.Metadata[T], error)) ([]byte, error) {
	sig, err := sign(key, payload)
	if err != nil {
		return nil, err
	}
	return withSignatures(raw, []metadata.Signature{{KeyID: id, Signature: sig}}, parse)
}

// withSignatures returns metadata with more signatures, those of keys that have signed left out, in
// the order of the key ids: copies that hold the same signatures are equal.
func withSignatures[T metadata.Roles](raw []byte, more []metadata.Signature, parse func([]byte) (*metadata.Metadata[T], error)) ([]byte, error) {
	m, err := parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	for _, s := range more {
		if !slices.ContainsFunc(m.Signatures, func(have metadata.Signature) bool { return have.KeyID == s.KeyID }) {
			m.Signatures = append(m.Signatures, s)
		}
	}
	slices.SortFunc(m.Signatures, func(a, b metadata.Signature) int { return strings.Compare(a.KeyID, b.KeyID) })
	return m.ToBytes(false)
}

func (r *Request) ids() (list []string) {
	for id := range r.allKeys() {
		list = append(list, id)
	}
	slices.Sort(list)
	return list
}

// Merge takes the signatures of another copy of the request in, and reports how many were new.
func (r *Request) Merge(o *Request) (added int, err error) {
	if r.ID() != o.ID() {
		return 0, fmt.Errorf("%w: one is %x, the other %x", ErrOther, short(r), short(o))
	}
	next := *r
	if o.parsed.root != nil {
		if next.Root, err = withSignatures(r.Root, r.unheard(o.parsed.root.Signatures), metadata.Root().FromBytes); err != nil {
			return 0, err
		}
	}
	if o.parsed.targets != nil {
		if next.Targets, err = withSignatures(r.Targets, r.unheard(o.parsed.targets.Signatures), metadata.Targets().FromBytes); err != nil {
			return 0, err
		}
	}
	next.Approvals = slices.Clone(r.Approvals)
	for _, a := range o.Approvals {
		if !r.approved(a.KeyID) {
			next.Approvals, added = append(next.Approvals, a), added+1
		}
	}
	if err := next.check(); err != nil {
		return 0, err
	}
	*r = next
	return added, nil
}

// unheard leaves the signatures of keys out that have signed already.
func (r *Request) unheard(sigs []metadata.Signature) (out []metadata.Signature) {
	for _, s := range sigs {
		if !r.approved(s.KeyID) {
			out = append(out, s)
		}
	}
	return out
}

func (r *Request) approved(id string) bool {
	return slices.ContainsFunc(r.Approvals, func(a Approval) bool { return a.KeyID == id })
}

func short(r *Request) []byte {
	id := r.ID()
	return id[:8]
}

// Publish hands what was signed to the repository of an instance, which has the keys of snapshot and
// timestamp. It reports whether there was anything to do: publishing again changes nothing. It
// refuses a request that has too few signatures, is over, is for another instance, or follows a set
// that is not current any more; nothing is written then.
func (r *Request) Publish(ctx context.Context, repo *tuf.Repository, instance string, now time.Time) (changed bool, err error) {
	if r.Instance != instance {
		return false, fmt.Errorf("%w: it is for %s, and this is %s", ErrInstance, r.Instance, instance)
	}
	s, err := r.Signed()
	if err != nil {
		return false, err
	}
	if late := r.CheckTime(now); late != nil {
		cur, err := repo.Current(ctx)
		if err == nil && !s.Current(cur) { // or it was published in time
			err = late
		}
		return false, err
	}
	changed, err = repo.Install(ctx, s)
	if errors.Is(err, tuf.ErrStale) {
		return false, fmt.Errorf("%w: this request was overtaken, or was published before and another set after it: ask for a new one with sigbox tuf request", err)
	}
	return changed, err
}

// Signed returns what a repository installs, or ErrThreshold and who has yet to sign.
func (r *Request) Signed() (tuf.Signed, error) {
	for _, g := range r.Groups() {
		if have := g.Have(); have < g.Threshold {
			return tuf.Signed{}, fmt.Errorf("%w: %s has %d of %d; of these keys %d more: %s", ErrThreshold, g.What, have, g.Threshold, g.Threshold-have, strings.Join(g.missing(), " "))
		}
	}
	raw, err := r.Encode()
	if err != nil {
		return tuf.Signed{}, err
	}
	s := tuf.Signed{Root: r.Root, Targets: r.Targets, Contents: r.Contents, Record: r.Record, Transcript: raw}
	if b := r.Base; b != nil {
		s.FollowsRoot, s.FollowsTargets, s.FollowsRecord = b.Root, b.Targets, b.Record
	}
	return s, nil
}
