package rekorv1

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/internal/quota"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/writers"
)

// Defaults of a Config.
const (
	DefaultMaxBody    = 4 << 20
	DefaultMaxResults = 1000
)

// Config is what a Server is made of.
type Config struct {
	Log    tlog.Log      // its checkpoints are signed by Signer with the origin "<host> - <TreeID>"; opened with entry.LeafInput
	TreeID int64         // positive; the first 16 hex digits of every entry id
	Signer crypto.Signer // ECDSA P-256, the log's key; signs SETs
	Kinds  entry.Kinds   // what may be appended and looked up

	// Fingerprints make the search key of a public key in each format but x509 that a search may have.
	Fingerprints map[string]func(key []byte) (string, error)

	// Inactive are the shards before Log, oldest first. They are frozen, so that the virtual index
	// of an entry never changes.
	Inactive []Shard

	Writers *writers.Gate // whose entries are taken; nil takes everybody's
	Quotas  *quota.Quotas // of those who append; nil is none
	// Next is asked for the shard that goes on for the last one, which is frozen: nil where there is
	// none. It may be called by several requests at a time. nil: the last shard stays the last.
	Next func(ctx context.Context, last Shard) (*Shard, error)

	ReturnDuplicates bool         // 201 with the stored entry instead of 409
	MaxBody          int64        // bytes of a request body; 0 is DefaultMaxBody
	MaxResults       int          // entries that answer a search, the newest of what Log.Search returns; 0 is DefaultMaxResults
	Logger           *slog.Logger // nil is slog.Default()
}

// Server answers the Rekor v1 API for one log of one or more shards. It is safe for concurrent use.
type Server struct {
	chain      *tlog.Chain[*shard]
	kinds      entry.Kinds
	writers    *writers.Gate
	quotas     *quota.Quotas
	formats    map[string]func(key []byte) (string, error)
	duplicates bool
	maxBody    int64
	bodies     *httpx.Bodies
	maxResults int
	logger     *slog.Logger
}

// New returns a Server. It refuses a configuration that clients could not verify.
func New(c Config) (*Server, error) {
	if c.Log == nil || c.Signer == nil || len(c.Kinds) == 0 {
		return nil, errors.New("rekor v1: Log, Signer and Kinds are needed")
	}
	s := &Server{
		kinds: c.Kinds, writers: c.Writers, quotas: c.Quotas, formats: maps.Clone(c.Fingerprints), duplicates: c.ReturnDuplicates,
		maxBody: c.MaxBody, maxResults: c.MaxResults, logger: c.Logger,
	}
	if s.formats == nil {
		s.formats = map[string]func([]byte) (string, error){}
	}
	s.formats["x509"] = func(pem []byte) (string, error) {
		key, err := entry.ParseKey(pem)
		if err != nil {
			return "", err
		}
		return key.Fingerprint(), nil
	}
	list, err := newShards(c)
	if err != nil {
		return nil, fmt.Errorf("rekor v1: %w", err)
	}
	s.chain = tlog.NewChain(list, func(sh *shard) tlog.Log { return sh.log }, s.after(c.Next))
	if s.maxBody <= 0 {
		s.maxBody = DefaultMaxBody
	}
	s.bodies = httpx.NewBodies(s.maxBody)
	if s.maxResults <= 0 {
		s.maxResults = DefaultMaxResults
	}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	return s, nil
}

// entriesPath is where entries live. The Location of an entry is this path and its id, never a
// URL: the host that the client used is not ours to know.
const entriesPath = "/api/v1/log/entries"

// route is what one path answers.
type route struct {
	path     string
	methods  map[string]http.HandlerFunc
	produces []string // media types, the first one where the client does not care; none where nobody looks
}

func (s *Server) routes() []route {
	json, keys := []string{"application/json"}, []string{pemType, "application/json"}
	type methods = map[string]http.HandlerFunc
	return []route{
		{"/api/v1/log", methods{http.MethodGet: s.logInfo}, json},
		{"/api/v1/log/publicKey", methods{http.MethodGet: s.publicKey}, keys},
		{"/api/v1/log/proof", methods{http.MethodGet: s.consistency}, json},
		{entriesPath, methods{http.MethodGet: s.getByIndex, http.MethodPost: s.create}, json},
		{entriesPath + "/{id}", methods{http.MethodGet: s.getByID}, json},
		{entriesPath + "/retrieve", methods{http.MethodGet: s.getByID, http.MethodPost: s.retrieve}, json}, // GET refuses "retrieve" as an id
		{"/api/v1/index/retrieve", methods{http.MethodPost: s.search}, json},
	}
}

// Register adds the API to mux: /api/v1/log and below, /api/v1/index/retrieve and /ping. The
// page at / is left to the caller. Every pattern has a method. All paths but /ping may end in a
// slash: sigstore-python posts to retrieve/.
func (s *Server) Register(mux *http.ServeMux) {
	for _, rt := range s.routes() {
		for _, path := range []string{rt.path, rt.path + "/{$}"} {
			s.register(mux, path, rt)
		}
	}
	s.register(mux, "/ping", route{methods: map[string]http.HandlerFunc{http.MethodGet: ping}})
}

func (s *Server) register(mux *http.ServeMux, path string, rt route) {
	for _, method := range []string{
		http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodTrace,
	} {
		h := rt.methods[method]
		if h == nil {
			h = s.methodNotAllowed(rt.methods)
		} else if rt.produces != nil {
			h = s.negotiated(rt.produces, h)
			if method == http.MethodGet {
				h = uncached(h)
			}
		}
		mux.HandleFunc(method+" "+path, crossOrigin(h))
	}
}

func ping(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write([]byte(".")) // the client is gone; nothing is left to tell it
}

// uncached tells caches to keep nothing, in the words of upstream.
func uncached(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-cache, no-store, no-transform, must-revalidate, private, max-age=0")
		h.Set("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")
		h.Set("Pragma", "no-cache")
		h.Set("X-Accel-Expires", "0")
		next(w, r)
	}
}
