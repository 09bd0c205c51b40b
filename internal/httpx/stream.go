package httpx

import (
	"net/http"
	"time"
)

// Streaming returns w for an answer that goes on for longer than the server's WriteTimeout allows,
// over HTTP/2. Instead, a client that takes nothing of what is written for as long as patience loses
// the stream. Nothing is to be read from the request after this but what has come already.
func Streaming(w http.ResponseWriter, patience time.Duration) http.ResponseWriter {
	s := &stream{ResponseWriter: w, control: http.NewResponseController(w), patience: patience}
	s.deadline(time.Time{})
	_ = s.control.SetReadDeadline(time.Time{}) // fails where there is none to lift
	return s
}

type stream struct {
	http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
}

func (s *stream) deadline(t time.Time) {
	_ = s.control.SetWriteDeadline(t) // fails where there is none to lift, and on a stream that is gone
}

// Write implements http.ResponseWriter.
func (s *stream) Write(b []byte) (int, error) {
	s.deadline(time.Now().Add(s.patience))
	return s.ResponseWriter.Write(b)
}

// Flush implements http.Flusher. Between a flush and the next write the stream may be idle for ever.
func (s *stream) Flush() {
	s.deadline(time.Now().Add(s.patience))
	_ = s.control.Flush() // the client is gone, and the request's context says so
	s.deadline(time.Time{})
}

// Unwrap is for http.ResponseController.
func (s *stream) Unwrap() http.ResponseWriter { return s.ResponseWriter }
