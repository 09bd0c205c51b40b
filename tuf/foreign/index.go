package foreign

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/tuf"
)

// IndexName is the target that lists the foreign roots; there is none where there are none.
const IndexName = "foreign_roots.json"

const format = 1

// Index is what clients are told of the foreign roots of an instance.
type Index struct {
	Format int     `json:"format"`
	Roots  []Entry `json:"roots"` // sorted by name
}

// Entry is one of them.
type Entry struct {
	Name       string   `json:"name"`
	Target     string   `json:"target"` // in our repository
	Path       string   `json:"path"`   // of the plain file, below the origin
	SHA256     string   `json:"sha256"`
	Repository string   `json:"repository,omitempty"` // where it is from; none of one that was brought
	Root       int64    `json:"root_version,omitempty"`
	Targets    int64    `json:"targets_version,omitempty"`
	Issuers    []string `json:"issuers"`
	Taken      string   `json:"taken"` // RFC 3339, UTC, whole seconds
	Expires    string   `json:"expires"`
}

// Path is where the plain file of a foreign root is, below the origin.
func Path(name string) string { return "/trust/" + name + "/trusted_root.json" }

// Publish are the targets for these roots: each as its publisher made it, and the index; none of none.
func Publish(roots []Root) ([]tuf.Target, error) {
	if len(roots) == 0 {
		return nil, nil
	}
	ix := Index{Format: format}
	var out []tuf.Target
	for _, r := range roots {
		sum := sha256.Sum256(r.Content)
		e := Entry{
			Name: r.Name, Target: TargetOf(r.Name), Path: Path(r.Name), SHA256: hex.EncodeToString(sum[:]), Repository: r.Repository,
			Issuers: append([]string{}, r.Issuers...), Taken: r.Taken.Format(time.RFC3339), Expires: r.Expires.Format(time.RFC3339),
		}
		e.Root, e.Targets = r.Versions()
		ix.Roots = append(ix.Roots, e)
		out = append(out, tuf.Target{Name: TargetOf(r.Name), Content: r.Content})
	}
	slices.SortFunc(ix.Roots, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(ix); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	return append(out, tuf.Target{Name: IndexName, Content: b.Bytes()}), nil
}

// ReadIndex reads the index of an instance; nil bytes are an index of none. A field that a later version adds
// does no harm.
func ReadIndex(raw []byte) (ix Index, err error) {
	if raw == nil {
		return ix, nil
	}
	if err := httpx.DecodeJSON(raw, &ix, false); err != nil {
		return ix, fmt.Errorf("%w: %s: %w", ErrForeign, IndexName, err)
	}
	if ix.Format != format {
		return ix, fmt.Errorf("%w: %s: format %d: this sigbox knows %d", ErrForeign, IndexName, ix.Format, format)
	}
	for _, e := range ix.Roots {
		if err := CheckName(e.Name); err != nil {
			return ix, err
		}
	}
	return ix, nil
}

// Find returns the entry of a name, nil if it is not there.
func (ix Index) Find(name string) *Entry {
	for _, e := range ix.Roots {
		if e.Name == name {
			return &e
		}
	}
	return nil
}

// ExpiresAt is when an entry expires; the zero time of one that does not say.
func (e Entry) ExpiresAt() time.Time {
	at, err := time.Parse(time.RFC3339, e.Expires)
	if err != nil {
		return time.Time{}
	}
	return at
}

// ParseIssuers reads a list of issuers: what GET /api/v2/configuration of a Fulcio answers, or a line for each.
func ParseIssuers(raw []byte) (urls []string, err error) {
	if raw = bytes.TrimSpace(raw); bytes.HasPrefix(raw, []byte("{")) {
		var answer struct {
			Issuers []struct {
				URL      string `json:"issuerUrl"`
				Wildcard string `json:"wildcardIssuerUrl"`
			} `json:"issuers"`
		}
		if err := httpx.DecodeJSON(raw, &answer, false); err != nil {
			return nil, fmt.Errorf("%w: issuers: %w", ErrForeign, err)
		}
		for _, i := range answer.Issuers {
			urls = append(urls, i.URL+i.Wildcard)
		}
	} else {
		urls = strings.Fields(string(raw))
	}
	for _, i := range urls {
		if u, err := url.Parse(i); err != nil || u.Scheme != "https" && u.Scheme != "http" {
			return nil, fmt.Errorf("%w: issuer %.200q is no URL", ErrForeign, i)
		}
	}
	if len(urls) == 0 {
		return nil, fmt.Errorf("%w: no issuer in the list", ErrForeign)
	}
	return sorted(urls), nil
}

// Party is an instance, by name, and the issuers that its authorities take tokens of, as far as is known.
type Party struct {
	Name    string
	Issuers []string
}

// Common is an issuer for whose identities several instances issue certificates.
type Common struct {
	Issuer  string
	Parties []string // at least two
}

// Vouch lists the issuers that several parties name, by themselves or by a wildcard. Whoever trusts these
// parties in one file cannot tell which of them has seen the token.
func Vouch(parties []Party) (list []Common) {
	by := map[string][]string{}
	for _, p := range parties {
		for _, i := range sorted(p.Issuers) {
			by[i] = nil
		}
	}
	for i := range by {
		for _, p := range parties {
			if slices.ContainsFunc(p.Issuers, func(pattern string) bool { return covers(pattern, i) }) {
				by[i] = append(by[i], p.Name)
			}
		}
	}
	for _, i := range slices.Sorted(maps.Keys(by)) {
		if len(by[i]) > 1 {
			list = append(list, Common{i, by[i]})
		}
	}
	return list
}

// covers says whether an issuer, or all of a pattern of issuers, is what a pattern stands for: "*" is letters,
// digits, "-" and "_", as in Fulcio's meta issuers.
func covers(pattern, issuer string) bool {
	if pattern == issuer {
		return true
	}
	if !strings.Contains(pattern, "*") {
		return false
	}
	is, err := regexp.Compile("^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, "[-_a-zA-Z0-9*]+") + "$")
	return err == nil && is.MatchString(issuer)
}
