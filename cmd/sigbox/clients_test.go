package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tuf/tuftest"
	tufweb "github.com/sigbox/sigbox/tuf/web"
)

// TestClients is the command against what an instance publishes.
func TestClients(t *testing.T) {
	now := time.Now()
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	cfg := tuftest.Config(t, clock.System{})
	repo := tuftest.Repository(t, cfg, tuftest.Material(t, srv.URL, now))
	tufweb.New("/tuf", repo.Published, nil).Register(mux)
	dir := t.TempDir()
	root, config := filepath.Join(dir, "root.json"), filepath.Join(dir, "sigbox.yaml")
	first, _ := repo.Published().File("root.json")
	for path, text := range map[string]string{root: string(first.Bytes), config: strings.ReplaceAll(tourConfig, "http://127.0.0.1:8081", srv.URL)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	foreign := tuftest.Repository(t, tuftest.Config(t, clock.System{}), tuftest.Material(t, srv.URL, now))
	other, _ := foreign.Published().File("root.json")
	if err := os.WriteFile(filepath.Join(dir, "other.json"), other.Bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	const noted = "was taken from the instance itself"
	for name, tc := range map[string]struct {
		args      []string
		want, not []string
		fails     string
	}{
		"list":              {nil, []string{"cosign-3", "admission", "pipeline", "sigbox clients NAME"}, []string{srv.URL, noted}, ""},
		"printed":           {[]string{"cosign-3", "--url", srv.URL}, []string{"---- sign.sh\n", "--fulcio-url " + srv.URL, "dev@example.com", "What it cannot do", noted}, nil, ""},
		"of a root":         {[]string{"cosign-3", "--url", srv.URL, "--root", root}, []string{"---- sign.sh\n"}, []string{noted}, ""},
		"of a config":       {[]string{"rekor-cli", "--config", config}, []string{`rekor_server: "` + srv.URL + `"`}, nil, ""},
		"chosen":            {[]string{"containers-image", "--url", srv.URL, "--identity", "a@b.c", "--image", "r.example/x"}, []string{`"subjectEmail": "a@b.c"`, `"r.example/x": [`}, nil, ""},
		"written":           {[]string{"cosign-3", "--url", srv.URL, "--out", filepath.Join(dir, "new", "out")}, []string{"wrote to ", "  root.json\n", "  sign.sh\n"}, []string{"---- "}, ""},
		"nobody":            {[]string{"cosin"}, nil, nil, `no client is called "cosin": want one of`},
		"two":               {[]string{"cosign-2", "cosign-3"}, nil, nil, "one client at a time: got cosign-2, cosign-3"},
		"another root":      {[]string{"cosign-3", "--url", srv.URL, "--root", filepath.Join(dir, "other.json")}, nil, nil, "is that the root.json of this instance"},
		"no instance":       {[]string{"cosign-3", "--url", "http://127.0.0.1:1"}, nil, nil, "is the instance running"},
		"two ways":          {[]string{"cosign-3", "--url", srv.URL, "--config", config}, nil, nil, "[config url]"},
		"no such choice":    {[]string{"cosign-3", "--url", srv.URL, "--image", "a${{b}}"}, nil, nil, "image"},
		"a file in the way": {[]string{"cosign-3", "--url", srv.URL, "--out", root}, nil, nil, "write the files of cosign-3"},
	} {
		var out strings.Builder
		cmd := rootCommand()
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs(append([]string{"clients"}, tc.args...))
		err := cmd.ExecuteContext(t.Context())
		if (err == nil) != (tc.fails == "") || err != nil && !strings.Contains(err.Error(), tc.fails) {
			t.Errorf("%s: %v", name, err)
		}
		for _, want := range tc.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: lacks %q:\n%s", name, want, out.String())
			}
		}
		for _, not := range tc.not {
			if strings.Contains(out.String(), not) {
				t.Errorf("%s: says %q:\n%s", name, not, out.String())
			}
		}
	}
	names, _ := completeClients(nil, nil, "")
	if again, _ := completeClients(nil, []string{"cosign-3"}, ""); again != nil || !slices.Contains(names, "cosign-3\tcosign 3") {
		t.Errorf("completion: %q, then %q", names, again)
	}
}
