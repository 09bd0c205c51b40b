package tiles

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/tile"
)

// Source says which log a request reads, nil for none. It may differ from request to request.
type Source func(*http.Request) (tlog.Log, *tlog.Tiles)

// Server serves logs. It is safe for concurrent use.
type Server struct {
	source Source
	prefix string
	logger *slog.Logger
}

// New returns a Server of the paths prefix/checkpoint and prefix/tile/. prefix is like
// "/api/v2": no slash at its end. logger may be nil.
func New(l tlog.Log, prefix string, logger *slog.Logger) (*Server, error) {
	if l == nil {
		return nil, errors.New("tiles: a log is needed")
	}
	tiles := tlog.NewTiles(l)
	return NewSource(func(*http.Request) (tlog.Log, *tlog.Tiles) { return l, tiles }, prefix, logger)
}

// NewSource is New for several logs. prefix may have wildcards of [http.ServeMux].
func NewSource(source Source, prefix string, logger *slog.Logger) (*Server, error) {
	if prefix != "" && (!strings.HasPrefix(prefix, "/") || strings.HasSuffix(prefix, "/")) {
		return nil, fmt.Errorf("tiles: prefix %q: want a path like /api/v2", prefix)
	}
	if logger == nil {
		logger = slog.Default()
	}
	return &Server{source: source, prefix: prefix, logger: logger}, nil
}

// Register adds the paths to mux. Methods but GET and HEAD are answered 405 by the mux.
func (s *Server) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET "+s.prefix+"/checkpoint", s.checkpoint)
	mux.HandleFunc("GET "+s.prefix+"/tile/{path...}", s.tile)
	mux.HandleFunc("GET "+s.prefix+"/tile", http.NotFound) // else the mux redirects to tile/
}

func (s *Server) checkpoint(w http.ResponseWriter, r *http.Request) {
	log, _ := s.source(r)
	if log == nil {
		http.NotFound(w, r)
		return
	}
	cp, _, err := log.Latest(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Cache-Control", "no-cache")
	httpx.Write(w, http.StatusOK, "text/plain; charset=utf-8", cp.Note)
}

func (s *Server) tile(w http.ResponseWriter, r *http.Request) {
	p, err := tile.ParsePath("tile/" + r.PathValue("path"))
	if err != nil || r.URL.RawPath != "" { // a path that needs decoding is not one we write
		http.NotFound(w, r)
		return
	}
	_, tiles := s.source(r)
	if tiles == nil {
		http.NotFound(w, r)
		return
	}
	data, err := tiles.Read(r.Context(), p)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	if p.Width == tile.Width {
		w.Header().Set("Cache-Control", "public, max-age=604800, immutable")
	} else {
		w.Header().Set("Cache-Control", "no-store")
	}
	httpx.Write(w, http.StatusOK, "application/octet-stream", data)
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, tlog.ErrNotFound), errors.Is(err, tlog.ErrRange):
		http.NotFound(w, r)
		return
	case r.Context().Err() != nil:
		status = 499
	case errors.Is(err, tlog.ErrUnavailable), errors.Is(err, tlog.ErrBusy):
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", strconv.Itoa(1+rand.IntN(5))) // not a secret
	}
	s.logger.ErrorContext(r.Context(), "tiles: read failed",
		"request_id", httpx.RequestID(r.Context()), "path", r.URL.Path, "status", status, "cause", err)
	http.Error(w, http.StatusText(status), status)
}
