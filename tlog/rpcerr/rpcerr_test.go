package rpcerr_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/rpcerr"
)

func TestStatus(t *testing.T) {
	secret := errors.New("host=db password=x")
	for _, c := range []struct {
		err  error
		want codes.Code
	}{
		{tlog.ErrTooLarge, codes.InvalidArgument},
		{tlog.ErrFrozen, codes.FailedPrecondition},
		{tlog.ErrBusy, codes.Unavailable},
		{tlog.ErrUnavailable, codes.Unavailable},
		{fmt.Errorf("%w: %w", tlog.ErrUnavailable, tlog.ErrRollback), codes.Unavailable},
		{fmt.Errorf("%w: %w", tlog.ErrUnavailable, tlog.ErrCorrupt), codes.Unavailable},
		{tlog.ErrTransient, codes.Unavailable},
		{tlog.ErrNotFound, codes.NotFound},
		{tlog.ErrRange, codes.OutOfRange},
		{tlog.ErrCorrupt, codes.DataLoss},
		{context.Canceled, codes.Canceled},
		{context.DeadlineExceeded, codes.DeadlineExceeded},
		{tlog.ErrConflict, codes.Internal},
		{secret, codes.Internal},
	} {
		st := rpcerr.Status(fmt.Errorf("read: %w: %w", c.err, secret))
		if st.Code() != c.want || strings.Contains(st.Message(), "db") || st.Message() == "" {
			t.Errorf("%v: %v", c.err, st)
		}
	}
}

func TestLog(t *testing.T) {
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, nil))
	for _, c := range []struct {
		err   error
		level string
	}{
		{fmt.Errorf("read: %w", tlog.ErrCorrupt), "ERROR"},
		{errors.New("no table has it"), "ERROR"},
		{entry.Invalid("for the client", errors.New("for us")), "ERROR"},
		{fmt.Errorf("read: %w", tlog.ErrRange), "INFO"},
	} {
		out.Reset()
		rpcerr.Log(t.Context(), logger, "test", rpcerr.Status(c.err), c.err)
		want := c.err
		if cause := entry.Cause(c.err); cause != nil {
			want = cause
		}
		if s := out.String(); !strings.Contains(s, "level="+c.level) || !strings.Contains(s, want.Error()) {
			t.Errorf("%v: %s", c.err, s)
		}
	}
}
