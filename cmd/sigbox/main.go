// Command sigbox is a private Sigstore in one binary. Run `sigbox help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/setup"
)

func main() {
	idle := make([]byte, ballast)
	defer runtime.KeepAlive(idle)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "sigbox: "+err.Error())
		if errors.Is(err, setup.ErrWaiting) {
			os.Exit(exitWaiting)
		}
		var wrong *config.Error
		if errors.As(err, &wrong) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

// ballast is how many bytes the garbage collector takes for in use although nobody ever touches them, so that
// they are not in memory. It collects when there is as much garbage as is in use: a server, which has little in
// use and makes 100 kB of garbage for each certificate, would collect ten times a second (docs/design/0004).
const ballast = 16 << 20

// exitWaiting is the exit code of an init that waits for the holders of offline keys.
const exitWaiting = 3

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "sigbox",
		Short: "A private Sigstore in one binary",
		Long: `sigbox runs a complete private Sigstore: a certificate authority that turns
identity tokens into short-lived signing certificates, transparency logs, a
timestamp authority, and the TUF repository through which clients trust them.

Start with "sigbox up": it runs everything on this machine and prints what to
type next.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          showHelp,
	}
	root.AddCommand(
		upCommand(), initCommand(), serveCommand(), healthCommand(), tourCommand(), clientsCommand(), migrateCommand(),
		configCommand(), keyCommand(), logCommand(), caCommand(), tufCommand(), trustCommand(), airgapCommand(), mirrorCommand(), rotateCommand(),
		expiryCommand(), tokenCommand(), benchCommand(), versionCommand(),
	)
	return root
}

// showHelp is what a command does that only groups others. Without it cobra shows the help for an
// unknown subcommand too, and exits 0: a misspelt command in a script would count as done.
func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }
