package clients

import (
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

func served(t *testing.T, published func() *tuf.Published) *httptest.Server {
	t.Helper()
	p, err := NewPage(origin+"/tuf", published, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	p.Register(mux)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// TestPage: every client is in the list, and its page and its downloads are what the command line writes;
// nothing is loaded from elsewhere, and what runs is what the policy names.
func TestPage(t *testing.T) {
	now := time.Now()
	repo := tuftest.Repository(t, tuftest.Config(t, clock.NewManual(now)), tuftest.Material(t, origin, now))
	s := served(t, repo.Published)
	const query = "?identity=ci%40example.com&image=registry.example.com%2Fa"
	i, err := FromTrust(Published(repo.Published(), origin+"/tuf"), Choices{Image: "registry.example.com/a", Identity: "ci@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	_, list := get(t, s.URL+"/clients"+query)
	for _, c := range all(t) {
		if !strings.Contains(list, `href="/clients/`+c.Name+`?`) {
			t.Errorf("the list lacks %s", c.Name)
		}
		want, err := c.Render(i)
		if err != nil {
			t.Fatal(err)
		}
		res, page := get(t, s.URL+"/clients/"+c.Name+query)
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", c.Name, res.Status)
		}
		for _, f := range want.Files {
			if !strings.Contains(html.UnescapeString(page), f.Text) {
				t.Errorf("the page of %s lacks %s", c.Name, f.Path)
			}
			res, text := get(t, s.URL+"/clients/"+c.Name+"/"+f.Path+query)
			if text != f.Text || !strings.HasPrefix(res.Header.Get("Content-Disposition"), "attachment") || res.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s/%s: %v", c.Name, f.Path, res.Header)
			}
		}
		if !strings.Contains(html.UnescapeString(page), want.Command) || !strings.Contains(page, want.Evidence) {
			t.Errorf("the page of %s lacks %q or %q", c.Name, want.Command, want.Evidence)
		}
		harmless(t, c.Name, res, page)
	}
}

// harmless wants nothing loaded from elsewhere, and a policy that names exactly what the page holds.
func harmless(t *testing.T, name string, res *http.Response, page string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?:src|href|action)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(m[1], "/clients") {
			t.Errorf("%s: the page refers to %s", name, m[1])
		}
	}
	policy := res.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") {
		t.Errorf("%s: policy %s", name, policy)
	}
	for _, tag := range []string{"style", "script"} {
		m := regexp.MustCompile(`(?s)<`+tag+`>(.*?)</`+tag+`>`).FindAllStringSubmatch(page, -1)
		if len(m) != 1 || !strings.Contains(policy, fmt.Sprintf("%s-src '%s'", tag, digest(m[0][1]))) {
			t.Errorf("%s: what is in <%s> is not what the policy names", name, tag)
		}
	}
}

func TestPageRefuses(t *testing.T) {
	now := time.Now()
	repo := tuftest.Repository(t, tuftest.Config(t, clock.NewManual(now)), tuftest.Material(t, origin, now))
	s, empty := served(t, repo.Published), served(t, func() *tuf.Published { return nil })
	for name, tc := range map[string]struct {
		url    string
		status int
		says   string
	}{
		"no such client":     {s.URL + "/clients/nobody", 404, "/clients has the list"},
		"no such file":       {s.URL + "/clients/cosign-3/nothing", 404, "no such file"},
		"a path upwards":     {s.URL + "/clients/cosign-3/..%2fcosign-2%2fsign.sh", 404, "no such file"},
		"markup as an image": {s.URL + "/clients/cosign-3?image=%3Cscript%3E", 400, "image"},
		"an expression":      {s.URL + "/clients/cosign-3/sign.sh?identity=$%7B%7Bx%7D%7D", 400, "identity"},
		"two lines":          {s.URL + "/clients/cosign-3?issuer=a%0Ab", 400, "issuer"},
		"too long":           {s.URL + "/clients?identity=" + strings.Repeat("a", 301), 400, "identity"},
		"nothing published":  {empty.URL + "/clients/cosign-3", 503, "not published yet"},
		"the list, though":   {empty.URL + "/clients", 200, "cosign 3"},
	} {
		res, body := get(t, tc.url)
		if res.StatusCode != tc.status || !strings.Contains(body, tc.says) || strings.Contains(body, "<script>alert") {
			t.Errorf("%s: %s: %.200s", name, res.Status, body)
		}
		if res.StatusCode != 200 && !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: %s", name, res.Header.Get("Content-Type"))
		}
	}
}
