package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestBadInputForTrustIsThere: the rows of the catalogue for the TUF repository, for administration and ceremonies, and
// TUF's advisories, are in docs/bad-input.md with a test each. That these tests exist is for TestBadInputIsTested.
func TestBadInputForTrustIsThere(t *testing.T) {
	text, err := os.ReadFile("../../docs/bad-input.md")
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{"CVE-2022-29173", "CVE-2024-47534", "CVE-2026-23991", "CVE-2026-23992", "CVE-2026-24686", "go-tuf f5edbde", "CVE-2020-15163", "CVE-2021-41131", "CVE-2020-6173"}
	for n := 203; n <= 220; n++ {
		ids = append(ids, fmt.Sprintf("B-%d", n))
	}
	for n := 1; n <= 6; n++ {
		ids = append(ids, fmt.Sprintf("AG-%d", n))
	}
	for _, id := range ids {
		_, row, found := strings.Cut(string(text), "\n| "+id+" | ")
		row, _, _ = strings.Cut(row, "\n")
		if !found || !quoted.MatchString(row) {
			t.Errorf("%s has no test", id)
		}
	}
}
