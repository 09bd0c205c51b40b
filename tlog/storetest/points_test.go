package storetest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"testing"
)

// TestEveryPointIsFaulted reads the points that are named in the engine: each is in the table of
// faults, and the suite fails for one that a store does not reach.
func TestEveryPointIsFaulted(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../fault.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for _, v := range spec.Values {
			point, err := strconv.Unquote(v.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			named = append(named, point)
		}
		return true
	})
	slices.Sort(named)
	if have := slices.Sorted(maps.Keys(outcomes)); len(named) == 0 || !slices.Equal(have, named) {
		t.Errorf("named in fault.go: %q; in the table of faults: %q", named, have)
	}
}
