package strictjson

import (
	"strings"
	"unicode"
)

// names are those of an object so far, which differ in more than letter case.
type names struct {
	few  []string
	many map[string]bool // all of them, folded, where they are not few
}

// add returns false where the name is there already.
func (n *names) add(name string) bool {
	const few = 16 // as objects have; comparing them needs no memory
	if len(n.few) < few {
		for _, have := range n.few {
			if strings.EqualFold(have, name) {
				return false
			}
		}
		if n.few == nil {
			n.few = make([]string, 0, 4)
		}
		n.few = append(n.few, name)
		return true
	}
	if n.many == nil {
		n.many = make(map[string]bool, 2*few)
		for _, have := range n.few {
			n.many[strings.Map(fold, have)] = true
		}
	}
	folded := strings.Map(fold, name)
	if n.many[folded] {
		return false
	}
	n.many[folded] = true
	return true
}

// fold maps the letters that strings.EqualFold takes for one to the first of them. encoding/json
// matches names to fields that way, so a lower-case copy is not enough: "ſpec" is "spec" to it.
func fold(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
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
