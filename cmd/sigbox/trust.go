package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/tuf/clientcache"
)

func trustCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "Give clients what they need to trust an instance, and others beside it",
		Args:  cobra.NoArgs,
		RunE:  showHelp,
	}
	cmd.AddCommand(trustExportCommand(), trustInitCommand(), trustKeysCommand(), trustAdoptCommand(),
		trustAddCommand(), trustRefreshCommand(), trustRemoveCommand(), trustListCommand(), trustMergeCommand())
	return cmd
}

func trustExportCommand() *cobra.Command {
	var o clientcache.ExportOptions
	var root string
	var archive bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write an instance's trust root, keys and environment files to a directory",
		Long: `Fetch an instance's trust material through its TUF repository and write it to
a directory: root.json, trusted_root.json, the signing configurations, every key
and chain as PEM, and one environment file per client family.

  env-cosign3.sh   cosign 3, and other clients that read TUF_MIRROR
  env-cosign2.sh   cosign 2
  env-legacy.sh    gitsign, Kyverno's command line, images signed in the old format

Without --root the root.json that the instance serves now is trusted; its
SHA-256 is printed, so that it can be compared over another channel.

With --tar the files go to standard output as a tar archive, for a sigbox that runs
in a container and clients that do not; --out is then where they will be unpacked.`,
		Example: `  sigbox trust export --url http://127.0.0.1:8080 --out ./trust
  . ./trust/env-cosign3.sh && cosign verify-blob ...`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if root != "" {
				raw, err := os.ReadFile(root)
				if err != nil {
					return fmt.Errorf("root: %w", err)
				}
				o.Root = raw
			}
			out := cmd.OutOrStdout()
			if archive {
				if isTerminal(out) {
					return errors.New("--tar writes an archive to standard output: send it to tar -x or to a file")
				}
				o.Tar, out = out, cmd.ErrOrStderr()
			}
			res, err := clientcache.Export(cmd.Context(), o)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "wrote %d files to %s\nroot.json version %d, SHA-256 %s\n", len(res.Files), res.Dir, res.RootVersion, res.RootSHA256)
			if res.FirstUse {
				fmt.Fprintln(out, "root.json was taken from the instance itself: compare its SHA-256 with what the operator tells you")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.URL, "url", defaultURL, "URL of the instance")
	cmd.Flags().StringVar(&o.Dir, "out", "", "directory to write to; made if it is not there")
	cmd.Flags().StringVar(&root, "root", "", "root.json to start from, got over a trusted channel")
	cmd.Flags().BoolVar(&archive, "tar", false, "write a tar archive to standard output, of the files as they are to be in the directory of --out")
	must(cmd.MarkFlagRequired("out"))
	return cmd
}

func trustInitCommand() *cobra.Command {
	var o clientcache.InitOptions
	var root string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Fill this user's TUF cache for old and new clients at once",
		Long: `Fill the TUF cache that clients share ($TUF_ROOT, else ~/.sigstore/root) for
both generations of TUF clients, so that cosign 2 and 3, gitsign, Kyverno's
command line and policy-controller's tester all trust the instance with no key
variable set. "cosign initialize" fills it for one generation only.

To go back to the public instance: rm -r the cache, or run "cosign initialize".`,
		Example: `  sigbox trust init --mirror http://127.0.0.1:8080/tuf --root ./trust/root.json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			raw, err := os.ReadFile(root)
			if err != nil {
				return fmt.Errorf("root: %w", err)
			}
			o.Root = raw
			res, err := clientcache.Init(cmd.Context(), o)
			if errors.Is(err, clientcache.ErrOtherInstance) {
				return fmt.Errorf("%w\nto take it over for this instance, run the same command with --replace", err)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "clients that use %s now trust %s (root.json version %d)\n", res.Dir, res.Mirror, res.RootVersion)
			return nil
		},
	}
	cmd.Flags().StringVar(&o.Mirror, "mirror", "", "URL of the TUF repository, for example "+defaultURL+"/tuf")
	cmd.Flags().StringVar(&root, "root", "", "root.json to start from (see sigbox trust export)")
	cmd.Flags().BoolVar(&o.Replace, "replace", false, "take over a cache that another instance filled")
	must(cmd.MarkFlagRequired("mirror"))
	must(cmd.MarkFlagRequired("root"))
	return cmd
}

// must is for flags that were declared a line above.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
