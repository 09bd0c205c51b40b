package web

import (
	"bytes"
	"context"
	"encoding/hex"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/foreign"
	"github.com/sigbox/sigbox/tuf/trustroot"
)

// Cache headers. What has a version or a digest in its path never changes; what does not is
// asked for again soon, or a renewal would reach nobody.
const (
	cacheImmutable = "public, max-age=31536000, immutable"
	cacheShort     = "public, max-age=30"
	cacheNever     = "no-store"
)

// Face serves what a repository publishes.
type Face struct {
	prefix    string
	published func() *tuf.Published
	look      func(context.Context)
}

// New returns the face of a repository below prefix, which begins with a slash and does not end
// with one. published is asked for every request; nil means that there is nothing yet. look, which is
// (*tuf.Repository).Look, is called before the timestamp is served and before anything is missing; nil where
// nobody else publishes.
func New(prefix string, published func() *tuf.Published, look func(context.Context)) *Face {
	if look == nil {
		look = func(context.Context) {}
	}
	return &Face{prefix: prefix, published: published, look: look}
}

// Register adds the routes. GET patterns take HEAD too; other methods get 405.
func (f *Face) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET "+f.prefix+"/{path...}", f.repository)
	mux.HandleFunc("GET "+f.prefix, notFound) // the mux would redirect it
	mux.HandleFunc("GET /trust/{path...}", f.trust)
	mux.HandleFunc("GET /trust", notFound)
}

func (f *Face) repository(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("path")
	if p := f.published(); p != nil { // other replicas may have published since
		if _, ok := p.File(name); !ok || name == "timestamp.json" {
			f.look(r.Context())
		}
	}
	f.serve(w, r, func(p *tuf.Published) (tuf.File, bool) { return p.File(name) })
}

func (f *Face) trust(w http.ResponseWriter, r *http.Request) {
	f.serve(w, r, func(p *tuf.Published) (tuf.File, bool) {
		name := r.PathValue("path")
		if of, ok := strings.CutSuffix(name, "/"+trustroot.TrustedRootName); ok && foreign.CheckName(of) == nil {
			name = foreign.TargetOf(of) // of another instance; a name of ours has no slash
		}
		file, ok := p.Target(name)
		file.Immutable = false // a plain name always means the current content
		return file, ok
	})
}

func (f *Face) serve(w http.ResponseWriter, r *http.Request, find func(*tuf.Published) (tuf.File, bool)) {
	p := f.published()
	if p == nil {
		w.Header().Set("Cache-Control", cacheNever)
		w.Header().Set("Retry-After", "5")
		httpx.Write(w, http.StatusServiceUnavailable, "text/plain; charset=utf-8", []byte("the trust root is not published yet\n"))
		return
	}
	file, ok := find(p)
	if !ok || r.URL.RawPath != "" { // every published path is plain: an escaped spelling is another path
		notFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", contentType(file.Path))
	h.Set("Etag", `"`+hex.EncodeToString(file.SHA256[:])+`"`)
	h.Set("Cache-Control", cacheShort)
	if file.Immutable {
		h.Set("Cache-Control", cacheImmutable)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file.Bytes))
}

// notFound is not to be cached: the next version of root is missing until it is there.
func notFound(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", cacheNever)
	httpx.Write(w, http.StatusNotFound, "text/plain; charset=utf-8", []byte("not found\n"))
}

func contentType(name string) string {
	switch path.Ext(name) {
	case ".json":
		return "application/json"
	case ".pem", ".pub":
		return "application/x-pem-file"
	}
	return "application/octet-stream"
}
