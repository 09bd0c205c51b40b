package differential

import (
	"fmt"
	"regexp"
	"slices"
	"sync"
)

// Difference is a way in which our answers may differ from upstream's.
type Difference struct {
	Requests string            // regular expression of their names, of all of a name
	Ours     map[string]string // by field: regular expression of all that we answer, as JSON; "" where we answer nothing
	Row      string            // the first cell of the row of docs/design/0005 or 0016 that argues it
	Differ   int               // how many requests differ in this way
}

// allows says whether a disagreement is of this kind.
func (a Difference) allows(d Disagreement) bool {
	want, listed := a.Ours[d.Field]
	return listed && whole(a.Requests).MatchString(d.Request) && whole(want).MatchString(d.Ours)
}

// Unlisted returns the disagreements that no difference allows.
func Unlisted(found []Disagreement, allowed []Difference) []Disagreement {
	return slices.DeleteFunc(slices.Clone(found), func(d Disagreement) bool {
		return slices.ContainsFunc(allowed, func(a Difference) bool { return a.allows(d) })
	})
}

// Check holds disagreements against the differences that are allowed. It returns those that are not,
// and those of the list that nothing came of, or of which there are now more or fewer than it says:
// they are stale.
func Check(found []Disagreement, allowed []Difference) (problems []string) {
	for _, d := range Unlisted(found, allowed) {
		problems = append(problems, d.String())
	}
	for _, a := range allowed {
		fields, requests := map[string]bool{}, map[string]bool{}
		for _, d := range found {
			if a.allows(d) {
				fields[d.Field], requests[d.Request] = true, true
			}
		}
		for field := range a.Ours {
			if !fields[field] {
				problems = append(problems, fmt.Sprintf("the difference in %s of %s is gone: take it out of the list, and out of the row %q of the documents", field, a.Requests, a.Row))
			}
		}
		if n := len(requests); n != a.Differ {
			problems = append(problems, fmt.Sprintf("%d requests differ as %q says, the list counts %d: %s", n, a.Row, a.Differ, a.Requests))
		}
	}
	return problems
}

// whole compiles an expression that has to match all of a text. The same few are asked for thousands of times.
func whole(expr string) *regexp.Regexp {
	if re, ok := compiled.Load(expr); ok {
		return re.(*regexp.Regexp)
	}
	re := regexp.MustCompile(`^(?s:` + expr + `)$`)
	compiled.Store(expr, re)
	return re
}

var compiled sync.Map // expression to *regexp.Regexp
