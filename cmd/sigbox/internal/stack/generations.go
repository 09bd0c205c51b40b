package stack

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/statement"
)

// The kinds of keys of an instance that are numbered, as its journal of rotations names them. A CA is its
// intermediate and its root together.
const (
	kindCA  = "ca"
	kindTSA = "tsa"
	kindCT  = "ct"
)

// tufRoles are the roles that have a key of their own, by the TUF role.
var tufRoles = map[string]string{tuf.Root: roleTUFRoot, tuf.Targets: roleTUFTargets, tuf.Snapshot: roleTUFSnapshot, tuf.Timestamp: roleTUFTimestamp}

// journalFile is the journal of the rotations of an instance.
func journalFile(d *instance.Dir) rotation.File { return rotation.File{Path: d.File("rotations.json")} }

// numberedKey is the file of a key of a role. Number 1 is the one that the instance was made with. The
// others are in directories of their own, where no shard of a log looks for its key.
func numberedKey(d *instance.Dir, role string, n int) string {
	if n == 1 {
		return keyFile(d, role)
	}
	return d.File("keys", role, fmt.Sprintf("%d.pem", n))
}

// numberedChain is the file of the chain of a CA or TSA.
func numberedChain(d *instance.Dir, kind string, n int) string {
	if n == 1 {
		return d.File("certs", kind+".pem")
	}
	return d.File("certs", kind, fmt.Sprintf("%d.pem", n))
}

// authority is the key and the chain of a CA or TSA.
type authority struct {
	n     int
	key   crypto.Signer
	chain []*x509.Certificate
}

// ctKey is the key of a CT log. Each has its own.
type ctKey struct {
	n   int
	key crypto.Signer
}

// name is that of the log.
func (k ctKey) name() string {
	if k.n == 1 {
		return logCT
	}
	return fmt.Sprintf("%s-%d", logCT, k.n)
}

// path is where the log is below the URL of the instance.
func (k ctKey) path() string {
	if k.n == 1 {
		return ""
	}
	return "/" + k.name()
}

// numbered are the keys of an instance of which there can be several.
type numbered struct {
	journal  *rotation.Journal
	read     []byte      // what the journal was read from
	cas      []authority // all that are there, the oldest first
	tsas     []authority
	cts      []ctKey
	ctInUse  int
	caOfUse  authority
	tsaOfUse authority
}

// loadNumbered reads what the journal says that is there. A key that is not used and not there is left
// out: its rotation was undone.
func loadNumbered(d *instance.Dir) (g numbered, err error) {
	if g.journal, g.read, err = journalFile(d).Read(); err != nil {
		return g, err
	}
	for _, a := range []struct {
		kind, role string
		all        *[]authority
		use        *authority
	}{{kindCA, roleCAIntermediate, &g.cas, &g.caOfUse}, {kindTSA, roleTSA, &g.tsas, &g.tsaOfUse}} {
		k := g.journal.Kind(a.kind)
		for _, n := range k.Ready() {
			got, err := loadAuthority(d, a.kind, a.role, n)
			if err != nil && (!errors.Is(err, fs.ErrNotExist) || slices.Contains(k.Trusted(), n)) {
				return g, err
			}
			if err != nil {
				continue
			}
			*a.all = append(*a.all, got)
			if n == k.InUse {
				*a.use = got
			}
		}
	}
	k := g.journal.Kind(kindCT)
	g.ctInUse = k.InUse
	for _, n := range k.Ready() {
		key, err := keys.Load(numberedKey(d, roleCT, n))
		if err != nil && (!errors.Is(err, fs.ErrNotExist) || slices.Contains(k.Trusted(), n)) {
			return g, err
		}
		if err == nil {
			g.cts = append(g.cts, ctKey{n, key})
		}
	}
	return g, nil
}

func loadAuthority(d *instance.Dir, kind, role string, n int) (a authority, err error) {
	a.n = n
	if a.key, err = keys.Load(numberedKey(d, role, n)); err != nil {
		return a, err
	}
	if a.chain, err = readChain(numberedChain(d, kind, n)); err != nil {
		return a, err
	}
	if !keys.Equal(a.chain[0].PublicKey, a.key.Public()) {
		return a, fmt.Errorf("%s is not the key of the certificate in %s", numberedKey(d, role, n), numberedChain(d, kind, n))
	}
	return a, nil
}

// trusted are those that clients are to trust as authorities in use, that which signs first.
func (g numbered) trusted(kind string, all []authority) (list []authority) {
	for _, n := range g.journal.Kind(kind).Trusted() {
		for _, a := range all {
			if a.n == n {
				list = append(list, a)
			}
		}
	}
	return list
}

// trustedCT says whether a CT log is one that clients are to trust as a log in use.
func (g numbered) trustedCT(l ServedLog) bool {
	for _, n := range g.journal.Kind(kindCT).Trusted() {
		if (ctKey{n: n}).name() == string(l.Name) {
			return true
		}
	}
	return false
}

// inUse says whether the key of a statement is one that signs.
func (g numbered) inUse(s statement.Statement) bool {
	for _, key := range []crypto.Signer{g.caOfUse.key, g.tsaOfUse.key, g.ctOfUse().key} {
		if keys.Equal(key.Public(), s.Subject()) {
			return true
		}
	}
	return s.Role == statement.RekorV1 || s.Role == statement.RekorV2
}

// ctOfUse is the key of the CT log that the certificate authority uses.
func (g numbered) ctOfUse() ctKey {
	for _, k := range g.cts {
		if k.n == g.ctInUse {
			return k
		}
	}
	return ctKey{} // loadNumbered wants it
}

// roots are those of all certificate authorities that there were, for CT logs to accept.
func (g numbered) roots() (list []*x509.Certificate) {
	for _, a := range g.cas {
		root := a.chain[len(a.chain)-1]
		if !slices.ContainsFunc(list, root.Equal) {
			list = append(list, root)
		}
	}
	return list
}

// tufKeys returns the keys that the current root names; where it names none of those that there are, the one
// that the journal says is in use. While a key is switched the two can differ.
func tufKeys(d *instance.Dir, j *rotation.Journal, cur tuf.Release) (tuf.Keys, error) {
	var out tuf.Keys
	var named tuf.RootSigners
	if cur.Created() {
		var err error
		if named, err = tuf.SignersOf(cur.Roots[len(cur.Roots)-1].Bytes); err != nil {
			return out, err
		}
	}
	for _, r := range []struct {
		role    string
		signers tuf.Signers
		to      *crypto.Signer
	}{
		{roleTUFRoot, named.Root, &out.Root}, {roleTUFTargets, named.Targets, &out.Targets},
		{roleTUFSnapshot, named.Snapshot, &out.Snapshot}, {roleTUFTimestamp, named.Timestamp, &out.Timestamp},
	} {
		k := j.Kind(r.role)
		key, err := keys.Load(numberedKey(d, r.role, k.InUse))
		if err != nil {
			return out, err
		}
		*r.to = key
		for _, n := range k.Trusted()[1:] {
			other, err := keys.Load(numberedKey(d, r.role, n))
			if err != nil {
				return out, err
			}
			if r.signers.Names(other.Public()) {
				*r.to = other
			}
		}
	}
	return out, nil
}
