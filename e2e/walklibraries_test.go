package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// byLibrary refreshes from the root of a month at a reference time. It returns the versions that the library came
// to, as scripts print them.
func (a *aged) byLibrary(t *testing.T, library string, month int, at time.Time) (versions string, err error) {
	t.Helper()
	if library == "go-tuf" {
		return refresh(a.mirror, filepath.Join(a.months, fmt.Sprintf("month%d", month)), at)
	}
	r, env := a.visit(t, month)
	command := map[string]string{"python-tuf": "pytuf", "tuf-js": "jstuf"}[library]
	out, err := shell(walking+`cp -r "$MONTHS/month$N" kept; set +x; `+command+` "$MONTHS/month$N/root.json" kept `+at.Format(time.RFC3339), append(env, "WORK="+r.work))
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return lines[len(lines)-1], nil
}

func (a *aged) everyLibrary(t *testing.T, when string, at time.Time, judge func(t *testing.T, versions string, err error)) {
	t.Helper()
	for _, library := range []string{"go-tuf", "python-tuf", "tuf-js"} {
		for _, month := range months {
			t.Run(fmt.Sprintf("%s from %d, %s", library, month, when), func(t *testing.T) {
				versions, err := a.byLibrary(t, library, month, at)
				judge(t, versions, err)
			})
		}
	}
}

// takes wants every library to come to the newest set.
func (a *aged) takes(t *testing.T, when string, at time.Time) {
	t.Helper()
	newest := a.newest(t)
	a.everyLibrary(t, when, at, func(t *testing.T, versions string, err error) {
		if err != nil || versions != newest {
			t.Errorf("%q, want %q: %v", versions, newest, err)
		}
	})
}

// refuses wants every library to say that a role has expired.
func (a *aged) refuses(t *testing.T, when, role string, at time.Time) {
	t.Helper()
	a.everyLibrary(t, when, at, func(t *testing.T, versions string, err error) {
		if err == nil || !regexp.MustCompile(`(?i)\b`+role+`(\.json)? is expired`).MatchString(err.Error()) {
			t.Errorf("%q, %v; want that %s is expired", versions, err, role)
		}
	})
}

// signedPart is what is read of any metadata.
type signedPart struct {
	Signed struct {
		Version int64                              `json:"version"`
		Expires time.Time                          `json:"expires"`
		Meta    map[string]struct{ Version int64 } `json:"meta"`
	} `json:"signed"`
}

// expires is when a role that has a plain name, root or timestamp, expires.
func (a *aged) expires(t *testing.T, role string) time.Time {
	t.Helper()
	raw, err := published(a.mirror, role+".json")
	if err != nil {
		t.Fatal(err)
	}
	var m signedPart
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return m.Signed.Expires
}

var errNotFound = errors.New("not found")

func published(mirror, name string) ([]byte, error) {
	res, err := http.Get(mirror + "/" + name)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusNotFound {
		return nil, errNotFound
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", name, res.Status)
	}
	return io.ReadAll(res.Body)
}

// refresh is the workflow of go-tuf v2 at a time: it begins with the files in a directory.
func refresh(mirror, dir string, at time.Time) (versions string, err error) {
	held := func(name string) []byte {
		raw, readErr := os.ReadFile(filepath.Join(dir, name))
		err = errors.Join(err, readErr)
		return raw
	}
	root, timestamp := held("root.json"), held("timestamp.json")
	if err != nil {
		return "", err
	}
	set, err := trustedmetadata.New(root)
	if err != nil {
		return "", err
	}
	set.RefTime = at
	for {
		raw, err := published(mirror, fmt.Sprintf("%d.root.json", set.Root.Signed.Version+1))
		if errors.Is(err, errNotFound) {
			break
		}
		if err != nil {
			return "", err
		}
		if _, err := set.UpdateRoot(raw); err != nil {
			return "", err
		}
	}
	_, _ = set.UpdateTimestamp(timestamp) // counts where its key does still; it has expired in any case
	raw, err := published(mirror, "timestamp.json")
	if err == nil {
		_, err = set.UpdateTimestamp(raw)
	}
	if err != nil {
		return "", err
	}
	raw, err = published(mirror, fmt.Sprintf("%d.snapshot.json", set.Timestamp.Signed.Meta["snapshot.json"].Version))
	if err == nil {
		_, err = set.UpdateSnapshot(raw, false)
	}
	if err != nil {
		return "", err
	}
	raw, err = published(mirror, fmt.Sprintf("%d.targets.json", set.Snapshot.Signed.Meta["targets.json"].Version))
	if err == nil {
		_, err = set.UpdateTargets(raw)
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("root %d timestamp %d snapshot %d targets %d", set.Root.Signed.Version, set.Timestamp.Signed.Version,
		set.Snapshot.Signed.Version, set.Targets["targets"].Signed.Version), nil
}
