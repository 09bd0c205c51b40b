package record_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/record"
)

type kills struct {
	Rounds int `json:"rounds"`
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	t.Setenv("SIGBOX_FIGURES", dir)
	if err := record.Write("kill", t.Name(), time.Now().Add(-time.Minute), kills{7}); err != nil {
		t.Fatal(err)
	}
	f, err := record.Read[kills](filepath.Join(dir, "kill.json"))
	if err != nil {
		t.Fatal(err)
	}
	if f.Test != t.Name() || len(f.Commit) < 40 || f.Started == "" || f.Seconds < 60 || f.Machine.CPUs == 0 || f.Figures.Rounds != 7 {
		t.Errorf("%+v", f)
	}
}

func TestNothingIsWrittenUnasked(t *testing.T) {
	t.Setenv("SIGBOX_FIGURES", "")
	t.Chdir(t.TempDir())
	if err := record.Write("kill", t.Name(), time.Now(), kills{}); err != nil {
		t.Error(err)
	}
	if list, err := os.ReadDir("."); err != nil || len(list) > 0 {
		t.Errorf("%v, %v", list, err)
	}
}
