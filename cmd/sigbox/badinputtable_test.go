package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// catalogued are the ids that docs/bad-input.md must have: those of the catalogue for tokens, Fulcio, the CT
// log, Rekor, timestamps, the TUF repository, administration and ceremonies, and the published advisories of those
// and of what they stand on.
func catalogued() (ids []string) {
	for n := 29; n <= 220; n++ {
		ids = append(ids, fmt.Sprintf("B-%03d", n))
	}
	for n := 1; n <= 6; n++ {
		ids = append(ids, fmt.Sprintf("AG-%d", n))
	}
	return append(ids, "CVE-2023-30551", "CVE-2023-33199", "CVE-2026-23831", "CVE-2026-24117", "CVE-2026-48702", "GHSA-843x-px86-vq42",
		"rekor-tiles 0e3a969", "rekor-tiles 7687c8d",
		"CVE-2025-66506", "CVE-2026-22772", "CVE-2026-49478", // Fulcio
		"CVE-2025-66564", "CVE-2026-39984", "CVE-2026-49835", "timestamp-authority d8d3497", "timestamp-authority 449884a",
		"CVE-2025-27144", "CVE-2024-28180", "CVE-2016-9121", "go-jose 5348b9a", "CVE-2024-51744", "go-oidc",
		"CVE-2026-27137", "CVE-2024-45341", "CVE-2025-58187", "CVE-2025-58188", "CVE-2024-24783", "CVE-2025-22874", "CVE-2025-58185", "CVE-2025-61723",
		"CVE-2022-29173", "CVE-2024-47534", "CVE-2026-23991", "CVE-2026-23992", "CVE-2026-24686", "go-tuf f5edbde", // TUF
		"CVE-2020-15163", "CVE-2021-41131", "CVE-2020-6173")
}

var quoted = regexp.MustCompile("`([^`]+)`")

// TestBadInputIsTested: every id of the catalogue has a row in docs/bad-input.md, and every test that a row names
// is there, with its own row where one is named.
func TestBadInputIsTested(t *testing.T) {
	const root = "../.."
	text, err := os.ReadFile(filepath.Join(root, "docs/bad-input.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(line, "|\n "), " | ")
		if len(cells) != 4 || cells[0] == "id" {
			continue
		}
		if rows[cells[0]] != nil {
			t.Errorf("%s is there twice", cells[0])
		}
		for _, m := range quoted.FindAllStringSubmatch(cells[3], -1) {
			rows[cells[0]] = append(rows[cells[0]], m[1])
		}
	}
	for _, id := range catalogued() {
		if len(rows[id]) == 0 {
			t.Errorf("%s has no test", id)
		}
	}
	packages := map[string]tests{}
	for id, names := range rows {
		for _, name := range names {
			dir, test, _ := strings.Cut(name, " ")
			if dir == "absent" {
				if _, err := os.Stat(filepath.Join(root, test)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: package %s is there (%v): name its tests", id, test, err)
				}
				continue
			}
			if _, ok := packages[dir]; !ok {
				packages[dir] = readTests(t, filepath.Join(root, dir))
			}
			function, row, _ := strings.Cut(test, "/")
			if !packages[dir].functions[function] {
				t.Errorf("%s: there is no %s in %s", id, function, dir)
			}
			if row != "" && !packages[dir].texts[row] {
				t.Errorf("%s: %s in %s has no row %q", id, function, dir, row)
			}
		}
	}
}

// tests are the functions and the string literals of a package's tests.
type tests struct{ functions, texts map[string]bool }

// readTests reads the test files of a package, and all files of the suites that other packages' tests run.
func readTests(t *testing.T, dir string) tests {
	t.Helper()
	out := tests{map[string]bool{}, map[string]bool{}}
	pattern := "*_test.go"
	if filepath.Base(dir) == "logtest" || filepath.Base(dir) == "storetest" {
		pattern = "*.go"
	}
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) == 0 {
		t.Errorf("no tests in %s (%v)", dir, err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				out.functions[n.Name.Name] = true
			case *ast.BasicLit:
				if s, err := strconv.Unquote(n.Value); n.Kind == token.STRING && err == nil {
					out.texts[s] = true
				}
			}
			return true
		})
	}
	return out
}
