package differential

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sigbox/sigbox/tlog/tile"
)

const (
	treeLen = 16 // hex digits of a tree id
	idLen   = 80 // hex digits of an entry id
)

var (
	hexID      = regexp.MustCompile(`[0-9a-f]{80}|[0-9a-f]{64}`)
	hexHash    = regexp.MustCompile(`^[0-9a-f]{64}$`)
	methodList = regexp.MustCompile(`\[(GET|POST),(GET|POST)\]`)
	withIndex  = regexp.MustCompile(`with index \d+`)
	observable = regexp.MustCompile(`observable\(\d+\)`)
	v1Head     = regexp.MustCompile(`^[^ \n]+ - [0-9]+\n[0-9]+\n[A-Za-z0-9+/]{43}=\n\n— [^ \n]+ [A-Za-z0-9+/]+=*\n$`)
	v2Head     = regexp.MustCompile(`^[^ \n]+\n[0-9]+\n[A-Za-z0-9+/]{43}=\n\n— [^ \n]+ [A-Za-z0-9+/]+=*\n$`)
)

// learn takes from an answer what later requests and answers name.
func (p *Player) learn(row string, v any) {
	m, ok := v.(map[string]any)
	if !ok {
		return
	}
	if tree, ok := m["treeID"].(string); ok {
		p.tree = tree
	}
	if tle, ok := m["canonicalizedBody"].(string); ok { // Rekor v2
		p.learnEntry(row, strings.Repeat("0", treeLen)+leafHash(tle), m["logIndex"])
		return
	}
	for id, e := range m {
		entry, ok := e.(map[string]any)
		if ok && len(id) == idLen && hexID.MatchString(id) {
			if s, ok := entry["logID"].(string); ok && hexHash.MatchString(s) {
				p.logID = s
			}
			p.learnEntry(row, id, entry["logIndex"])
		}
	}
}

func (p *Player) learnEntry(row, id string, index any) {
	if p.names[id[treeLen:]] != "" {
		return // an earlier row made it
	}
	p.ids[row], p.names[id[treeLen:]], p.indexes[fmt.Sprint(index)] = id, row, row
}

// text puts names into a line of text.
func (p *Player) text(s string) string {
	s = hexID.ReplaceAllStringFunc(s, func(h string) string {
		if row := p.names[h[len(h)-64:]]; row != "" {
			if len(h) == idLen {
				return "{{id:" + row + "}}"
			}
			return "{{uuid:" + row + "}}"
		}
		return h
	})
	if p.tree != "" {
		s = strings.ReplaceAll(s, p.tree, "{{tree}}")
	}
	s = methodList.ReplaceAllStringFunc(s, func(list string) string { // upstream has them in any order
		names := strings.Split(strings.Trim(list, "[]"), ",")
		slices.Sort(names)
		return "[" + strings.Join(names, ",") + "]"
	})
	s = withIndex.ReplaceAllStringFunc(s, func(m string) string {
		n := m[len("with index "):]
		if p.indexes[n] == "" {
			return m
		}
		return "with index {{index:" + p.indexes[n] + "}}"
	})
	s = strings.ReplaceAll(s, "\u00a0", " ") // protojson strews them in at random
	return observable.ReplaceAllString(s, "observable(<size>)")
}

// plain puts names into a body that is no JSON.
func (p *Player) plain(s string) any {
	switch {
	case strings.HasPrefix(s, "-----BEGIN PUBLIC KEY-----\n") && strings.HasSuffix(s, "\n-----END PUBLIC KEY-----\n"):
		return "<public key>"
	case v2Head.MatchString(s):
		return "<checkpoint>"
	case strings.Contains(s, "<html"):
		return "<page>"
	case !utf8.ValidString(s):
		return "<bytes> " + base64.StdEncoding.EncodeToString([]byte(s))
	}
	return p.text(s)
}

// value puts names into JSON. key is that of the member that v is, or whose list it is in.
func (p *Player) value(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, member := range v {
			out[p.text(k)] = p.value(k, member)
		}
		return out
	case []any:
		return p.list(key, v)
	case string:
		if key == "" { // all of the body
			return p.plain(v)
		}
		return p.member(key, v)
	case json.Number:
		return p.number(key, v.String(), v)
	}
	return v
}

func (p *Player) list(key string, v []any) any {
	if key == "hashes" {
		for _, h := range v {
			if s, ok := h.(string); !ok || !isHash(s) {
				return v
			}
		}
		return "<hashes>" // how many depends on the size
	}
	out := make([]any, 0, len(v))
	ids := true
	for _, item := range v {
		s, ok := item.(string)
		ids = ids && ok && len(s) == idLen
		out = append(out, p.value(key, item))
	}
	if ids { // what a search found, in no order
		slices.SortFunc(out, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	}
	return out
}

// member puts names into a string that is the member key of an object.
func (p *Player) member(key, s string) any {
	switch key {
	case "logID":
		if s == p.logID && s != "" {
			return "<log id>"
		}
	case "rootHash":
		if isHash(s) {
			return "<hash>"
		}
	case "signedEntryTimestamp", "keyId":
		if b, err := base64.StdEncoding.DecodeString(s); err == nil && len(b) > 0 {
			return "<" + key + ">"
		}
	case "signedTreeHead", "checkpoint", "envelope":
		if v1Head.MatchString(s) || key == "envelope" && v2Head.MatchString(s) {
			return "<checkpoint>"
		}
	case "body", "data", "canonicalizedBody":
		if b, err := base64.StdEncoding.DecodeString(s); err == nil && utf8.Valid(b) && s != "" {
			return "<base64 of> " + string(b)
		}
	case "logIndex", "treeSize": // Rekor v2 writes integers of 64 bits as strings
		return p.number(key, s, s)
	}
	return p.text(s)
}

// isHash says so of 32 bytes, which Rekor v1 writes in hex and v2 in base64.
func isHash(s string) bool {
	b, err := base64.StdEncoding.DecodeString(s)
	return hexHash.MatchString(s) || err == nil && len(b) == 32
}

// number puts names into a number; it is v as it stands in the answer.
func (p *Player) number(key, text string, v any) any {
	switch key {
	case "integratedTime":
		if len(text) == 10 {
			return "<time>"
		}
	case "treeSize":
		if n, err := strconv.ParseUint(text, 10, 63); err == nil && text == strconv.FormatUint(n, 10) {
			return "<size>"
		}
	case "logIndex":
		if row := p.indexes[text]; row != "" {
			return "{{index:" + row + "}}"
		}
	}
	return v
}

// leafHash returns the UUID of a body in base64, in hex.
func leafHash(body string) string {
	b, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		return strings.Repeat("0", 64)
	}
	h := tile.LeafHash(b)
	return hex.EncodeToString(h[:])
}
