package rekorv1

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry"
)

// Defaults of a Config.
const (
	DefaultMaxBody    = 4 << 20
	DefaultMaxResults = 1000
)

// Config is what a Server is made of.
type Config struct {
	Log    tlog.Log      // its checkpoints are signed by Signer with the origin "<host> - <TreeID>"
	TreeID int64         // positive; the first 16 hex digits of every entry id
	Signer crypto.Signer // ECDSA P-256, the log's key; signs SETs
	Kinds  entry.Kinds   // what may be appended and looked up

	ReturnDuplicates bool         // 201 with the stored entry instead of 409
	MaxBody          int64        // bytes of a request body; 0 is DefaultMaxBody
	MaxResults       int          // entries that answer a search, the newest of what Log.Search returns; 0 is DefaultMaxResults
	Logger           *slog.Logger // nil is slog.Default()
}

// Server answers the Rekor v1 API for one log. It is safe for concurrent use.
type Server struct {
	log        tlog.Log
	kinds      entry.Kinds
	treeID     int64
	origin     string // how the origin of its checkpoints ends
	sets       *setSigner
	logID      string // hex SHA-256 of the key's SPKI
	pem        []byte
	duplicates bool
	maxBody    int64
	maxResults int
	logger     *slog.Logger
}

// New returns a Server. It refuses a configuration that clients could not verify.
func New(c Config) (*Server, error) {
	if c.Log == nil || c.Signer == nil || len(c.Kinds) == 0 {
		return nil, errors.New("rekor v1: Log, Signer and Kinds are needed")
	}
	if c.TreeID <= 0 {
		return nil, fmt.Errorf("rekor v1: tree id %d is not positive", c.TreeID)
	}
	pub, ok := c.Signer.Public().(*ecdsa.PublicKey)
	if !ok || pub.Curve != elliptic.P256() {
		return nil, fmt.Errorf("rekor v1: the log key is a %T, clients verify SETs with ECDSA P-256 only", c.Signer.Public())
	}
	id, err := keys.ID(pub)
	if err != nil {
		return nil, fmt.Errorf("rekor v1: %w", err)
	}
	pem, err := keys.PublicPEM(pub)
	if err != nil {
		return nil, fmt.Errorf("rekor v1: %w", err)
	}
	s := &Server{
		log: c.Log, kinds: c.Kinds, treeID: c.TreeID, origin: fmt.Sprintf(" - %d", c.TreeID), duplicates: c.ReturnDuplicates,
		logID: hex.EncodeToString(id[:]), pem: pem,
		maxBody: c.MaxBody, maxResults: c.MaxResults, logger: c.Logger,
	}
	s.sets = newSETSigner(c.Signer, pub, s.logID)
	if s.maxBody <= 0 {
		s.maxBody = DefaultMaxBody
	}
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

// Register adds the API to mux: /api/v1/log and below, /api/v1/index/retrieve and /ping. The
// page at / is left to the caller. Every pattern has a method.
func (s *Server) Register(mux *http.ServeMux) {
	type methods = map[string]http.HandlerFunc
	retrieve := methods{http.MethodPost: s.retrieve}
	for path, m := range map[string]methods{
		"/api/v1/log":                 {http.MethodGet: s.logInfo},
		"/api/v1/log/publicKey":       {http.MethodGet: s.publicKey},
		"/api/v1/log/proof":           {http.MethodGet: s.consistency},
		entriesPath:                   {http.MethodGet: s.getByIndex, http.MethodPost: s.create},
		entriesPath + "/{id}":         {http.MethodGet: s.getByID},
		entriesPath + "/retrieve":     retrieve,
		entriesPath + "/retrieve/{$}": retrieve, // sigstore-python posts here
		"/api/v1/index/retrieve":      {http.MethodPost: s.search},
		"/ping":                       {http.MethodGet: ping},
	} {
		for _, method := range []string{
			http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
		} {
			h := m[method]
			switch {
			case h != nil:
			case method == http.MethodOptions:
				h = preflight
			default:
				h = s.methodNotAllowed(m)
			}
			mux.HandleFunc(method+" "+path, crossOrigin(h))
		}
	}
}

func ping(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write([]byte(".")) // the client is gone; nothing is left to tell it
}

// crossOrigin lets browsers of any origin read: the log is public and takes no credentials.
func crossOrigin(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			w.Header().Set("Cache-Control", "no-cache, no-store, no-transform, must-revalidate, private, max-age=0")
			w.Header().Set("Expires", "Thu, 01 Jan 1970 00:00:00 UTC")
			w.Header().Set("Pragma", "no-cache")
		}
		next(w, r)
	}
}

func preflight(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET, POST, HEAD")
	h.Set("Access-Control-Allow-Headers", "Accept, Content-Type, X-Requested-With")
	w.WriteHeader(http.StatusNoContent)
}
