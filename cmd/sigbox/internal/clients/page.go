package clients

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/tuf"
)

//go:embed page/page.html
var pageHTML string

//go:embed page/page.css
var pageCSS string

//go:embed page/page.js
var pageJS string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// policy lets the page's own style and script run, by their digests, and nothing else; nothing is loaded from
// anywhere.
var policy = fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	digest(pageCSS), digest(pageJS))

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// Page serves what `sigbox clients` writes, for the instance that publishes the trust root.
type Page struct {
	clients   []*Client
	mirror    string
	published func() *tuf.Published
	log       *slog.Logger
}

// NewPage returns the page of a repository at mirror. published is asked once for each request; nil means that
// there is nothing yet.
func NewPage(mirror string, published func() *tuf.Published, log *slog.Logger) (*Page, error) {
	list, err := All()
	return &Page{clients: list, mirror: mirror, published: published, log: log}, err
}

// Register adds the routes: the list, a page for each client, and its files as they are.
func (p *Page) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /clients", p.list)
	mux.HandleFunc("GET /clients/{name}", p.client)
	mux.HandleFunc("GET /clients/{name}/{path...}", p.file)
}

// view is what the template shows.
type view struct {
	Origin, Issuer string
	Command        string
	Choices        Choices
	Query          string // the choices, for links
	Groups         []group
	Client         *Rendered
	Style          template.CSS
	Script         template.JS
}

type group struct {
	Name    string
	Clients []*Client
}

func (p *Page) view(c Choices) view {
	v := view{Origin: strings.TrimSuffix(p.mirror, "/tuf"), Choices: c, Style: template.CSS(pageCSS), Script: template.JS(pageJS)}
	query := url.Values{}
	for name, value := range map[string]string{"image": c.Image, "identity": c.Identity, "issuer": c.Issuer} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if len(query) > 0 {
		v.Query = "?" + query.Encode()
	}
	return v
}

func (p *Page) list(w http.ResponseWriter, r *http.Request) {
	c, ok := choices(w, r)
	if !ok {
		return
	}
	v := p.view(c)
	v.Command = "sigbox clients"
	for _, client := range p.clients {
		if n := len(v.Groups); n == 0 || v.Groups[n-1].Name != client.Group {
			v.Groups = append(v.Groups, group{Name: client.Group})
		}
		g := &v.Groups[len(v.Groups)-1]
		g.Clients = append(g.Clients, client)
	}
	p.write(w, r, v)
}

func (p *Page) client(w http.ResponseWriter, r *http.Request) {
	rendered, i, ok := p.render(w, r)
	if !ok {
		return
	}
	v := p.view(i.chosen)
	v.Client, v.Issuer = &rendered, i.Issuer
	p.write(w, r, v)
}

func (p *Page) file(w http.ResponseWriter, r *http.Request) {
	rendered, _, ok := p.render(w, r)
	if !ok {
		return
	}
	for _, f := range rendered.Files {
		if f.Path == r.PathValue("path") {
			head(w)
			w.Header().Set("Content-Disposition", `attachment; filename="`+path.Base(f.Path)+`"`)
			httpx.Write(w, http.StatusOK, "text/plain; charset=utf-8", []byte(f.Text))
			return
		}
	}
	say(w, http.StatusNotFound, "this client has no such file")
}

// render renders the client that the request names for what the visitor chose, or answers the request.
func (p *Page) render(w http.ResponseWriter, r *http.Request) (rendered Rendered, i *Instance, ok bool) {
	c, ok := choices(w, r)
	if !ok {
		return rendered, nil, false
	}
	client, err := Find(p.clients, r.PathValue("name"))
	if err != nil {
		say(w, http.StatusNotFound, "no client is called that; /clients has the list")
		return rendered, nil, false
	}
	published := p.published()
	if published == nil {
		w.Header().Set("Retry-After", "5")
		say(w, http.StatusServiceUnavailable, "the trust root is not published yet")
		return rendered, nil, false
	}
	if i, err = FromTrust(Published(published, p.mirror), c); err == nil {
		rendered, err = client.Render(i)
	}
	if err != nil {
		p.fail(w, r, err)
		return rendered, nil, false
	}
	return rendered, i, true
}

// choices reads what the visitor chose.
func choices(w http.ResponseWriter, r *http.Request) (c Choices, ok bool) {
	query := r.URL.Query()
	for name, to := range map[string]*string{"image": &c.Image, "identity": &c.Identity, "issuer": &c.Issuer} {
		*to = strings.TrimSpace(query.Get(name))
	}
	if err := c.check(); err != nil {
		say(w, http.StatusBadRequest, err.Error())
		return c, false
	}
	return c, true
}

func (p *Page) write(w http.ResponseWriter, r *http.Request, v view) {
	var page strings.Builder
	if err := pageTemplate.Execute(&page, v); err != nil {
		p.fail(w, r, err)
		return
	}
	head(w)
	httpx.Write(w, http.StatusOK, "text/html; charset=utf-8", []byte(page.String()))
}

func head(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
}

func say(w http.ResponseWriter, status int, text string) {
	head(w)
	w.Header().Set("Cache-Control", "no-store")
	httpx.Write(w, status, "text/plain; charset=utf-8", []byte(text+"\n"))
}

// fail logs what went wrong; the visitor reads that something did.
func (p *Page) fail(w http.ResponseWriter, r *http.Request, err error) {
	p.log.ErrorContext(r.Context(), "the files of a client could not be written", "path", r.URL.Path, "error", err)
	say(w, http.StatusInternalServerError, "the files could not be written; the log of this instance says why")
}
