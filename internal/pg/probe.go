package pg

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/migrations"
)

// ErrUnsafe is what Probe returns for a server that would lose or garble what it has acknowledged.
var ErrUnsafe = errors.New("pg: the database is not safe to write to")

// oldest is the first server version that these packages are written for, as server_version_num.
const oldest = 140000

// demand is a setting that must not have a value.
type demand struct{ setting, not, why, remedy string }

var demands = []demand{
	{"fsync", "off", "a crash of the machine loses or garbles committed entries", "set fsync = on in postgresql.conf and reload"},
	{"full_page_writes", "off", "a crash of the machine garbles pages", "set full_page_writes = on in postgresql.conf and reload"},
	{"synchronous_commit", "off", "a crash loses entries whose COMMIT was answered", "set synchronous_commit = on (postgresql.conf, ALTER DATABASE or ALTER ROLE)"},
	{"zero_damaged_pages", "on", "damaged pages read as empty ones", "set zero_damaged_pages = off"},
	{"ignore_checksum_failure", "on", "damaged pages read as good ones", "set ignore_checksum_failure = off"},
	{"session_replication_role", "replica", "triggers that guard the tables do not run", "set session_replication_role = origin (ALTER DATABASE or ALTER ROLE)"},
}

// direct is the remedy for a pooler. One in session mode may do; PgBouncer either refuses settings
// that it does not know or drops them.
const direct = "connect to PostgreSQL itself, or through a pooler in session mode that passes session settings on (PgBouncer does not)"

// Probe checks that the server can be trusted with a log, and names every setting that is amiss,
// with the remedy, in one error that wraps [ErrUnsafe]. It also refuses a schema of another version
// than this binary's, and a pooler that gives each transaction another session.
func (d *DB) Probe(ctx context.Context) error {
	conn, err := d.single(ctx)
	if err != nil {
		if strings.Contains(err.Error(), "unsupported startup parameter") {
			return fmt.Errorf("%w: a pooler that refuses session settings stands before it: %s: %w", ErrUnsafe, direct, err)
		}
		return Fault("connect to the database", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	problems, err := d.settings(ctx, conn)
	if err != nil {
		return err
	}
	// Without sessions of its own nothing else can be relied on, the schema's version included.
	pooled, err := d.pooled(ctx, conn)
	if err != nil {
		return err
	}
	if pooled {
		problems = append(problems, "transactions of two connections run in one session: a pooler in transaction mode stands before it; "+direct)
	}
	version, err := d.schema(ctx, conn)
	if err != nil {
		return err
	}
	if version != "" {
		problems = append(problems, version)
	}
	if problems != nil {
		return fmt.Errorf("%w: %s", ErrUnsafe, strings.Join(problems, "; "))
	}
	return nil
}

// single returns a connection outside of the pool that prepares no statements, since what stands
// before the database may hand them to others.
func (d *DB) single(ctx context.Context) (*pgx.Conn, error) {
	c := d.write.Config().ConnConfig.Copy()
	c.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	return pgx.ConnectConfig(ctx, c)
}

func (d *DB) settings(ctx context.Context, conn *pgx.Conn) (problems []string, err error) {
	for _, want := range demands {
		var value string
		if err := conn.QueryRow(ctx, "SELECT current_setting($1)", want.setting).Scan(&value); err != nil {
			return nil, Fault("read the setting "+want.setting, err)
		}
		if value == want.not {
			problems = append(problems, fmt.Sprintf("%s is %s: %s; %s", want.setting, value, want.why, want.remedy))
		}
	}
	for _, setting := range []string{"enable_seqscan", "jit", "plan_cache_mode"} {
		var value string
		if err := conn.QueryRow(ctx, "SELECT current_setting($1)", setting).Scan(&value); err != nil {
			return nil, Fault("read the setting "+setting, err)
		}
		if value != session[setting] {
			problems = append(problems, fmt.Sprintf("%s is %s, though the session was begun with %s: a pooler that drops session settings stands before it; %s", setting, value, session[setting], direct))
		}
	}
	var number int
	var version, encoding, checksums string
	var superuser bool
	err = conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version'), pg_encoding_to_char(encoding), current_setting('data_checksums'), `+
		`(SELECT rolsuper FROM pg_roles WHERE rolname = current_user) FROM pg_database WHERE datname = current_database()`).
		Scan(&number, &version, &encoding, &checksums, &superuser)
	if err != nil {
		return nil, Fault("read the server's version", err)
	}
	if number < oldest {
		problems = append(problems, fmt.Sprintf("the server has version %s: run PostgreSQL %d or newer", version, oldest/10000))
	}
	if encoding != "UTF8" {
		problems = append(problems, fmt.Sprintf("the database has encoding %s: make it with ENCODING 'UTF8' TEMPLATE template0", encoding))
	}
	if checksums != "on" {
		d.cfg.Logger.WarnContext(ctx, "data_checksums is off: damage to a page is noticed late; see pg_checksums --enable")
	}
	if superuser {
		d.cfg.Logger.WarnContext(ctx, "connected as a superuser, whom no permission holds back: use a member of sigbox_"+d.cfg.Schema+"_writer")
	}
	return problems, nil
}

// pooled tells whether a second connection gets the session of the first.
func (d *DB) pooled(ctx context.Context, first *pgx.Conn) (bool, error) {
	second, err := d.single(ctx)
	if err != nil {
		return false, Fault("connect to the database a second time", err)
	}
	defer second.Close(context.WithoutCancel(ctx))
	pids := make(map[int32]bool)
	for _, c := range []*pgx.Conn{first, second, first, second} {
		var pid int32
		if err := c.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
			return false, Fault("look for a pooler", err)
		}
		pids[pid] = true
	}
	return len(pids) != 2, nil
}

// schema compares the version of the schema with the one that this binary was made for.
func (d *DB) schema(ctx context.Context, conn *pgx.Conn) (problem string, err error) {
	want, err := migrations.NewestPostgres(d.cfg.Schema)
	if err != nil {
		return "", err
	}
	have, err := migrations.VersionPostgres(ctx, conn, d.cfg.Schema)
	switch {
	case Code(err) == insufficientPrivilege:
		return notMember(conn.Config().User, d.cfg.Schema), nil
	case err != nil:
		return "", Fault("read the version of schema "+d.cfg.Schema, err)
	case have == want:
		return "", nil
	case have > want:
		return fmt.Sprintf("schema %s has version %d, made by a newer sigbox; this one knows %d: run the newer one", d.cfg.Schema, have, want), nil
	}
	return fmt.Sprintf("schema %s has version %d, this sigbox needs %d: run sigbox migrate", d.cfg.Schema, have, want), nil
}

// CheckWriter refuses a user that may not write, before the first entry finds out, and warns of one
// that may do more: the schema's triggers hold back all but their owner.
func (d *DB) CheckWriter(ctx context.Context) error {
	writer, owner := "sigbox_"+d.cfg.Schema+"_writer", "sigbox_"+d.cfg.Schema+"_owner"
	var user string
	var writes, owns, superuser bool
	err := d.read.QueryRow(ctx, `SELECT current_user, pg_has_role($1, 'USAGE'), pg_has_role($2, 'MEMBER'), rolsuper FROM pg_roles WHERE rolname = current_user`, writer, owner).
		Scan(&user, &writes, &owns, &superuser)
	if err != nil {
		return Fault("look up the roles of the database user", err)
	}
	if !writes {
		return fmt.Errorf("%w: %s", ErrUnsafe, notMember(user, d.cfg.Schema))
	}
	if owns && !superuser { // Open has warned of a superuser
		d.cfg.Logger.WarnContext(ctx, "connected as an owner of the tables, who could remove what guards them: use a user that is only a member of "+writer, "user", user)
	}
	return nil
}

func notMember(user, schema string) string {
	writer := "sigbox_" + schema + "_writer"
	return fmt.Sprintf("the database user %s is not a member of %s: run sigbox migrate, or GRANT %s TO %s", user, writer, writer, pgx.Identifier{user}.Sanitize())
}
