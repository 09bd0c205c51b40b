package main

import (
	"crypto"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/airgap"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/expiry"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	format "github.com/sigbox/sigbox/tuf/airgap"
)

// maxRootFile bounds a root.json that is given by hand.
const maxRootFile = 99 << 10

func airgapCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "airgap",
		Short: "Carry trust over an air gap: one signed file, taken out and brought in",
		Long: `Bring what clients need to verify to where no network is. One file goes from the
outside to the inside, and a small receipt may come back:

  sigbox mirror init                  inside: a mirror, with two keys of its own
  sigbox tuf request --mirror-...     outside, once: a root that names these keys
  sigbox airgap export                outside: the file, signed with the targets keys
  sigbox airgap sign                  outside: where several must sign it
  sigbox airgap show                  either side: what is in a file, and who has signed
  sigbox airgap import                inside: checked, and taken in whole or not at all
  sigbox mirror                       inside: served to clients that verify`,
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	cmd.AddCommand(airgapExportCommand(), airgapSignCommand(), airgapShowCommand(), airgapImportCommand())
	return cmd
}

func airgapExportCommand() *cobra.Command {
	var o airgap.ExportOptions
	var root, after string
	var keyFiles []string
	cmd := &cobra.Command{
		Use:   "export --url URL --key FILE --out FILE",
		Short: "Write what is to be carried in to one signed file",
		Long: `Fetch the TUF repository of an instance through verified updates, and the heads of
its logs with proofs that they extend those of the export before, and write them to
one file. As many holders of targets keys sign it as the root wants: here with --key,
or later with sigbox airgap sign.

What they sign says until when the file is good: 90 days, or --good-for, and never
longer than root and targets are. The mirror inside shows it until then.

--after names the export before: its file, or the receipt.json of the mirror. Without
it the export is a first one, for a new mirror.

--entries carries the entries of the logs since the export before that had them, and
--bundle files such as signature bundles, which the mirror hands out.`,
		Example: `  sigbox airgap export --url https://sigstore.example.com --key my.key --out first.tar
  sigbox airgap export --url https://sigstore.example.com --key my.key --after first.tar --out second.tar`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.GoodFor <= 0 || o.GoodFor > format.MaxGoodFor {
				return fmt.Errorf("--good-for %s: want more than nothing and at most %s", o.GoodFor, format.MaxGoodFor)
			}
			if o.Root, err = readRoot(root); err != nil {
				return err
			}
			if after != "" {
				if o.After, err = airgap.ReadAfter(after); err != nil {
					return fmt.Errorf("--after: %w", err)
				}
			}
			if o.Keys, err = loadKeys(keyFiles); err != nil {
				return err
			}
			o.Now = clock.System{}.Now()
			res, err := airgap.Export(cmd.Context(), o)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			printAirgap(out, o.Out, res.File, o.Now)
			if res.Limit != "" {
				fmt.Fprintf(out, "not longer, because %s expires then: renew it and export again\n", res.Limit)
			}
			if res.FirstUse {
				fmt.Fprintln(out, "the root was taken from the instance itself: give --root to be sure of it")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.URL, "url", defaultURL, "URL of the instance, or of its TUF repository")
	cmd.Flags().StringArrayVar(&o.LogURLs, "log-url", nil, "where logs are read, instead of the addresses in the trusted root; may be repeated")
	cmd.Flags().StringVar(&root, "root", "", "a root.json of the instance, got over a trusted channel")
	cmd.Flags().StringVar(&after, "after", "", "the export before, or the receipt of its import")
	cmd.Flags().StringArrayVar(&keyFiles, "key", nil, "targets key to sign with; may be repeated")
	cmd.Flags().DurationVar(&o.GoodFor, "good-for", format.DefaultGoodFor, "how long it is good for")
	cmd.Flags().BoolVar(&o.Entries, "entries", false, "carry the entries of the logs")
	cmd.Flags().StringArrayVar(&o.Bundles, "bundle", nil, "file to carry, for example a signature bundle; may be repeated")
	cmd.Flags().StringVar(&o.Out, "out", "", "file to write; it must not exist yet")
	must(cmd.MarkFlagRequired("out"))
	return cmd
}

func airgapSignCommand() *cobra.Command {
	var keyFiles []string
	var root string
	cmd := &cobra.Command{
		Use:   "sign FILE --key FILE",
		Short: "Add a signature to an export",
		Long: `Sign an export with a further targets key. Everything in the file is verified first,
as where it will be imported. No network and no configuration is needed.`,
		Example: `  sigbox airgap sign first.tar --key /media/stick/bob.key`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			now := clock.System{}.Now()
			o := airgap.SignOptions{File: args[0], Now: now}
			var err error
			if o.Root, err = readRoot(root); err != nil {
				return err
			}
			if o.Keys, err = loadKeys(keyFiles); err != nil {
				return err
			}
			f, err := airgap.Sign(o)
			if err != nil {
				return err
			}
			printAirgap(cmd.OutOrStdout(), args[0], f, now)
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&keyFiles, "key", nil, "targets key to sign with; may be repeated")
	cmd.Flags().StringVar(&root, "root", "", "a root.json of the instance, got over a trusted channel")
	must(cmd.MarkFlagRequired("key"))
	return cmd
}

func airgapShowCommand() *cobra.Command {
	var root string
	cmd := &cobra.Command{
		Use:     "show FILE",
		Short:   "Verify an export, and say what is in it",
		Example: `  sigbox airgap show first.tar`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			known, err := readRoot(root)
			if err != nil {
				return err
			}
			now := clock.System{}.Now()
			f, err := airgap.Look(args[0], known, now)
			if err != nil {
				return err
			}
			printAirgap(cmd.OutOrStdout(), args[0], f, now)
			return nil
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "a root.json of the instance, got over a trusted channel")
	return cmd
}

func airgapImportCommand() *cobra.Command {
	var dir string
	var max int64
	cmd := &cobra.Command{
		Use:   "import FILE --data DIR",
		Short: "Take an export into a mirror, or say why not",
		Long: `Verify an export and take it into a mirror: the chain of roots from the one that the
mirror was made with, the signatures of the targets keys, the expiry, every digest, and
that it follows the last import: no gap, nothing that goes back, and every log still has
the entries that it had. Snapshot and timestamp are then signed again with the mirror's
own keys. What is refused changes nothing. A mirror that runs shows the new set at once.

Killed at any point, the same command goes on. The same file again changes nothing.`,
		Example: `  sigbox airgap import first.tar --data /var/lib/sigbox-mirror`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			m, err := airgap.Open(cmd.Context(), dir, clock.System{}, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
			if err != nil {
				return err
			}
			defer func() {
				if closed := m.Close(); err == nil {
					err = closed
				}
			}()
			f, changed, err := m.Import(cmd.Context(), args[0], max)
			if err != nil && changed {
				return fmt.Errorf("imported, and not kept in full: run the same command again: %w", err)
			}
			if err != nil {
				return fmt.Errorf("not imported, and nothing was changed: %w", err)
			}
			out := cmd.OutOrStdout()
			if !changed {
				fmt.Fprintln(out, "imported already: nothing to do")
			}
			printAirgap(out, args[0], f, clock.System{}.Now())
			v := m.Repo.Published().Versions()
			fmt.Fprintf(out, "shown here as root version %d, targets version %d, snapshot version %d, timestamp version %d\n", v.Root, v.Targets, v.Snapshot, v.Timestamp)
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "data", "./sigbox-mirror", "directory of the mirror")
	cmd.Flags().Int64Var(&max, "max-size", 16<<30, "how many bytes of entries and bundles are taken")
	return cmd
}

// readRoot reads a root.json; "" is none.
func readRoot(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	raw, err := stack.ReadBounded(path, maxRootFile)
	if err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	return raw, nil
}

func loadKeys(files []string) (list []crypto.Signer, err error) {
	for _, file := range files {
		key, err := keys.Load(file)
		if err != nil {
			return nil, err
		}
		list = append(list, key)
	}
	return list, nil
}

// printAirgap says what is in a file, and until when it is good.
func printAirgap(out io.Writer, name string, f *format.File, now time.Time) {
	m := f.Manifest
	id, _ := m.ID() // it was just read
	fmt.Fprintf(out, "export %d of %s\nid         %s\n", m.Number, m.Mirror, id)
	if m.After != "" {
		fmt.Fprintf(out, "follows    %s\n", m.After)
	}
	fmt.Fprintf(out, "repository root version %d, targets version %d\n", m.Versions.Root, m.Versions.Targets)
	for _, l := range f.Heads() {
		carried := ""
		if l.Carried > 0 {
			carried = fmt.Sprintf(", %d of them carried", l.Carried)
		}
		fmt.Fprintf(out, "log        %s: %d entries%s\n", l.Origin, l.Size, carried)
	}
	if n := f.Bundles(); len(n) > 0 {
		fmt.Fprintf(out, "bundles    %s\n", strings.Join(n, " "))
	}
	fmt.Fprintf(out, "made       %s\ngood until %s (%s)\nsigned by  %d of the %d targets keys that it needs\n", m.Made.Format(time.RFC3339), m.GoodUntil.Format(time.RFC3339), expiry.Words(m.GoodUntil.Sub(now)), f.Have, f.Want)
	if f.Have < f.Want {
		fmt.Fprintf(out, "next: another of the holders, sigbox airgap sign %s --key FILE\n", name)
	}
}
