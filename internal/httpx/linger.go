package httpx

import (
	"io"
	"net/http"
)

const (
	lingerFrom = 256 << 10 // bytes of a body that net/http reads to its end by itself
	lingerMost = 64 << 20  // bytes that are read for nothing at most
)

// Linger lets a client that is still sending the body read an answer that did not wait for it, "413, the
// limit is so much" above all. net/http closes such a connection half a second after the answer. What
// arrives then is answered with a reset, for which clients throw the answer away and report a broken pipe.
// So over HTTP/1 the answer is sent and what is left of the body is read and dropped, up to a bound and for
// as long as the server's ReadTimeout allows. HTTP/2 has a frame for it, and a client that waits for
// "100 Continue" has sent nothing.
//
// Where the body breaks off, by its chunks or by the time that it takes, the connection ends: net/http, which leaves
// the body to a handler that reads and writes at once, would take what comes next for a request, and a proxy in
// front its answer for that to somebody else's.
func Linger(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		short := r.ContentLength >= 0 && r.ContentLength <= lingerFrom
		if r.ProtoMajor != 1 || short || r.Header.Get("Expect") != "" || control.EnableFullDuplex() != nil {
			next.ServeHTTP(w, r)
			return
		}
		body := r.Body
		next.ServeHTTP(w, r)
		_ = control.Flush() // the client is gone, and the read below ends at once
		// Nothing is left where the handler read it all; net/http closes the connection where more is left than this.
		switch _, err := io.CopyN(io.Discard, body, lingerMost+1); err {
		case nil, io.EOF, http.ErrBodyReadAfterClose:
		default:
			panic(http.ErrAbortHandler)
		}
	})
}
