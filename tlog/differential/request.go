package differential

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Request is one request of a play. Target and Body may hold names in double braces, which the
// player replaces by what the server has said so far:
//
//	{{id:ROW}}     the entry id that the create request ROW was answered with, 80 hex digits
//	{{uuid:ROW}}   the UUID in it, 64 hex digits
//	{{index:ROW}}  the log index of that entry
//	{{tree}}       the tree id as loginfo has it, decimal
//	{{treehex}}    the tree id as entry ids begin with it, 16 hex digits
type Request struct {
	Name   string            // unique; what it is about, and after a slash the case
	Method string            // "gRPC" for a call
	Target string            // path and query, sent as they are; the method of a call
	Header map[string]string // Content-Type is application/json where there is a body and none is here; "-" sends none
	Body   string            // JSON of the message of a call

	// Files says that the log is read as the files of C2SP tlog-tiles, which upstream leaves to some web
	// server: no headers are compared, and no bodies of refusals.
	Files bool

	// Until is repeated until the answer holds this, for at most ten seconds: upstream writes its
	// index and attestations some time after it has answered.
	Until string
}

// fingerprint changes with whatever of a request may change its answer.
func (r Request) fingerprint() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q", r.Method, r.Target, r.Body)
	for _, k := range slices.Sorted(maps.Keys(r.Header)) {
		fmt.Fprintf(h, " %q %q", k, r.Header[k])
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

// ownHeaders say nothing of an API.
var ownHeaders = []string{"Date", "Content-Length", "X-Request-Id"}

// Answered returns the answer to this request, as [Compare] wants it, but for its body. value returns what is
// kept of a header.
func (r Request) Answered(resp *http.Response, value func(name string, values []string) string) Answer {
	a := r.Unanswered()
	a.Status = resp.StatusCode
	for k, values := range resp.Header {
		if !slices.Contains(ownHeaders, k) && !r.Files {
			a.Header[k] = value(k, values)
		}
	}
	return a
}

// Unanswered returns the answer to this request without anything that was said.
func (r Request) Unanswered() Answer {
	return Answer{Name: r.Name, Request: r.line(), Fingerprint: r.fingerprint(), Header: map[string]string{}}
}

// line is how a recording shows a request.
func (r Request) line() string {
	var b strings.Builder
	b.WriteString(r.Method + " " + r.Target)
	for _, k := range slices.Sorted(maps.Keys(r.Header)) {
		fmt.Fprintf(&b, " [%s: %s]", k, r.Header[k])
	}
	if r.Body != "" {
		fmt.Fprintf(&b, " %.120s", r.Body)
	}
	return b.String()
}

// Answer is what a server said, with names for what is its own.
type Answer struct {
	Name        string            `json:"name"`
	Request     string            `json:"request"` // for who reads the recording
	Fingerprint string            `json:"fingerprint"`
	Status      int               `json:"status"`
	Header      map[string]string `json:"header"`
	Body        any               `json:"body,omitempty"`
}
