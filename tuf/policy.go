package tuf

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// slack is how far the clocks of replicas may differ.
const slack = 5 * time.Minute

// checkForms holds every file against the rules of single clients: size, form and length of the
// expiry, and for the newest root its keys and thresholds.
func checkForms(s Release, life Lifetimes, now time.Time) error {
	if !s.Created() {
		return ErrNotCreated
	}
	for i, r := range s.Roots {
		if r.Version != int64(i+1) {
			return fmt.Errorf("root version %d stands where %d is wanted", r.Version, i+1)
		}
	}
	newest := s.Roots[len(s.Roots)-1]
	limits := map[string]time.Duration{Root: life.Root, Targets: life.Targets, Snapshot: life.Snapshot, Timestamp: life.Timestamp}
	for _, m := range []Metadata{newest, s.Targets, s.Snapshot, s.Timestamp} {
		if err := checkForm(m, now, limits[m.Role]); err != nil {
			return fmt.Errorf("%s version %d: %w", m.Role, m.Version, err)
		}
		online := m.Role == Snapshot || m.Role == Timestamp
		if online && !life.Until.IsZero() && remaining(m, now) > life.Until.Sub(now) {
			return fmt.Errorf("%s version %d: lives longer than until %s", m.Role, m.Version, stamp(life.Until))
		}
	}
	root, err := metadata.Root().FromBytes(newest.Bytes)
	if err != nil {
		return fmt.Errorf("root: %w", err)
	}
	return checkRoot(root.Signed)
}

// checkForm looks at the raw bytes: what a decoder forgives here, another client may not.
func checkForm(m Metadata, now time.Time, life time.Duration) error {
	if limit, ok := maxSize[m.Role]; !ok || len(m.Bytes) > limit {
		return fmt.Errorf("%d bytes, want at most %d", len(m.Bytes), limit)
	}
	var raw struct {
		Signed struct {
			Type    string `json:"_type"`
			Version int64  `json:"version"`
			Expires string `json:"expires"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(m.Bytes, &raw); err != nil {
		return err
	}
	if raw.Signed.Type != m.Role || raw.Signed.Version != m.Version || m.Version < 1 {
		return fmt.Errorf("file says %s version %d", raw.Signed.Type, raw.Signed.Version)
	}
	const form = "2006-01-02T15:04:05Z"
	expires, err := time.Parse(form, raw.Signed.Expires)
	if err != nil || expires.Format(form) != raw.Signed.Expires { // Parse lets fractions through
		return errors.New("expires is not of the form YYYY-MM-DDTHH:MM:SSZ")
	}
	if m.SignedAt.Before(now.Add(-slack)) {
		return nil // an earlier policy's lifetime is not this publication's business
	}
	if expires.After(m.SignedAt.Add(life + slack)) {
		return fmt.Errorf("expires at %s, later than the lifetime of %s allows", raw.Signed.Expires, life)
	}
	return nil
}

// checkRoot refuses a root whose thresholds mean less than they say: a threshold below one or
// above the number of distinct keys, one key under two ids, an id that is not the key's, a key
// kept online that also signs an offline role.
func checkRoot(root metadata.RootType) error {
	if !root.ConsistentSnapshot {
		return errors.New("root: consistent_snapshot is off")
	}
	byRole := map[string][][32]byte{}
	for _, name := range []string{Root, Targets, Snapshot, Timestamp} {
		role := root.Roles[name]
		if role == nil {
			return fmt.Errorf("root: no role %s", name)
		}
		for _, id := range role.KeyIDs {
			spki, err := checkKey(root, id)
			if err != nil {
				return fmt.Errorf("root: role %s: key %.16s: %w", name, id, err)
			}
			if slices.Contains(byRole[name], spki) {
				return fmt.Errorf("root: role %s counts one key twice (key id %.16s)", name, id)
			}
			byRole[name] = append(byRole[name], spki)
		}
		if role.Threshold < 1 || role.Threshold > len(byRole[name]) {
			return fmt.Errorf("root: role %s: threshold %d of %d keys", name, role.Threshold, len(byRole[name]))
		}
	}
	for _, online := range [][32]byte(slices.Concat(byRole[Snapshot], byRole[Timestamp])) {
		if slices.Contains(byRole[Root], online) || slices.Contains(byRole[Targets], online) {
			return errors.New("root: a key of snapshot or timestamp, which is online, also signs root or targets")
		}
	}
	return nil
}

// checkKey returns the digest of a key's SPKI, by which keys are told apart.
func checkKey(root metadata.RootType, id string) ([32]byte, error) {
	key := root.Keys[id]
	if key == nil {
		return [32]byte{}, errors.New("not in the list of keys")
	}
	own, err := key.ID()
	if err != nil {
		return [32]byte{}, err
	}
	if own != id {
		return [32]byte{}, errors.New("the id is not the digest of the key")
	}
	if key.Type != metadata.KeyTypeECDSA_SHA2_P256 || key.Scheme != metadata.KeySchemeECDSA_SHA2_P256 {
		return [32]byte{}, fmt.Errorf("type %s with scheme %s, which some client does not take", key.Type, key.Scheme)
	}
	pub, err := key.ToPublicKey()
	if err != nil {
		return [32]byte{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return [32]byte{}, err
	}
	return sha256.Sum256(der), nil
}
