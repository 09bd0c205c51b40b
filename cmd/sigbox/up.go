package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/oidc"
	"github.com/sigbox/sigbox/tuf/clientcache"
)

type upFlags struct {
	listen, data, database string
	issuers, registry      string
	tlsCert, tlsKey        string
	verbose                bool
}

func upCommand() *cobra.Command {
	var f upFlags
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run the whole stack on this machine, for development",
		Long: `Run a complete private Sigstore in one process: certificate authority, Rekor
v1 and v2 logs, CT log, timestamp authority, TUF repository and a development
identity issuer, all at one loopback address.

The first run makes keys and a database in the data directory; later runs find
them again. The issuer signs in anybody, so an address that other machines can
reach is refused.

The last line on standard output is "ready URL". Ctrl-C or SIGTERM stops it.`,
		Example: `  sigbox up
  sigbox up --listen 127.0.0.1:9090 --data ~/sigbox
  sigbox up --registry 127.0.0.1:5001      with an in-memory OCI registry`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return up(cmd.Context(), f, cmd.OutOrStdout()) },
	}
	cmd.Flags().StringVar(&f.listen, "listen", "127.0.0.1:8080", "loopback address and port; the host becomes part of every URL and cannot change later")
	cmd.Flags().StringVar(&f.data, "data", "./sigbox-data", "data directory; made by the first run")
	cmd.Flags().StringVar(&f.database, "database", "", "keep the logs in this PostgreSQL database (a libpq URL; a password belongs in PGPASSFILE) instead of the data directory")
	cmd.Flags().StringVar(&f.issuers, "issuers", "", "Fulcio config.yaml with issuers to trust beside the development one")
	cmd.Flags().StringVar(&f.registry, "registry", "", "serve an in-memory OCI registry at this loopback address; its images are gone when it stops")
	cmd.Flags().StringVar(&f.tlsCert, "tls-cert", "", "PEM certificate chain: serve HTTPS, as sigstore-java needs; clients trust it through SSL_CERT_FILE and the like")
	cmd.Flags().StringVar(&f.tlsKey, "tls-key", "", "PEM key of --tls-cert")
	cmd.MarkFlagsRequiredTogether("tls-cert", "tls-key")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "log every request")
	return cmd
}

func up(ctx context.Context, f upFlags, out io.Writer) (err error) {
	level := slog.LevelInfo
	if f.verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	issuers, err := readIssuers(f.issuers)
	if err != nil {
		return err
	}
	if err := refuseTUFRoot(f.data); err != nil {
		return err
	}
	scheme, secure, err := readTLS(f)
	if err != nil {
		return err
	}
	ln, host, err := stack.Listen(f.listen)
	if err != nil {
		return err
	}
	defer ln.Close() // closed already where Serve ran
	registry, err := listenRegistry(f.registry)
	if err != nil {
		return err
	}
	if registry != nil {
		defer registry.Close()
	}
	url := scheme + "://" + net.JoinHostPort(host, portOf(ln))
	dir, created, err := openInstance(ctx, f, host, url, log)
	if err != nil {
		return unlessStopped(ctx, log, err)
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	var s *stack.Stack
	export := func(ctx context.Context) (clientcache.Exported, error) {
		return clientcache.Export(ctx, clientcache.ExportOptions{URL: url, Dir: dir.File("trust"), Root: s.FirstRoot(), TLS: stack.SelfTLS(secure)})
	}
	s, err = stack.Open(ctx, stack.Options{
		Dir: dir, URL: url, Database: f.database, TLS: secure, Issuers: issuers, Clock: clock.System{}, Log: log,
		Rotated: func(ctx context.Context) error {
			_, err := export(ctx)
			return err
		},
	})
	if err != nil {
		return unlessStopped(ctx, log, err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	stop := ctx
	services, ctx := errgroup.WithContext(ctx)
	services.Go(func() error { return s.Run(ctx, ln) })
	if registry != nil {
		services.Go(func() error { return stack.Serve(ctx, registry, stack.Registry(), nil) })
	}
	services.Go(func() error {
		return unlessStopped(stop, log, announce(ctx, s, dir, url, export, created, registry, out))
	})
	return services.Wait()
}

// unlessStopped returns err, but not where Ctrl-C or SIGTERM came before everything was ready: what
// fails then, fails for want of time, and to stop when told to is no failure.
func unlessStopped(ctx context.Context, log *slog.Logger, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	log.Info("stopped before it was ready", "while", err)
	return nil
}

// openInstance opens the data directory, and makes it first if it is not there.
func openInstance(ctx context.Context, f upFlags, host, url string, log *slog.Logger) (dir *instance.Dir, created bool, err error) {
	path, err := filepath.Abs(f.data)
	if err != nil {
		return nil, false, fmt.Errorf("data directory: %w", err)
	}
	state, err := instance.Probe(path)
	if err != nil {
		return nil, false, err
	}
	if state == instance.Absent {
		quiet := slog.New(slog.DiscardHandler) // what is made is said in the summary
		c := clock.System{}
		logs := instance.SQLite
		if f.database != "" {
			logs = instance.PostgreSQL
		}
		err := instance.Create(path, host, logs, c.Now(), func(d *instance.Dir) error {
			return stack.Create(ctx, d, url, f.database, c, quiet)
		})
		if err != nil {
			return nil, false, err
		}
	}
	if dir, err = instance.Open(path); err != nil {
		return nil, false, err
	}
	if dir.Info.Host != host {
		err := fmt.Errorf("data directory %s belongs to an instance on host %q, not %q: the host is part of its logs' origins and cannot change: "+
			"use --listen %s, or name another directory with --data", path, dir.Info.Host, host, net.JoinHostPort(dir.Info.Host, "PORT"))
		return nil, false, errors.Join(err, dir.Close())
	}
	return dir, state == instance.Absent, dir.SetURL(url)
}

// announce writes the trust files and, once everything answers, says what runs and what to type.
func announce(ctx context.Context, s *stack.Stack, dir *instance.Dir, url string, export func(context.Context) (clientcache.Exported, error), created bool, registry net.Listener, out io.Writer) error {
	trust, err := export(ctx)
	if err != nil {
		return fmt.Errorf("trust files: %w", err)
	}
	sum := stack.Summary{
		Stack: s, URL: url, Data: dir.Path, Created: created, RootSHA256: trust.RootSHA256,
		Stale: clientcache.FindStale(ctx, trust.Mirror),
	}
	if registry != nil {
		sum.Registry = registry.Addr().String()
	}
	_, err = io.WriteString(out, sum.String())
	return err
}

func readIssuers(file string) (*oidc.Config, error) {
	if file == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("issuers: %w", err)
	}
	return oidc.ParseConfig(file, raw)
}

func readTLS(f upFlags) (scheme string, secure *tls.Config, err error) {
	if f.tlsCert == "" {
		return "http", nil, nil
	}
	secure, err = stack.LoadTLS(f.tlsCert, f.tlsKey)
	return "https", secure, err
}

// refuseTUFRoot keeps cosign 3, whose `initialize` empties $TUF_ROOT (default ~/.sigstore/root),
// away from the data.
func refuseTUFRoot(data string) error {
	root, err := clientcache.DefaultDir()
	if err != nil {
		return nil // no home directory: cosign has no cache to empty
	}
	r, err := realPath(root)
	if err != nil {
		return fmt.Errorf("TUF_ROOT: %w", err)
	}
	d, err := realPath(data)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if d == r || strings.HasPrefix(d, strings.TrimSuffix(r, "/")+"/") {
		return fmt.Errorf("cosign's cache directory (TUF_ROOT) is %s, which holds the data directory %s: `cosign initialize` empties TUF_ROOT and would delete the instance: set TUF_ROOT to another directory, or name another one with --data", root, data)
	}
	return nil
}

// realPath returns an absolute path without symbolic links; what is not there yet has none.
func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) && path != filepath.Dir(path) {
		parent, err := realPath(filepath.Dir(path))
		return filepath.Join(parent, filepath.Base(path)), err
	}
	return real, err
}

func listenRegistry(addr string) (net.Listener, error) {
	if addr == "" {
		return nil, nil
	}
	ln, _, err := stack.Listen(addr)
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	return ln, nil
}

func portOf(ln net.Listener) string {
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil { // a TCP listener has a port
		panic(err)
	}
	return port
}
