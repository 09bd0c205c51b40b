package httpx

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
)

// Error is a refusal that may be shown to the client.
type Error struct {
	Status  int    // HTTP status, 4xx or 5xx
	Message string // safe to show: names what is wrong and the limit
}

func (e *Error) Error() string { return e.Message }

// Errorf returns a refusal with a formatted message.
func Errorf(status int, format string, args ...any) *Error {
	return &Error{Status: status, Message: fmt.Sprintf(format, args...)}
}

// ReadBody reads a request body of at most limit bytes. It refuses a longer one with 413, before
// reading when Content-Length says so, a compressed one with 415, and a body that breaks off
// with 400. The error is always an *Error.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	return readBody(w, r, limit, nil)
}

func readBody(w http.ResponseWriter, r *http.Request, limit int64, room *Room) ([]byte, error) {
	for _, enc := range r.Header.Values("Content-Encoding") {
		if enc != "" && enc != "identity" {
			return nil, Errorf(http.StatusUnsupportedMediaType, "content encoding not supported: send the body as it is")
		}
	}
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	const most = 16 << 10 // that a claim of the client is believed
	from, body := http.MaxBytesReader(w, r.Body, limit), make([]byte, 0, min(max(r.ContentLength, 0), most)+bytes.MinRead)
	for {
		if len(body) == cap(body) {
			longer := longerBody(int64(len(body)), r.ContentLength, limit)
			if err := room.Want(longer + int64(len(body))); err != nil {
				return nil, err
			}
			body = append(make([]byte, 0, longer), body...)
		}
		n, err := from.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		var max *http.MaxBytesError
		switch {
		case err == nil:
		case err == io.EOF:
			return body, nil
		case errors.As(err, &max):
			return nil, tooLarge(limit)
		default:
			return nil, Errorf(http.StatusBadRequest, "request body could not be read to its end")
		}
	}
}

// longerBody returns for how much of a body there should be memory once it has n bytes, -1 announced ones where none
// are: for all of it, if an eighth of that has come, and one byte more, where its end is read. What it grew out of is
// at most a seventh of it.
func longerBody(n, announced, limit int64) int64 {
	const times = 8
	switch {
	case announced < n:
		return min(2*n, max(limit, n)+1)
	case announced <= times*n:
		return announced + 1
	case announced <= times*times*n: // not to nearly all of it, and then to all
		return announced/times + 1
	}
	return times * n
}

func tooLarge(limit int64) *Error {
	return Errorf(http.StatusRequestEntityTooLarge, "Request Entity Too Large. Limit set to %d", limit)
}

// MediaType returns the request's media type in lower case without parameters, "" where the
// header is missing, repeated or cannot be parsed.
func MediaType(r *http.Request) string {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || len(r.Header.Values("Content-Type")) != 1 {
		return ""
	}
	return t
}

// Write answers with body and its Content-Length. An empty contentType leaves the header out.
func Write(w http.ResponseWriter, status int, contentType string, body []byte) {
	if contentType != "" {
		w.Header().Set("Content-Type", contentType)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client is gone; nothing is left to tell it
}
