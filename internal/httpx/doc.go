// Package httpx is what all HTTP faces share: the outer handler (request id, one log line and one
// metric per request, panic barrier, path hygiene), bounded reading of bodies, strict JSON and
// plain answers with a Content-Length.
//
// It knows no API: error bodies keep the shape of the upstream API they belong to, so each face
// writes its own. What a client reads never holds an internal error; Log carries the cause.
package httpx
