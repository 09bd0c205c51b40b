package setup

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/migrations"
)

// passwords are the files with the passwords of the users that serve connects as.
func (b *builder) passwords() []string {
	list := []string{"ca/database-password", "tlog/database-password", "tuf/database-password"}
	if GuardIsDatabase(b.plan.Guard) {
		list = append(list, "tlog/guard-password")
	}
	return list
}

// GuardIsDatabase tells whether what was said of the guard names a database.
func GuardIsDatabase(guard string) bool {
	return guard != "" && guard != "none" && !strings.HasPrefix(guard, "file:")
}

func (b *builder) makePasswords() error {
	for _, name := range b.passwords() {
		err := b.make(name, secret, func() ([]byte, error) {
			var r [32]byte
			if _, err := rand.Read(r[:]); err != nil {
				return nil, fmt.Errorf("random password: %w", err)
			}
			return []byte(base64.RawURLEncoding.EncodeToString(r[:]) + "\n"), nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// schema is one schema, and how it is reached.
type schema struct {
	name     string
	key      string           // of the configuration
	database *config.Database // as serve has it
	admin    string           // connection string of whoever makes it
	flag     string
}

func (b *builder) schemas(cfg *config.Config) (list []schema, err error) {
	add := func(name, key string, d *config.Database, admin, without, flag string) {
		if admin == "" {
			admin = without
		}
		list = append(list, schema{name, key, d, admin, flag})
	}
	if cfg.CA == nil || cfg.TLog == nil || cfg.TUF == nil {
		return nil, fmt.Errorf("%s: init sets up ca, tlog and tuf, and one of the sections is not there any more: put it back", cfg.File())
	}
	add("ca", "ca.database", cfg.CA.Database, b.admin.CA, b.plan.Databases.CA, "--database or --ca-database")
	add("tlog", "tlog.database", cfg.TLog.Database, b.admin.TLog, b.plan.Databases.TLog, "--database or --tlog-database")
	add("tuf", "tuf.database", cfg.TUF.Database, b.admin.TUF, b.plan.Databases.TUF, "--database or --tuf-database")
	if g := cfg.TLog.Guard; g != nil && g.Database != nil {
		add("guard", "tlog.guard.database", g.Database, b.guard, b.plan.Guard, "--guard")
	}
	return list, nil
}

// makeDatabases makes the schemas, and a user for each that can write to it and to no other. A schema
// that its user can write to is left alone, and nobody else need be let in.
func (b *builder) makeDatabases(ctx context.Context) error {
	cfg, err := b.loadConfig()
	if err != nil {
		return err
	}
	list, err := b.schemas(cfg)
	if err != nil {
		return err
	}
	missing := false
	for _, s := range list {
		ready, err := s.ready(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", s.key, err)
		}
		if ready {
			continue
		}
		missing = true
		if err := b.makeUser(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.key, err)
		}
	}
	if !missing {
		return nil
	}
	for _, s := range list { // stack.Migrate goes by the configuration
		s.database.MigrateURL = config.ConnString(s.admin)
	}
	done, err := stack.Migrate(ctx, cfg)
	if err != nil {
		return err
	}
	for _, m := range done {
		if m.Todo != "" {
			return fmt.Errorf("schema %s: an administrator has something left to do, and then run init again: %s", m.Schema, m.Todo)
		}
		if err := b.say("schema %s: %s may write", m.Schema, m.User); err != nil {
			return err
		}
	}
	return allReady(ctx, list)
}

// allReady says what serve would find.
func allReady(ctx context.Context, list []schema) error {
	for _, s := range list {
		conn, err := s.connect(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", s.key, s.explain(err))
		}
		if err := conn.Close(ctx); err != nil {
			return err
		}
	}
	return nil
}

// connectTimeout is how long a server may take to answer.
const connectTimeout = 10 * time.Second

// connect connects as serve will.
func (s schema) connect(ctx context.Context) (*pgx.Conn, error) {
	text, err := s.database.ConnString()
	if err != nil {
		return nil, err
	}
	return connect(ctx, text)
}

func connect(ctx context.Context, text string) (*pgx.Conn, error) {
	c, err := pgx.ParseConfig(text)
	if err != nil { // the library's error may quote a password
		return nil, errors.New("the connection string is not one that libpq would take")
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	return pgx.ConnectConfig(ctx, c)
}

// user is the user that serve connects as.
func (s schema) user() (string, error) {
	text, err := s.database.ConnString()
	if err != nil {
		return "", err
	}
	c, err := pgx.ParseConfig(text)
	if err != nil {
		return "", errors.New("the connection string is not one that libpq would take")
	}
	return c.User, nil
}

// ready tells whether the user of serve can write to the schema, which is as new as this binary.
func (s schema) ready(ctx context.Context) (bool, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return false, nil //nolint:nilerr // what is wrong shows when it is mended
	}
	defer conn.Close(context.WithoutCancel(ctx))
	have, err := migrations.VersionPostgres(ctx, conn, s.name)
	if err != nil {
		return false, nil //nolint:nilerr // not allowed to look: not a writer
	}
	newest, err := migrations.NewestPostgres(s.name)
	if err != nil {
		return false, err
	}
	if have > newest {
		return false, fmt.Errorf("the schema %s was made by a newer sigbox (version %d, this one knows %d): run the newer one", s.name, have, newest)
	}
	var writes bool
	err = conn.QueryRow(ctx, "SELECT pg_has_role('sigbox_' || $1 || '_writer', 'USAGE')", s.name).Scan(&writes)
	return err == nil && writes && have == newest, nil
}

// makeUser makes the user that serve connects as, if it is not there.
func (b *builder) makeUser(ctx context.Context, s schema) (err error) {
	user, err := s.user()
	if err != nil {
		return err
	}
	conn, err := connect(ctx, s.admin)
	if err != nil {
		return fmt.Errorf("connect to make the schema %s, as a user that may make schemas and roles: %w\nname such a user in %s, or in the environment (sigbox init --help)", s.name, err, s.flag)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", user).Scan(&exists); err != nil || exists {
		return err
	}
	statement := "CREATE ROLE " + pgx.Identifier{user}.Sanitize() + " LOGIN"
	if s.database.Password != "" { // the configuration may have been edited: peer authentication, a passfile
		password, err := s.database.Password.Value()
		if err != nil {
			return err
		}
		verifier, err := scramVerifier(password)
		if err != nil {
			return err
		}
		statement += " PASSWORD '" + verifier + "'"
	}
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("make the user %s: %w: have an administrator make it, with the password that is in %s", user, err, s.database.Password)
	}
	return b.say("made the database user %s", user)
}

// explain says what it means that the user of serve is not let in.
func (s schema) explain(err error) error {
	if code := pg.Code(err); code != "28P01" && code != "28000" {
		return fmt.Errorf("connect as serve will: %w", err)
	}
	user, e := s.user()
	if e != nil {
		return e
	}
	return fmt.Errorf("the user %s was there already and is not let in with the password in %s: users belong to the whole database server, and another instance may have made this one. "+
		"Give each instance a server of its own, or, if the other one is gone, have an administrator drop its databases and users (%w)", user, s.database.Password, err)
}

// scramVerifier is what PostgreSQL keeps of a password (RFC 5803, SCRAM-SHA-256): given this, the password
// itself gets into no log of the server.
func scramVerifier(password string) (string, error) {
	const iterations = 4096
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("random salt: %w", err)
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("hash the password: %w", err)
	}
	mac := func(text string) []byte {
		h := hmac.New(sha256.New, salted)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	stored := sha256.Sum256(mac("Client Key"))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, b64(salt), b64(stored[:]), b64(mac("Server Key"))), nil
}
