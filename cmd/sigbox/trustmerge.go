package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/tuf/clientcache"
	"github.com/sigbox/sigbox/tuf/foreign"
	"github.com/sigbox/sigbox/tuf/foreignrepo"
	"github.com/sigbox/sigbox/tuf/trustroot"
)

// fetchFlags say which instance is asked, as any client asks it.
type fetchFlags struct{ url, root string }

func (f *fetchFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.url, "url", defaultURL, "URL of the instance or of its TUF repository; a mirror's too")
	cmd.Flags().StringVar(&f.root, "root", "", "root.json to start from, got over a trusted channel")
}

// fetch is the instance's targets, and the list of trust roots of others.
func (f *fetchFlags) fetch(cmd *cobra.Command) (got clientcache.Fetched, ix foreign.Index, err error) {
	o := clientcache.ExportOptions{URL: f.url}
	if f.root != "" {
		if o.Root, err = os.ReadFile(f.root); err != nil {
			return got, ix, fmt.Errorf("root: %w", err)
		}
	}
	if got, err = clientcache.Fetch(cmd.Context(), o); err != nil {
		return got, ix, err
	}
	if got.FirstUse {
		fmt.Fprintln(cmd.ErrOrStderr(), "root.json was taken from the instance itself: name one that you know with --root")
	}
	ix, err = foreign.ReadIndex(got.Targets[foreign.IndexName])
	return got, ix, err
}

func trustListCommand() *cobra.Command {
	var f fetchFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the trust roots of others that an instance serves",
		Long: `List the trust roots of others that an instance, or a mirror of it, serves: name, version
of its targets (none of a file), until when it is good, where it is from.`,
		Example: `  sigbox trust list --url http://127.0.0.1:8080`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, ix, err := f.fetch(cmd)
			if err != nil {
				return err
			}
			if len(ix.Roots) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "no trust root but this instance's own")
				return nil
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tVERSION\tGOOD UNTIL\tPATH\tFROM")
			for _, e := range ix.Roots {
				version := "-"
				if e.Targets > 0 {
					version = fmt.Sprint(e.Targets)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", e.Name, version, e.Expires, e.Path, cmp.Or(e.Repository, "brought"))
			}
			return w.Flush()
		},
	}
	f.add(cmd)
	return cmd
}

func trustMergeCommand() *cobra.Command {
	var f fetchFlags
	var out string
	cmd := &cobra.Command{
		Use:   "merge NAME... [-o FILE]",
		Short: "Make one trusted_root.json of ours and others, for a client that takes one file alone",
		Long: `Fetch our trust root and those of others that the instance serves, and make one
trusted_root.json of them. The instance does not serve it: whoever uses it decides so.

Two things are said on standard error. Which clients the file would break: one Ed25519
log key, for example, makes policy-controller refuse every image. And for which issuers
several of the authorities could vouch: who trusts the merged file cannot tell which of
them has seen the token, so that the weakest of them counts. Where a client can be given
one file after the other, that is better.`,
		Example: `  sigbox trust merge public -o merged.json
  cosign verify-blob --trusted-root merged.json ...`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			got, ix, err := f.fetch(cmd)
			if err != nil {
				return err
			}
			var others [][]byte
			for _, name := range args {
				e := ix.Find(name)
				if e == nil {
					return fmt.Errorf("the instance serves no trust root %.40q: sigbox trust list shows those that there are", name)
				}
				others = append(others, got.Targets[e.Target])
			}
			merged, breaks, err := trustroot.Merge(got.Targets[trustroot.TrustedRootName], others...)
			if err != nil {
				return fmt.Errorf("these do not go into one file: %w", err)
			}
			if out == "" {
				_, err = cmd.OutOrStdout().Write(merged)
			} else {
				err = instance.WriteFile(out, merged, 0o644)
			}
			if err != nil {
				return err
			}
			printBreaks(cmd, "the merged file", breaks)
			return printVouch(cmd.Context(), cmd.ErrOrStderr(), got, ix, args)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVarP(&out, "out", "o", "", "file to write, instead of standard output")
	return cmd
}

// printVouch says for which issuers several authorities of a merged file could vouch.
func printVouch(ctx context.Context, out io.Writer, got clientcache.Fetched, ix foreign.Index, names []string) error {
	issuers, note, err := ownIssuers(ctx, got.Targets[trustroot.SigningConfigName])
	if err != nil {
		return err
	}
	parties := []foreign.Party{{Name: "this instance", Issuers: issuers}}
	unknown := []string{}
	for _, name := range names {
		e := ix.Find(name)
		parties = append(parties, foreign.Party{Name: name, Issuers: e.Issuers})
		if len(e.Issuers) == 0 {
			unknown = append(unknown, name)
		}
	}
	fmt.Fprintf(out, "with the merged file each of %d authorities is believed for every identity: %s", len(parties), parties[0].Name)
	for _, p := range parties[1:] {
		fmt.Fprintf(out, ", %s", p.Name)
	}
	fmt.Fprintln(out)
	common := foreign.Vouch(parties)
	for _, c := range common {
		fmt.Fprintf(out, "  %s: %s\n", c.Issuer, strings.Join(c.Parties, ", "))
	}
	if len(common) == 0 {
		fmt.Fprintln(out, "  no issuer is known of which more than one takes tokens")
	}
	if note != "" {
		fmt.Fprintln(out, note)
	}
	for _, name := range unknown {
		fmt.Fprintf(out, "whose tokens %s takes is not known: sigbox trust refresh %s --issuers FILE\n", name, name)
	}
	return nil
}

// ownIssuers are those whose tokens our authority takes: what it says itself, or where it cannot be asked, as
// behind an air gap, those that people sign in with.
func ownIssuers(ctx context.Context, signingConfig []byte) (urls []string, note string, err error) {
	services, err := trustroot.ReadSigningConfig(signingConfig)
	if err != nil {
		return nil, "", err
	}
	authority := ""
	for _, s := range services {
		switch s.Kind {
		case "issuer":
			urls = append(urls, s.URL)
		case "CA":
			authority = s.URL
		}
	}
	asked, err := askIssuers(ctx, authority)
	if err != nil {
		return urls, fmt.Sprintf("of this instance only the issuers for people are known, since its authority could not be asked (%v)", err), nil
	}
	return asked, "", nil
}

func askIssuers(ctx context.Context, authority string) (urls []string, err error) {
	src, _, done, err := foreignrepo.Open(authority, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	raw, err := src.Fetch(ctx, "api/v2/configuration", 1<<20)
	if err != nil {
		return nil, err
	}
	return foreign.ParseIssuers(raw)
}
