package pgstore

import (
	"errors"
	"fmt"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/tlog"
)

// SQLSTATE codes (PostgreSQL manual, appendix A).
const (
	divisionByZero = "22012"
)

// corrupt and conflict are the codes of errors that stop a log.
var (
	corrupt  = map[string]bool{"XX001": true, "XX002": true} // data_corrupted, index_corrupted
	conflict = map[string]bool{
		"23001": true, // restrict_violation: a trigger of ours
		"23502": true, // not_null_violation
		"23514": true, // check_violation
	}
)

// fault wraps an error of the database in the class that the engine acts on.
func fault(what string, err error) error {
	err = pg.Fault(what, err)
	for _, class := range []struct {
		is bool
		of error
	}{
		{errors.Is(err, pg.ErrUnknownOutcome), tlog.ErrUnknownOutcome},
		{errors.Is(err, pg.ErrTransient), tlog.ErrTransient},
		{errors.Is(err, pg.ErrDuplicate) || conflict[pg.Code(err)], tlog.ErrConflict},
		{corrupt[pg.Code(err)], tlog.ErrCorrupt},
	} {
		if class.is && !errors.Is(err, class.of) {
			return fmt.Errorf("%w: %w", class.of, err)
		}
	}
	return err
}
