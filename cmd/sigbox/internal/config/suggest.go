package config

import (
	"reflect"
	"strings"
)

// suggest ends the error for a key that a section does not have, with the one that was meant, if
// that can be guessed.
func suggest(key, path string, section reflect.Type) string {
	plain := strings.NewReplacer("-", "", "_", "", ".", "").Replace
	best, distance := "", 3
	for _, f := range fields(section) {
		d := editDistance(plain(strings.ToLower(key)), plain(f.key))
		if d < distance && d < len(f.key)/2+1 {
			best, distance = f.key, d
		}
	}
	if best != "" {
		return "; did you mean " + best + "?"
	}
	var elsewhere []string
	for _, k := range Keys() {
		if k.Name == key && k.parent() != path {
			elsewhere = append(elsewhere, k.Path)
		}
	}
	if len(elsewhere) > 0 && len(elsewhere) <= 3 {
		return "; it belongs elsewhere: " + orList(elsewhere)
	}
	var here []string
	for _, f := range fields(section) {
		here = append(here, f.key)
	}
	return "; there are " + strings.Join(here, ", ")
}

// editDistance is the number of letters to insert, remove, replace, or swap with the next one, from
// one word to another (optimal string alignment).
func editDistance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
