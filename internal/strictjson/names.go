package strictjson

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// few is how many names an object has at most that are compared one by one.
const few = 16

// names are those so far of the objects that are open. Those of one object differ in more than letter case.
type names struct {
	first [few]string     // of those that are open; as many as most values have, so that they need no memory of their own
	more  []string        // that came after them
	n     int             // how many are open
	from  int             // where those of the innermost object begin
	many  map[string]bool // all of the innermost object, folded, where they are not few
}

// around is what names were about before an object.
type around struct {
	from int
	many map[string]bool
}

// enter begins an object.
func (n *names) enter() around {
	a := around{n.from, n.many}
	n.from, n.many = n.n, nil
	return a
}

// leave ends the object that enter began.
func (n *names) leave(a around) {
	if n.n > few {
		n.more = n.more[:max(n.from-few, 0)]
	}
	n.n = n.from
	n.from, n.many = a.from, a.many
}

// at returns the name at a place.
func (n *names) at(i int) string {
	if i < few {
		return n.first[i]
	}
	return n.more[i-few]
}

// add returns an error where the name is there already, and where there are too many.
func (n *names) add(name string) error {
	switch {
	case n.n == maxValues:
		return ErrMany
	case n.n-n.from < few:
		for i := n.from; i < n.n; i++ {
			if sameName(n.at(i), name) {
				return ErrDuplicate
			}
		}
	default:
		if n.many == nil {
			n.many = make(map[string]bool, 2*few)
			for i := n.from; i < n.n; i++ {
				n.many[strings.Map(fold, n.at(i))] = true
			}
		}
		folded := strings.Map(fold, name)
		if n.many[folded] {
			return ErrDuplicate
		}
		n.many[folded] = true
	}
	if n.n < few {
		n.first[n.n] = name
	} else {
		n.more = append(n.more, name)
	}
	n.n++
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
