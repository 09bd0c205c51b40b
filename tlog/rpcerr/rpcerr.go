package rpcerr

import (
	"context"
	"errors"
	"log/slog"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry"
)

// table is read from the top: an error may wrap several.
var table = []struct {
	err     error
	code    codes.Code
	message string
}{
	{tlog.ErrTooLarge, codes.InvalidArgument, "the entry is larger than the log takes"},
	{tlog.ErrFrozen, codes.FailedPrecondition, "the log is frozen and takes no entries"},
	{tlog.ErrBusy, codes.Unavailable, "too many entries are waiting; retry"},
	{tlog.ErrUnavailable, codes.Unavailable, "the log cannot be reached now; retry"},
	{tlog.ErrTransient, codes.Unavailable, "the log cannot be reached now; retry"},
	{tlog.ErrNotFound, codes.NotFound, "not found"},
	{tlog.ErrRange, codes.OutOfRange, "beyond the published head"},
	{context.Canceled, codes.Canceled, "client disconnected during request"},
	{context.DeadlineExceeded, codes.DeadlineExceeded, "deadline exceeded"},
	{tlog.ErrCorrupt, codes.DataLoss, "integrity check failed"},
}

// Status returns what a client is told of an error: codes.Internal for one that is not a log's.
func Status(err error) *status.Status {
	for _, row := range table {
		if errors.Is(err, row.err) {
			return status.New(row.code, row.message)
		}
	}
	return status.New(codes.Internal, "internal error")
}

// Log writes down that a request was answered with st because of err; face says whose it was.
func Log(ctx context.Context, logger *slog.Logger, face string, st *status.Status, err error) {
	cause := err
	if c := entry.Cause(err); c != nil {
		cause = c
	}
	level := slog.LevelInfo
	switch st.Code() {
	case codes.Unknown, codes.Internal, codes.DataLoss, codes.Unavailable:
		level = slog.LevelError
	}
	logger.Log(ctx, level, face+": request refused",
		"request_id", httpx.RequestID(ctx), "code", st.Code().String(), "message", st.Message(), "cause", cause)
}
