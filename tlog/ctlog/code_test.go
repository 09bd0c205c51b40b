package ctlog

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/tlog"
)

// TestCodeOf: the words for why the log refused (docs/errors.md).
func TestCodeOf(t *testing.T) {
	for want, err := range map[string]error{
		"refused": refusef("x"), "frozen": tlog.ErrFrozen, "busy": tlog.ErrBusy, "unavailable": tlog.ErrUnavailable, "too_large": tlog.ErrTooLarge,
		"media_type": httpx.Errorf(http.StatusUnsupportedMediaType, "x"), "malformed": httpx.Errorf(http.StatusBadRequest, "x"), "internal": http.ErrHandlerTimeout,
	} {
		wrapped := fmt.Errorf("doing something: %w", err)
		status, _ := statusOf(wrapped)
		if got := codeOf(wrapped, status); got != want {
			t.Errorf("%v is %q, want %q", err, got, want)
		}
	}
}
