package devidp

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"

	"github.com/sigbox/sigbox/internal/httpx"
)

//go:embed page.html page.css
var assets embed.FS

func parsePages() (*template.Template, error) {
	return template.ParseFS(assets, "page.html")
}

// page is what the one template shows; which part follows from Kind.
type page struct {
	Kind     string // signin, device, code, message
	Title    string
	Text     string
	Problem  string // what to correct, shown with the form
	Action   string // where the form goes
	Client   string
	Target   string // host that the code goes to
	Email    string
	UserCode string
	Code     string
	Style    template.CSS
}

// show renders a page under a policy that allows its own style sheet and its own form, nothing else.
// formTarget is where the browser may be redirected after the form: it counts as a form's action.
func (s *Server) show(w http.ResponseWriter, status int, p page, formTarget string) {
	css, err := assets.ReadFile("page.css")
	if err != nil { // embedded: a bug, not an input
		panic(err)
	}
	p.Style = template.CSS(css)
	var buf bytes.Buffer
	if err := s.pages.ExecuteTemplate(&buf, "page.html", p); err != nil {
		panic(err) // our own template over our own type
	}
	sum := sha256.Sum256(css)
	policy := "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src 'sha256-" +
		base64.StdEncoding.EncodeToString(sum[:]) + "'; form-action 'self'"
	if formTarget != "" {
		policy += " " + formTarget
	}
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("X-Frame-Options", "DENY")
	httpx.Write(w, status, "text/html; charset=utf-8", buf.Bytes())
}

func (s *Server) showSignIn(w http.ResponseWriter, r *http.Request, req authRequest, status int, email, problem string) {
	target, source := "this page", ""
	if u, err := url.Parse(req.redirect); err == nil && u.Host != "" {
		target, source = u.Host, u.Scheme+"://"+u.Host
		if u.Hostname() == "::1" { // a policy cannot name an IPv6 address
			source = "http:"
		}
	}
	s.show(w, status, page{Kind: "signin", Title: "Sign in", Problem: problem, Action: "/auth?" + r.URL.RawQuery,
		Client: req.client, Target: target, Email: email}, source)
}

func (s *Server) showDevice(w http.ResponseWriter, status int, userCode, email, problem string) {
	s.show(w, status, page{Kind: "device", Title: "Connect a device", Problem: problem, Action: "/device", UserCode: userCode, Email: email}, "")
}

func (s *Server) showCode(w http.ResponseWriter, code string) {
	s.show(w, http.StatusOK, page{Kind: "code", Title: "Verification code", Code: code}, "")
}

func (s *Server) showDone(w http.ResponseWriter, title, text string) {
	s.show(w, http.StatusOK, page{Kind: "message", Title: title, Text: text}, "")
}

func (s *Server) showError(w http.ResponseWriter, status int, text string) {
	s.show(w, status, page{Kind: "message", Title: "Sign-in refused", Problem: text}, "")
}
