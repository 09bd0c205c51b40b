package rekorv1

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/httpx"
)

// TestAnswer: the answer is byte for byte what encoding/json makes of it.
func TestAnswer(t *testing.T) {
	whole := logEntry{
		Attestation: &attestation{[]byte("a\xff")}, Body: []byte(`{"a":"<&>"}`), IntegratedTime: 1_700_000_000, LogID: strings.Repeat("ab", 32), LogIndex: 1<<62 + 1,
		Verification: verification{
			SignedEntryTimestamp: []byte{0, 1, 2, 250},
			InclusionProof: inclusionProof{
				Checkpoint: "log.example.com - 1\n5\nAAAA\n\n\u2014 log.example.com BBBB\n", Hashes: []string{strings.Repeat("01", 32), strings.Repeat("02", 32)},
				LogIndex: 7, RootHash: strings.Repeat("cd", 32), TreeSize: 9,
			},
		},
	}
	for name, change := range map[string]func(*logEntry){
		"whole":          func(*logEntry) {},
		"no attestation": func(e *logEntry) { e.Attestation = nil },
		"no hashes":      func(e *logEntry) { e.Verification.InclusionProof.Hashes = []string{} },
		"nothing": func(e *logEntry) {
			*e = logEntry{Body: []byte{}, Verification: verification{SignedEntryTimestamp: []byte{}, InclusionProof: inclusionProof{Hashes: []string{}}}}
		},
		"negative":               func(e *logEntry) { e.IntegratedTime, e.LogIndex = -1, -1 },
		"quotes and backslashes": func(e *logEntry) { e.Verification.InclusionProof.Checkpoint = "a\"b\\c" },
		"control characters":     func(e *logEntry) { e.Verification.InclusionProof.Checkpoint = "a\x00\t\x7f" },
		"line separator":         func(e *logEntry) { e.Verification.InclusionProof.Checkpoint = "a\u2028<&>\u2029" },
		"no UTF-8":               func(e *logEntry) { e.Verification.InclusionProof.Checkpoint = "a\xffb" },
	} {
		e := whole
		change(&e)
		entries := map[string]logEntry{"0123abc": e}
		w := httptest.NewRecorder()
		httpx.WriteJSON(w, http.StatusOK, entries)
		if got, want := string(answer(entries)), w.Body.String(); got != want {
			t.Errorf("%s\n%s\n%s", name, got, want)
		}
	}
}
