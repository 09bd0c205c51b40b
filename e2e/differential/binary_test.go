package differential

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/sigbox/sigbox/e2e/internal/instance"
	"github.com/sigbox/sigbox/tlog/differential"
)

// up runs the binary with a new instance.
func up(t *testing.T) *instance.Instance {
	t.Helper()
	dir := t.TempDir()
	binary := os.Getenv("SIGBOX_E2E_BINARY")
	if binary == "" {
		binary = filepath.Join(dir, "sigbox")
		if err := instance.Build(t.Context(), filepath.Join("..", ".."), binary); err != nil {
			t.Fatal(err)
		}
	}
	i, err := instance.Start(context.Background(), instance.Options{
		Binary: binary, Data: filepath.Join(dir, "data"), Env: []string{"HOME=" + dir, "PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "TMPDIR=" + os.TempDir()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Stop(); err != nil {
			t.Error(err)
		}
	})
	return i
}

// ourOwn are the requests whose answer from the binary depends on what it has beside Rekor: its logs begin
// with two entries of its own, and its paths are those of several services.
var ourOwn = map[string]*regexp.Regexp{
	"rekor-v1": regexp.MustCompile(`^(methods/[A-Z]+ /api/v1/timestamp.*|empty log/(entry 0|proof to 1|retrieve)|` +
		`by index/(another parameter|first|leading zeros|minus zero|plus|second)|` +
		`retrieve/(10 indexes|10 of mixed keys|at a trailing slash|key in capitals|the same index twice|unknown key beside an index))$`),
	"rekor-v2": regexp.MustCompile(`^tiles/GET /tile/(0|entries)/000.p/[0-9]+$`),
}

// TestBinary: the whole program answers as its faces do.
func TestBinary(t *testing.T) {
	i := up(t)
	check(t, "rekor-v1", differential.NewPlayer(i.URL), differential.RekorV1(corpus(t)), differential.RekorV1Differences())
	v2 := differential.NewPlayer(i.URL)
	v2.RPC = dial(t, i.Addr)
	check(t, "rekor-v2", v2, differential.RekorV2(corpus(t)), differential.RekorV2Differences())
}

func check(t *testing.T, api string, p *differential.Player, requests []differential.Request, allowed []differential.Difference) {
	t.Helper()
	kept, err := differential.Recorded(api)
	if err != nil {
		t.Fatal(err)
	}
	answers, err := p.Play(t.Context(), requests)
	if err != nil {
		t.Fatal(err)
	}
	found, err := differential.Compare(kept.Answers, answers)
	if err != nil {
		t.Fatal(err)
	}
	own := false
	for _, d := range differential.Unlisted(found, allowed) {
		if ourOwn[api].MatchString(d.Request) {
			own = true
			continue
		}
		t.Error(d)
	}
	if !own {
		t.Errorf("the binary answers none of these otherwise: %s", ourOwn[api])
	}
}
