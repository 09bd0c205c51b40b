package figures

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestRecord(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	t.Setenv(Variable, dir)
	Record(t, "kill", time.Now().Add(-time.Minute), map[string]any{"rounds": 7})
	text, err := os.ReadFile(filepath.Join(dir, "kill.json"))
	if err != nil {
		t.Fatal(err)
	}
	var have struct {
		Test, Commit, Started string
		Seconds               float64
		Machine               struct{ CPUs int }
		Figures               struct{ Rounds int }
	}
	if err := json.Unmarshal(text, &have); err != nil {
		t.Fatal(err)
	}
	if have.Test != t.Name() || len(have.Commit) < 40 || have.Started == "" || have.Seconds < 60 || have.Machine.CPUs == 0 || have.Figures.Rounds != 7 {
		t.Errorf("%s", text)
	}
}

func TestNothingIsRecordedUnasked(t *testing.T) {
	t.Setenv(Variable, "")
	t.Chdir(t.TempDir())
	Record(t, "kill", time.Now(), nil)
	if list, err := os.ReadDir("."); err != nil || len(list) > 0 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestMilliseconds(t *testing.T) {
	if got := Milliseconds([]time.Duration{1500 * time.Microsecond}); len(got) != 1 || got[0] != 1.5 {
		t.Errorf("%v", got)
	}
}
