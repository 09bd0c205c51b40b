package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/airgap"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/internal/clock"
)

// What a mirror does once what it was given is not good any more.
const (
	overWarn = "warn"
	overStop = "stop"
)

type mirrorFlags struct {
	data, listen, over string
	cert, key          string
	verbose            bool
}

func mirrorCommand() *cobra.Command {
	var f mirrorFlags
	cmd := &cobra.Command{
		Use:   "mirror",
		Short: "Serve what was imported over an air gap to clients that verify",
		Long: `Serve the directory of a mirror, read-only: the TUF repository at /tuf, the trust
files at /trust, and what else was imported below /airgap. Snapshot and timestamp are
signed with the mirror's own keys and renewed while it runs, never beyond the time until
which the import is good. Nothing here signs anything else, and nothing leaves the machine.

After that time clients that check the expiry, which all TUF clients do, refuse what the
mirror has. With --when-over warn (the default) it serves on for those who take the plain
files, warns in its log, and /readyz says degraded; with --when-over stop it answers 503.
It also warns 90, 30, 14, 7 and 2 days before.`,
		Example: `  sigbox mirror init --root root.json --data /var/lib/sigbox-mirror
  sigbox airgap import first.tar --data /var/lib/sigbox-mirror
  sigbox mirror --data /var/lib/sigbox-mirror --listen 127.0.0.1:8080`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.serve(cmd.Context(), cmd.OutOrStdout()) },
	}
	cmd.Flags().StringVar(&f.data, "data", "./sigbox-mirror", "directory of the mirror")
	cmd.Flags().StringVar(&f.listen, "listen", "127.0.0.1:8080", "address and port")
	cmd.Flags().StringVar(&f.over, "when-over", overWarn, "warn or stop, once what was imported is not good any more")
	cmd.Flags().StringVar(&f.cert, "tls-cert", "", "PEM certificate chain for HTTPS")
	cmd.Flags().StringVar(&f.key, "tls-key", "", "PEM key of --tls-cert")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "log every request")
	cmd.MarkFlagsRequiredTogether("tls-cert", "tls-key")
	cmd.AddCommand(mirrorInitCommand())
	return cmd
}

func (f mirrorFlags) serve(ctx context.Context, out io.Writer) (err error) {
	if f.over != overWarn && f.over != overStop {
		return fmt.Errorf("--when-over %q: want %s or %s", f.over, overWarn, overStop)
	}
	level := slog.LevelInfo
	if f.verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	m, err := airgap.Open(ctx, f.data, clock.System{}, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	receipt, err := m.Receipt()
	if err != nil {
		return fmt.Errorf("%s: %w: sigbox airgap import FILE --data %s", f.data, err, f.data)
	}
	scheme, secure, err := readTLS(upFlags{tlsCert: f.cert, tlsKey: f.key})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w", f.listen, err)
	}
	defer ln.Close() // closed already where Run ran
	s := stack.NewMirrorServer(ctx, stack.MirrorOptions{Mirror: m, Stop: f.over == overStop, TLS: secure, Clock: clock.System{}, Log: log})
	url := scheme + "://" + ln.Addr().String()
	fmt.Fprintf(out, "mirror of %s at %s/tuf, good until %s\n", receipt.Manifest.Mirror, url, receipt.Manifest.GoodUntil.Format(time.RFC3339))
	return s.Run(ctx, ln)
}

func mirrorInitCommand() *cobra.Command {
	var dir, root string
	cmd := &cobra.Command{
		Use:   "init --root FILE",
		Short: "Make a mirror, with keys of its own",
		Long: `Make the directory of a mirror behind an air gap: two keys, with which it will sign
snapshot and timestamp of what is imported, and the root.json by which it knows the
instance. Bring that over a channel that you trust: whatever does not follow from it is
never imported.

The public keys go out once, to be named in a root there:
  sigbox tuf request --mirror-snapshot-key snapshot.key.pub --mirror-timestamp-key timestamp.key.pub --out root.json`,
		Example: `  sigbox mirror init --root root.json --data /var/lib/sigbox-mirror`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			raw, err := readRoot(root)
			if err != nil {
				return err
			}
			if err := airgap.Create(cmd.Context(), dir, raw); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "made %s\ntake out  %s\n          %s\n", dir, filepath.Join(dir, "snapshot.key.pub"), filepath.Join(dir, "timestamp.key.pub"))
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "data", "./sigbox-mirror", "directory to make")
	cmd.Flags().StringVar(&root, "root", "", "root.json of the instance, got over a trusted channel")
	must(cmd.MarkFlagRequired("root"))
	return cmd
}
