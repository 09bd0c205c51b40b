package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/setup"
	"github.com/sigbox/sigbox/internal/clock"
)

// initFlags are what init is told; see setup.Choices.
type initFlags struct {
	dir             string
	dev, production bool
	url, database   string
	listen          string
	guard           string
	choices         setup.Choices
	databases       setup.Services
	tuf             setup.Signers
}

func initCommand() *cobra.Command {
	var f initFlags
	cmd := &cobra.Command{
		Use:   "init (--dev | --production) --dir DIR",
		Short: "Make everything that serve runs from: keys, configuration, databases, logs, trust root",
		Long: `Make a directory that "sigbox serve" runs from, with the services ca, tlog and tuf
over PostgreSQL: keys of every role, certificates, a configuration to read and to
edit, the database schemas and a user for each, the logs, and the first trust root.

  --dev          everything in one go, with a development issuer that signs in
                 anybody and with the offline keys in DIR/offline
  --production   the keys of the root certificate and of the trust root are made and
                 kept elsewhere. init stops where they must sign, writes what is to be
                 signed to DIR/requests, and says what to do; then run it again

Each step looks at what is there and makes what is missing. Run again, it goes on
where it was stopped, by whatever; when everything is there it changes nothing. It
writes over nothing but what it says itself in public/statements, and that only
until it is to be signed. What was asked for the first time is remembered in
DIR/init.json, and need not be said again.

A database is named by the URL of a user that may make schemas and roles. User and
password go nowhere: serve gets users of its own, which can only add, with passwords
in files. Where init has another way to the database than serve, such as a socket, or
a password that is not for the command line, the URL that init connects with is in
the environment: SIGBOX_MIGRATE_URL, or SIGBOX_CA_MIGRATE_URL, SIGBOX_TLOG_MIGRATE_URL
and SIGBOX_TUF_MIGRATE_URL, and SIGBOX_GUARD_MIGRATE_URL for a guard in a database.

The exit code is 0 when all is made, 3 when init waits for offline keys, 2 where the
configuration would be wrong and 1 for all else.`,
		Example: `  sigbox init --dev --dir ./sigbox --url http://127.0.0.1:8080 \
    --database postgres://postgres@127.0.0.1:5432/sigbox

  three services, each known by a URL of its own:
  sigbox init --dev --dir ./sigbox --ca-url http://127.0.0.1:5555 --tlog-url http://127.0.0.1:3000 \
    --tuf-url http://127.0.0.1:8081 --issuer-url http://127.0.0.1:8080 \
    --tlog-peer tlog:9443 --ca-peer ca:9443 --database postgres://postgres@db/sigbox

  sigbox init --production --dir /etc/sigbox --url https://sigstore.example.com --behind-proxy \
    --database postgres://postgres@db.example.com/sigbox --guard postgres://postgres@guard.example.com/guard
  sigbox init --dir /etc/sigbox             go on`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	f.add(cmd)
	return cmd
}

func (f *initFlags) add(cmd *cobra.Command) {
	s, c := cmd.Flags(), &f.choices
	s.StringVar(&f.dir, "dir", "./sigbox", "directory to make")
	s.BoolVar(&f.dev, "dev", false, "for development: every key here, an issuer that signs in anybody")
	s.BoolVar(&f.production, "production", false, "with offline keys")
	s.StringVar(&c.Organization, "organization", "", "organization in the names of certificates (default \"sigbox HOST\")")
	s.StringVar(&f.url, "url", "", "public origin of all services, such as https://sigstore.example.com; fixed for the life of the logs")
	s.StringVar(&c.URLs.CA, "ca-url", "", "public origin of ca, where it has one of its own")
	s.StringVar(&c.URLs.TLog, "tlog-url", "", "public origin of tlog")
	s.StringVar(&c.URLs.TUF, "tuf-url", "", "public origin of tuf")
	s.StringVar(&c.URLs.Issuer, "issuer-url", "", "public origin of the development issuer")
	s.StringVar(&f.listen, "listen", "", "address and port of all services (default: of the URL where it is on loopback, else a port of 127.0.0.1)")
	s.StringVar(&c.Listen.CA, "ca-listen", "", "address and port of ca")
	s.StringVar(&c.Listen.TLog, "tlog-listen", "", "address and port of tlog")
	s.StringVar(&c.Listen.TUF, "tuf-listen", "", "address and port of tuf")
	s.StringVar(&c.Listen.Issuer, "issuer-listen", "", "address and port of the development issuer")
	s.BoolVar(&c.OpenIssuer, "issuer-beyond-loopback", false, "let the development issuer listen where other machines or containers reach it")
	s.StringVar(&c.CAPeer, "ca-peer", "", "address and port at which the other services reach ca (default 127.0.0.1:9441)")
	s.StringVar(&c.TLogPeer, "tlog-peer", "", "address and port at which the other services reach tlog (default 127.0.0.1:9443)")
	s.StringSliceVar(&c.PeerNames, "peer-name", nil, "SERVICE=NAME: a further host name of ca, tlog or tuf in its peer certificate, such as tlog=tlog-2")
	s.StringVar(&f.database, "database", "", "PostgreSQL database of all services, with a user that may make schemas and roles")
	s.StringVar(&f.databases.CA, "ca-database", "", "database of ca, where it has one of its own")
	s.StringVar(&f.databases.TLog, "tlog-database", "", "database of tlog")
	s.StringVar(&f.databases.TUF, "tuf-database", "", "database of tuf")
	s.StringVar(&f.guard, "guard", "", "what notices a database that went back in time: a PostgreSQL URL on another server, file:PATH (from DIR), or none (default with --dev file:tlog/guard)")
	s.StringVar(&c.Token, "token", "", "PKCS #11 URI of a token, such as an HSM, to make the services' keys on (docs/hsm.md)")
	s.StringVar(&c.TLSCert, "tls-cert", "", "PEM certificate chain for HTTPS")
	s.StringVar(&c.TLSKey, "tls-key", "", "PEM key of --tls-cert")
	s.BoolVar(&c.Proxy, "behind-proxy", false, "a proxy in front speaks HTTPS")
	s.StringSliceVar(&f.tuf.RootKeys, "tuf-root-key", nil, "--production: public key of somebody who signs root; repeat it for each")
	s.StringSliceVar(&f.tuf.TargetsKeys, "tuf-targets-key", nil, "--production: public key of somebody who signs targets; repeat it for each")
	s.IntVar(&f.tuf.RootThreshold, "tuf-root-threshold", 0, "how many of them must sign root; without it more than half")
	s.IntVar(&f.tuf.TargetsThreshold, "tuf-targets-threshold", 0, "how many of them must sign targets; without it more than half")
	cmd.MarkFlagsMutuallyExclusive("dev", "production")
	for _, name := range []string{"ca", "tlog", "tuf", "issuer"} {
		cmd.MarkFlagsMutuallyExclusive("url", name+"-url")
		cmd.MarkFlagsMutuallyExclusive("listen", name+"-listen")
		if name != "issuer" {
			cmd.MarkFlagsMutuallyExclusive("database", name+"-database")
		}
	}
}

func (f *initFlags) run(ctx context.Context, out io.Writer) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	o.Out = out
	r, err := setup.Run(ctx, o)
	var waiting *setup.Waiting
	if errors.As(err, &waiting) {
		if _, err := fmt.Fprintf(out, "\n%s\n", waiting.Todo); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	text, err := initSummary(r)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, text)
	return err
}

// options turns flags into what setup wants.
func (f *initFlags) options() (o setup.Options, err error) {
	o = setup.Options{Dir: f.dir, Choices: f.choices, Admin: f.databases, Guard: f.guard, Dev: f.dev, TUF: f.tuf, Clock: clock.System{}}
	c := &o.Choices
	fresh := true
	if _, err := os.Stat(filepath.Join(f.dir, "init.json")); err == nil {
		fresh = false
	}
	if fresh && !f.dev && !f.production {
		return o, errors.New("say what kind of instance is to be made: --dev or --production")
	}
	c.Production = f.production
	if c.URLs.CA == "" && f.url != "" {
		c.URLs = setup.Services{CA: f.url, TLog: f.url, TUF: f.url}
		if f.dev { // without it the kind is that of the directory
			c.URLs.Issuer = f.url
		}
	}
	if f.listen != "" {
		c.Listen = setup.Services{CA: f.listen, TLog: f.listen, TUF: f.listen}
		if f.dev {
			c.Listen.Issuer = f.listen
		}
	}
	if f.database != "" {
		o.Admin = setup.Services{CA: f.database, TLog: f.database, TUF: f.database}
	}
	env := migrateURLs()
	if o.Admin == (setup.Services{}) && fresh {
		o.Admin = env
	}
	if err := keepDatabases(&o); err != nil {
		return o, err
	}
	for _, d := range []struct{ to, from *string }{{&o.Admin.CA, &env.CA}, {&o.Admin.TLog, &env.TLog}, {&o.Admin.TUF, &env.TUF}} {
		if *d.from != "" { // it need not be the way that the services take
			*d.to = *d.from
		}
	}
	if guard := os.Getenv("SIGBOX_GUARD_MIGRATE_URL"); guard != "" && o.Guard != "" {
		o.Guard = guard
	}
	for _, file := range []*string{&c.TLSCert, &c.TLSKey} {
		if *file == "" {
			continue
		}
		if *file, err = filepath.Abs(*file); err != nil {
			return o, err
		}
	}
	return o, nil
}

// migrateURLs are the connection strings of the environment, as sigbox migrate takes them from the
// configuration that init writes.
func migrateURLs() setup.Services {
	of := func(service string) string {
		if url := os.Getenv("SIGBOX_" + service + "_MIGRATE_URL"); url != "" {
			return url
		}
		return os.Getenv("SIGBOX_MIGRATE_URL")
	}
	return setup.Services{CA: of("CA"), TLog: of("TLOG"), TUF: of("TUF")}
}

// keepDatabases puts into the choices what is kept of the connection strings.
func keepDatabases(o *setup.Options) (err error) {
	c := &o.Choices
	for _, d := range []struct {
		to   *string
		from string
		flag string
	}{
		{&c.Databases.CA, o.Admin.CA, "--database or --ca-database"}, {&c.Databases.TLog, o.Admin.TLog, "--database or --tlog-database"},
		{&c.Databases.TUF, o.Admin.TUF, "--database or --tuf-database"},
	} {
		if *d.to, err = setup.WithoutUser(d.from); err != nil {
			return fmt.Errorf("%s: %w", d.flag, err)
		}
	}
	c.Guard = o.Guard
	if !setup.GuardIsDatabase(o.Guard) {
		o.Guard = ""
		return nil
	}
	if c.Guard, err = setup.WithoutUser(o.Guard); err != nil {
		return fmt.Errorf("--guard: %w", err)
	}
	return nil
}
