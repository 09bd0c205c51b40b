package ceremony

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/statement"
	"github.com/sigbox/sigbox/tuf/trustroot"
)

// Words says what a signature would mean, in lines for a person: the whole of what would be
// published, each line marked with what becomes of it.
//
//   - new    - gone    ~ changed    = as before
//
// It is made from the bytes to be signed and from those of the set before, both of which Parse has
// verified; text in them is quoted where it could do anything to a terminal.
func (r *Request) Words() (string, error) {
	var b strings.Builder
	id := r.ID()
	fmt.Fprintf(&b, "request  %x\ninstance %s\nmade     %s, good until %s\n", id, plain(r.Instance), statement.Stamp(r.Made), statement.Stamp(r.GoodUntil))
	if r.Base == nil {
		b.WriteString("follows  nothing: this is the first set\n")
	} else {
		fmt.Fprintf(&b, "follows  root version %d (SHA-256 %x)\n         targets version %d (SHA-256 %x)\n", r.parsed.baseRoot.Signed.Version, sha256.Sum256(r.Base.Root),
			r.parsed.baseTargets.Signed.Version, sha256.Sum256(r.Base.Targets))
	}
	r.rootWords(&b)
	if err := r.targetsWords(&b); err != nil {
		return "", fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return b.String(), nil
}

// line is one thing of a list, known by name, with what may change about it.
type line struct{ name, detail string }

// compare writes the lines of next, marked by those of prev, then those that are gone. Names may be
// there more than once: two authorities at one address.
func compare(b *strings.Builder, prev, next []line) {
	rest := slices.Clone(prev)
	take := func(is func(line) bool) (l line, ok bool) {
		i := slices.IndexFunc(rest, is)
		if i < 0 {
			return line{}, false
		}
		l = rest[i]
		rest = slices.Delete(rest, i, i+1) // in place: l is read before
		return l, true
	}
	kept := make([]bool, len(next)) // those that are the same are no candidates for a change
	for i, n := range next {
		_, kept[i] = take(func(p line) bool { return p == n })
	}
	for i, n := range next {
		old, changed := line{}, false
		if !kept[i] {
			old, changed = take(func(p line) bool { return p.name == n.name })
		}
		switch {
		case kept[i]:
			fmt.Fprintf(b, "  = %s%s\n", n.name, n.detail)
		case changed:
			fmt.Fprintf(b, "  ~ %s%s\n      was%s\n", n.name, n.detail, old.detail)
		default:
			fmt.Fprintf(b, "  + %s%s\n", n.name, n.detail)
		}
	}
	for _, p := range rest {
		fmt.Fprintf(b, "  - %s%s\n", p.name, p.detail)
	}
}

func (r *Request) rootWords(b *strings.Builder) {
	p := r.parsed
	if p.root == nil {
		fmt.Fprintf(b, "\nroot stays at version %d, expires %s\n", p.baseRoot.Signed.Version, statement.Stamp(p.baseRoot.Signed.Expires))
		return
	}
	fmt.Fprintf(b, "\nroot version %d, expires %s: who signs what\n", p.root.Signed.Version, statement.Stamp(p.root.Signed.Expires))
	compare(b, signerLines(p.baseRoot), signerLines(p.root))
}

func signerLines(m *metadata.Metadata[metadata.RootType]) (list []line) {
	if m == nil {
		return nil
	}
	for _, role := range []string{tuf.Root, tuf.Targets, tuf.Snapshot, tuf.Timestamp} {
		named := m.Signed.Roles[role]
		list = append(list, line{role, fmt.Sprintf(": %d of %d keys must sign", named.Threshold, len(named.KeyIDs))})
		for _, id := range slices.Sorted(slices.Values(named.KeyIDs)) {
			list = append(list, line{"  key of " + role + " " + plain(id), ""})
		}
	}
	return list
}

func (r *Request) targetsWords(b *strings.Builder) error {
	p := r.parsed
	if p.targets == nil {
		fmt.Fprintf(b, "\ntargets stay at version %d, expire %s\n", p.baseTargets.Signed.Version, statement.Stamp(p.baseTargets.Signed.Expires))
		return nil
	}
	fmt.Fprintf(b, "\ntargets version %d, expire %s: what clients will trust\n", p.targets.Signed.Version, statement.Stamp(p.targets.Signed.Expires))
	next, err := record.Parse(r.Record)
	if err != nil {
		return err
	}
	var before []tuf.Blob
	var prev record.Record
	if r.Base != nil {
		before = r.Base.Contents
		if prev, err = record.Parse(r.Base.Record); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		title string
		lines func([]tuf.Blob, record.Record) ([]line, error)
	}{
		{"", trustLines},
		{"\nwhere clients will sign (" + trustroot.SigningConfigName + ")\n", signLines(trustroot.SigningConfigName)},
		{"\nand with Rekor v2 (" + trustroot.SigningConfigV2Name + ")\n", signLines(trustroot.SigningConfigV2Name)},
		{"\ntrust roots of others, served beside this one\n", foreignLines},
		{"\nfiles of targets, by SHA-256\n", fileLines},
	} {
		was, err := part.lines(before, prev)
		if err != nil {
			return err
		}
		is, err := part.lines(r.Contents, next)
		if err != nil {
			return err
		}
		if len(was)+len(is) > 0 {
			b.WriteString(part.title)
			compare(b, was, is)
		}
	}
	return nil
}

func content(list []tuf.Blob, name string) []byte {
	for _, c := range list {
		if c.Name == name {
			return c.Content
		}
	}
	return nil
}

// trustLines are what trusted_root.json says. The origin of a log is not in that file: it is what the
// record of the same set says, which the approval signs.
func trustLines(contents []tuf.Blob, rec record.Record) (list []line, err error) {
	raw := content(contents, trustroot.TrustedRootName)
	if raw == nil {
		return nil, nil
	}
	services, err := trustroot.ReadTrustedRoot(raw)
	if err != nil {
		return nil, err
	}
	for _, s := range services {
		l := line{fmt.Sprintf("%s key %x", s.Kind, s.KeyID), fmt.Sprintf("\n      at %s, %s", plain(s.URL), s.Valid)}
		if s.Chain != ([32]byte{}) {
			l.detail += fmt.Sprintf("\n      chain %x", s.Chain)
		}
		for _, k := range rec.Keys {
			if k.ID() != s.KeyID {
				continue
			}
			if k.Origin != "" {
				l.detail += fmt.Sprintf("\n      %s, origin %s", k.Role, plain(k.Origin))
			}
			if k.Adopted {
				l.detail += "\n      adopted: it verifies what another instance signed, and nobody has shown to have its key"
			}
		}
		list = append(list, l)
	}
	return list, nil
}

func signLines(name string) func([]tuf.Blob, record.Record) ([]line, error) {
	return func(contents []tuf.Blob, _ record.Record) (list []line, err error) {
		raw := content(contents, name)
		if raw == nil {
			return nil, nil
		}
		services, err := trustroot.ReadSigningConfig(raw)
		if err != nil {
			return nil, err
		}
		for _, s := range services {
			list = append(list, line{s.Kind + " " + plain(s.URL), ", " + s.Valid.String()})
		}
		return list, nil
	}
}

func fileLines(contents []tuf.Blob, _ record.Record) (list []line, err error) {
	for _, c := range contents {
		list = append(list, line{plain(c.Name), fmt.Sprintf(" %x", sha256.Sum256(c.Content))})
	}
	return list, nil
}

// foreignLines are the trust roots of others, and what each makes those clients trust that ask for it.
func foreignLines(_ []tuf.Blob, rec record.Record) (list []line, err error) {
	for _, f := range rec.Foreign {
		from := "a file that was brought"
		if root, targets := f.Versions(); f.FromRepository() {
			from = fmt.Sprintf("target %s, root version %d (SHA-256 %x), targets version %d", plain(f.Target), root, sha256.Sum256(f.Roots[len(f.Roots)-1]), targets)
			if f.Repository != "" {
				from += "\n      of " + plain(f.Repository)
			}
		}
		list = append(list, line{"foreign root " + f.Name, fmt.Sprintf(", good until %s\n      %s", statement.Stamp(f.Expires), from)})
		services, err := trustroot.ReadTrustedRoot(f.Content)
		if err != nil {
			return nil, err
		}
		for _, s := range services {
			l := line{fmt.Sprintf("  %s: %s key %x", f.Name, s.Kind, s.KeyID), fmt.Sprintf("\n      at %s, %s", plain(s.URL), s.Valid)}
			if s.Chain != ([32]byte{}) {
				l.detail += fmt.Sprintf("\n      chain %x", s.Chain)
			}
			list = append(list, l)
		}
		for _, i := range f.Issuers {
			list = append(list, line{"  " + f.Name + ": takes tokens of " + plain(i), ""})
		}
	}
	return list, nil
}

// plain quotes what is not plain printable ASCII.
func plain(s string) string {
	if q := strconv.QuoteToASCII(s); q != `"`+s+`"` {
		return q
	}
	return s
}
