package pg

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// Rows are rows in the binary format of COPY (PostgreSQL manual, COPY, file formats).
type Rows struct {
	sql  string
	data []byte
}

// NewRows starts rows for a COPY ... FROM STDIN (FORMAT binary) statement. size is how many bytes
// they will take, roughly.
func NewRows(sql string, size int) *Rows {
	r := &Rows{sql: sql, data: make([]byte, 0, size+21)}
	r.data = append(r.data, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	return r
}

// Row starts a row of some columns.
func (r *Rows) Row(columns int) { r.data = binary.BigEndian.AppendUint16(r.data, uint16(columns)) }

// Int4 adds an integer column.
func (r *Rows) Int4(v int32) {
	r.data = binary.BigEndian.AppendUint32(r.data, 4)
	r.data = binary.BigEndian.AppendUint32(r.data, uint32(v))
}

// Int8 adds a bigint column.
func (r *Rows) Int8(v int64) {
	r.data = binary.BigEndian.AppendUint32(r.data, 8)
	r.data = binary.BigEndian.AppendUint64(r.data, uint64(v))
}

// Bytes adds a bytea column.
func (r *Rows) Bytes(v []byte) {
	r.data = binary.BigEndian.AppendUint32(r.data, uint32(len(v)))
	r.data = append(r.data, v...)
}

// Copy sends all rows at once, without waiting for the server between two statements: one round
// trip for all. The error is the first one, of the first statement that failed.
func (t *Tx) Copy(ctx context.Context, all ...*Rows) error {
	c := t.Conn().PgConn()
	deadline, _ := ctx.Deadline()
	err := c.Conn().SetWriteDeadline(deadline)
	if err == nil {
		f := c.Frontend()
		for _, r := range all {
			f.SendQuery(&pgproto3.Query{String: r.sql})
			f.Send(&pgproto3.CopyData{Data: binary.BigEndian.AppendUint16(r.data, 0xffff)})
			f.Send(&pgproto3.CopyDone{})
		}
		err = f.Flush()
	}
	if err == nil {
		err = c.Conn().SetWriteDeadline(time.Time{})
	}
	var refused error
	for i := 0; i < len(all) && err == nil; i++ {
		var e error
		if e, err = awaitReady(ctx, c); refused == nil {
			refused = e
		}
	}
	if err != nil {
		// What is on its way, and what of it has arrived, is not known: the session is of no use.
		return errors.Join(Fault("copy", err), c.Close(ctx))
	}
	return Fault("copy", refused)
}

// awaitReady reads until the server is ready for the next statement. refused is what it says of this
// one, err that it cannot be read from.
func awaitReady(ctx context.Context, c *pgconn.PgConn) (refused, err error) {
	for {
		m, err := c.ReceiveMessage(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the answer to COPY: %w", err)
		}
		switch m := m.(type) {
		case *pgproto3.ErrorResponse:
			refused = pgconn.ErrorResponseToPgError(m)
		case *pgproto3.ReadyForQuery:
			return refused, nil
		}
	}
}
