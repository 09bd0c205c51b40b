package differential

import (
	"fmt"
	"regexp"
	"slices"
)

// Difference is a way in which our answers may differ from upstream's.
type Difference struct {
	Requests string            // regular expression of their names, of all of a name
	Ours     map[string]string // by field: regular expression of all that we answer, as JSON; "" where we answer nothing
	Row      string            // the first cell of the row of docs/design/0005 or 0016 that argues it
	Differ   int               // how many requests differ in this way
}

// rule is a Difference with its expressions compiled.
type rule struct {
	requests *regexp.Regexp
	ours     map[string]*regexp.Regexp
}

func rules(allowed []Difference) []rule {
	whole := func(expr string) *regexp.Regexp { return regexp.MustCompile(`^(?s:` + expr + `)$`) }
	var out []rule
	for _, a := range allowed {
		r := rule{whole(a.Requests), map[string]*regexp.Regexp{}}
		for field, expr := range a.Ours {
			r.ours[field] = whole(expr)
		}
		out = append(out, r)
	}
	return out
}

// allows says whether a disagreement is of this kind.
func (r rule) allows(d Disagreement) bool {
	want := r.ours[d.Field]
	return want != nil && want.MatchString(d.Ours) && r.requests.MatchString(d.Request)
}

// Unlisted returns the disagreements that no difference allows.
func Unlisted(found []Disagreement, allowed []Difference) []Disagreement {
	all := rules(allowed)
	return slices.DeleteFunc(slices.Clone(found), func(d Disagreement) bool {
		return slices.ContainsFunc(all, func(r rule) bool { return r.allows(d) })
	})
}

// Check holds disagreements against the differences that are allowed. It returns those that are not,
// and those of the list that nothing came of, or of which there are now more or fewer than it says:
// they are stale.
func Check(found []Disagreement, allowed []Difference) (problems []string) {
	for _, d := range Unlisted(found, allowed) {
		problems = append(problems, d.String())
	}
	for i, r := range rules(allowed) {
		a, fields, requests := allowed[i], map[string]bool{}, map[string]bool{}
		for _, d := range found {
			if r.allows(d) {
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
