package httpx

import "net/http"

// ErrorCode is the header with a word for why a request was refused, which programs can rely on: the texts
// beside it are upstream's, one for many causes, and may change with upstream. docs/errors.md lists the words.
const ErrorCode = "Sigbox-Error"

// CodeOf is the word for a refusal of which no more is known than its status.
func CodeOf(status int) string {
	switch status {
	case http.StatusRequestEntityTooLarge:
		return "too_large"
	case http.StatusUnsupportedMediaType:
		return "media_type"
	case http.StatusTooManyRequests:
		return "quota"
	case http.StatusServiceUnavailable:
		return "unavailable"
	}
	if status >= http.StatusInternalServerError {
		return "internal"
	}
	return "malformed"
}
