package pg

import (
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// How a transaction ends that is not committed. An error that wraps none of these was rolled back,
// and trying again would fail again.
var (
	// ErrTransient says that the transaction was rolled back, or never began, for a reason that
	// may be gone on the next try: deadlock, lock timeout, no connection.
	ErrTransient = errors.New("pg: transient")
	// ErrUnknownOutcome says that COMMIT was sent and that its answer is missing or not a plain yes.
	ErrUnknownOutcome = errors.New("pg: the outcome of a commit is unknown")
	// ErrDuplicate says that a unique index refused a row. The error names the index and the row.
	ErrDuplicate = errors.New("pg: duplicate row")
)

// SQLSTATE codes (PostgreSQL manual, appendix A).
const (
	uniqueViolation  = "23505"
	readOnly         = "25006"
	lockNotAvailable = "55P03"

	insufficientPrivilege = "42501"
)

// transient are the codes of errors that may be gone on the next try.
var transient = map[string]bool{
	"25P03": true, // idle_in_transaction_session_timeout
	"25P04": true, // transaction_timeout
	"40001": true, // serialization_failure
	"40P01": true, // deadlock_detected
	"53300": true, // too_many_connections
	"55P03": true, // lock_not_available
	"57014": true, // query_canceled: statement_timeout
	"57P01": true, // admin_shutdown
	"57P02": true, // crash_shutdown
	"57P03": true, // cannot_connect_now
	"57P05": true, // idle_session_timeout
}

// Fault puts an error of a statement into its class, unless it has one.
func Fault(what string, err error) error {
	var e *pgconn.PgError
	switch {
	case err == nil || errors.Is(err, ErrTransient) || errors.Is(err, ErrUnknownOutcome) || errors.Is(err, ErrDuplicate):
		return err
	case Code(err) == uniqueViolation && errors.As(err, &e):
		return fmt.Errorf("%s: %w in %s.%s: %s: %w", what, ErrDuplicate, e.SchemaName, e.TableName, row(e), err)
	case transient[Code(err)], Lost(err):
		return fmt.Errorf("%s: %w: %w", what, ErrTransient, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

var duplicateKey = regexp.MustCompile(`^Key \((.*)\)=\((.*)\) already exists`)

// row names the row that a unique index refused: "log_id 1, level 0, n 7".
func row(e *pgconn.PgError) string {
	m := duplicateKey.FindStringSubmatch(e.Detail)
	if m == nil {
		return e.Detail
	}
	columns, values := strings.Split(m[1], ", "), strings.Split(m[2], ", ")
	if len(columns) != len(values) {
		return e.Detail
	}
	for i := range columns {
		columns[i] += " " + values[i]
	}
	name := strings.Join(columns, ", ")
	if e.Where != "" {
		name += " (" + e.Where + ")" // with COPY: the line
	}
	return name
}

// Lost tells whether an error is one of the connection: it could not be made, or it broke, or the
// server ended it.
func Lost(err error) bool {
	if c := Code(err); c != "" {
		return c == "57P01" || c == "57P02" || c == "57P05"
	}
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || pgconn.Timeout(err) || pgconn.SafeToRetry(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// stale tells whether after an error of that code other connections of the pool are not to be
// trusted: the server went away, or it is not the primary any more.
func stale(code string) bool {
	return code == readOnly || code == "57P01" || code == "57P02" || code == "57P03"
}

// refused tells whether an error during the last batch means for certain that nothing was
// committed: the server refused a statement before COMMIT, or rolled back at COMMIT and said so, or
// nothing was ever sent.
func refused(err error, atCommit bool) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return pgconn.SafeToRetry(err)
	}
	if e.SeverityUnlocalized != "ERROR" {
		return false // the session ended; when, is anybody's guess
	}
	return !atCommit || e.Code[:2] == "40" || e.Code[:2] == "23"
}

// Code returns the SQLSTATE of an error, or "" if the server did not send it.
func Code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
