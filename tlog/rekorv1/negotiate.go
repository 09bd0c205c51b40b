package rekorv1

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

const pemType = "application/x-pem-file"

// negotiated refuses a request whose client takes none of the media types that the answer can have.
func (s *Server) negotiated(produces []string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if chosen(r, produces) == "" {
			s.fail(w, r, refuse(http.StatusNotAcceptable, "unsupported media type requested, only %s are available", produces))
			return
		}
		next(w, r)
	}
}

// chosen returns which of the media types the client likes best (RFC 9110 12.5.1), the first of those
// that it likes alike, and "" where it takes none. A header that is there and empty takes none, as with
// upstream.
func chosen(r *http.Request, produces []string) string {
	values := r.Header.Values("Accept")
	if len(values) == 0 {
		return produces[0]
	}
	best, bestQ, bestRank := "", 0.0, 0
	for _, offer := range produces {
		for item := range strings.SplitSeq(strings.Join(values, ","), ",") {
			q, rank := quality(item, offer)
			if q > bestQ || q == bestQ && rank > bestRank {
				best, bestQ, bestRank = offer, q, rank
			}
		}
	}
	return best
}

// quality returns how much an item of an Accept header likes a media type, 0 where it does not, and how
// closely it names it.
func quality(item, offer string) (q float64, rank int) {
	name, params, err := mime.ParseMediaType(item)
	if err != nil {
		return 0, 0
	}
	kind, _, _ := strings.Cut(offer, "/")
	switch name {
	case offer:
		rank = 3
	case kind + "/*":
		rank = 2
	case "*/*":
		rank = 1
	default:
		return 0, 0
	}
	if q, err = strconv.ParseFloat(params["q"], 64); err != nil || q > 1 {
		q = 1
	}
	if q <= 0 {
		return 0, 0
	}
	return q, rank
}

// allowedHeaders are those that a browser may add to a request from another origin.
const allowedHeaders = "accept,content-type,x-requested-with"

// crossOrigin lets browsers of any origin read: the log is public and takes no credentials.
func crossOrigin(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			preflight(h, r)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h.Set("Vary", "Origin")
		if r.Header.Get("Origin") != "" {
			h.Set("Access-Control-Allow-Origin", "*")
		}
		next(w, r)
	}
}

// preflight answers what a browser asks before it sends a request, and nothing where it may not.
func preflight(h http.Header, r *http.Request) {
	h.Set("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
	method := r.Header.Get("Access-Control-Request-Method")
	if r.Header.Get("Origin") == "" || method != http.MethodGet && method != http.MethodPost && method != http.MethodHead {
		return
	}
	wanted := strings.Join(r.Header.Values("Access-Control-Request-Headers"), ",")
	for name := range strings.SplitSeq(wanted, ",") {
		if name = strings.TrimSpace(name); name != "" && !strings.Contains(","+allowedHeaders+",", ","+strings.ToLower(name)+",") {
			return
		}
	}
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", method)
	if wanted != "" {
		h.Set("Access-Control-Allow-Headers", wanted)
	}
}
