package strictjson

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// names are those so far of the objects that are open. Those of one object differ in more than letter case.
type names struct {
	open []string
	from int             // where those of the innermost object begin
	many map[string]bool // all of the innermost object, folded, where they are not few
}

// around is what names were about before an object.
type around struct {
	from int
	many map[string]bool
}

// enter begins an object.
func (n *names) enter() around {
	a := around{n.from, n.many}
	n.from, n.many = len(n.open), nil
	return a
}

// leave ends the object that enter began.
func (n *names) leave(a around) {
	clear(n.open[n.from:])
	n.open = n.open[:n.from]
	n.from, n.many = a.from, a.many
}

// add returns an error where the name is there already, and where there are too many.
func (n *names) add(name string) error {
	const few = 16 // as objects have; comparing them needs no memory
	here := n.open[n.from:]
	switch {
	case len(n.open) == maxValues:
		return ErrMany
	case len(here) < few:
		for _, have := range here {
			if sameName(have, name) {
				return ErrDuplicate
			}
		}
	default:
		if n.many == nil {
			n.many = make(map[string]bool, 2*few)
			for _, have := range here {
				n.many[strings.Map(fold, have)] = true
			}
		}
		folded := strings.Map(fold, name)
		if n.many[folded] {
			return ErrDuplicate
		}
		n.many[folded] = true
	}
	if n.open == nil {
		n.open = make([]string, 0, few)
	}
	n.open = append(n.open, name)
	return nil
}

// sameName is strings.EqualFold, which has more to do where the first letters are not the same.
func sameName(a, b string) bool {
	if a != "" && b != "" && a[0] < utf8.RuneSelf && b[0] < utf8.RuneSelf && lower(a[0]) != lower(b[0]) {
		return false
	}
	return strings.EqualFold(a, b)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// fold maps the letters that strings.EqualFold takes for one to one of them, the lower-case one of ASCII. encoding/json
// matches names to fields that way, so a lower-case copy is not enough: "ſpec" is "spec" to it.
func fold(r rune) rune {
	if r < utf8.RuneSelf {
		return rune(lower(byte(r)))
	}
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			if next < utf8.RuneSelf {
				return rune(lower(byte(next)))
			}
			return next
		}
		r = next
	}
}

// Member returns the member of an object that encoding/json decodes into a field of that name: the one whose name
// is equal, letter case aside. A value that [Parse] made has one at most.
func Member(object map[string]any, name string) any {
	if v, ok := object[name]; ok {
		return v
	}
	for have, v := range object {
		if strings.EqualFold(have, name) {
			return v
		}
	}
	return nil
}
