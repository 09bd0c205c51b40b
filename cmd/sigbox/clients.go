package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/clients"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/tuf/clientcache"
)

type clientsFlags struct {
	url, config, root, out string
	choices                clients.Choices
}

func clientsCommand() *cobra.Command {
	var f clientsFlags
	cmd := &cobra.Command{
		Use:   "clients [NAME]",
		Short: "Write the files and settings of a client for an instance",
		Long: `Write the exact files and settings with which a program signs or verifies with an
instance, and say what that program cannot do. Without NAME the programs are listed:
command lines, libraries, admission controllers, pipelines, registries and build
systems.

Everything is written from what the instance publishes, fetched through its TUF
repository and verified, so that keys, chains and addresses are those that count
now. Without --root the root.json that the instance serves is trusted; its SHA-256
is printed, so that it can be compared over another channel.

Without --out the files are printed. With it they are written to a directory, and
with them the files of "sigbox trust export" that they refer to.

What only you know stands there as an example, unless you say it: --image, --identity
and --issuer. A version and a date mean that this version was run against sigbox and
passed; the rest is marked "` + clients.NotRun + `".`,
		Example: `  sigbox clients                                        the list
  sigbox clients cosign-3
  sigbox clients kyverno --url https://sigstore.example.com --out ./kyverno \
    --image registry.example.com/shop/app --identity ci@example.com`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("one client at a time: got %s", strings.Join(args, ", "))
			}
			return nil
		},
		ValidArgsFunction: completeClients,
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := clients.All()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return listClients(cmd.OutOrStdout(), all)
			}
			c, err := clients.Find(all, args[0])
			if err != nil {
				return err
			}
			return writeClient(cmd, c, f)
		},
	}
	cmd.Flags().StringVar(&f.url, "url", "", "URL of the instance, or of its TUF repository (default "+defaultURL+")")
	cmd.Flags().StringVar(&f.config, "config", "", "configuration file of serve to take the URL from, instead of --url")
	cmd.Flags().StringVar(&f.root, "root", "", "root.json to start from, got over a trusted channel")
	cmd.Flags().StringVar(&f.out, "out", "", "directory to write the files to; made if it is not there")
	cmd.Flags().StringVar(&f.choices.Image, "image", "", "repository of the images, without tag (default registry.example.com/app)")
	cmd.Flags().StringVar(&f.choices.Identity, "identity", "", "who signs, as certificates name it: an address or a URL (default dev@example.com)")
	cmd.Flags().StringVar(&f.choices.Issuer, "issuer", "", "issuer of that identity (default the instance's)")
	cmd.MarkFlagsMutuallyExclusive("url", "config")
	return cmd
}

func completeClients(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	all, err := clients.All()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, c := range all {
		names = append(names, c.Name+"\t"+c.Title)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func listClients(out io.Writer, all []*clients.Client) error {
	group := ""
	for _, c := range all {
		if c.Group != group {
			group = c.Group
			fmt.Fprintf(out, "%s\n", group)
		}
		fmt.Fprintf(out, "  %-18s %-50s %s\n", c.Name, c.Title, c.Evidence)
	}
	_, err := fmt.Fprintf(out, "\nsigbox clients NAME prints the files of one, for the instance at --url.\n")
	return err
}

func writeClient(cmd *cobra.Command, c *clients.Client, f clientsFlags) error {
	trust, err := fetchTrust(cmd, f)
	if err != nil {
		return err
	}
	if f.out != "" {
		if f.choices.Dir, err = filepath.Abs(f.out); err != nil {
			return err
		}
	}
	i, err := clients.FromTrust(trust, f.choices)
	if err != nil {
		return err
	}
	r, err := c.Render(i)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if f.out == "" {
		_, err := io.WriteString(out, r.Print())
		return err
	}
	names, err := r.Write(i, f.choices.Dir)
	if err != nil {
		return fmt.Errorf("write the files of %s: %w", c.Name, err)
	}
	_, err = fmt.Fprint(out, r.Written(f.out, names))
	return err
}

// fetchTrust finds the instance and fetches what it publishes.
func fetchTrust(cmd *cobra.Command, f clientsFlags) (clients.Trust, error) {
	url := cmp.Or(f.url, defaultURL)
	if f.config != "" {
		cfg, err := config.Load(f.config)
		if err != nil {
			return clients.Trust{}, err
		}
		if cfg.TUF == nil {
			return clients.Trust{}, errors.New(f.config + " has no section tuf, so it does not say where clients find what to trust: use --url")
		}
		url = string(cfg.TUF.PublicURL)
	}
	o := clientcache.ExportOptions{URL: url}
	if f.root != "" {
		raw, err := os.ReadFile(f.root)
		if err != nil {
			return clients.Trust{}, fmt.Errorf("root: %w", err)
		}
		o.Root = raw
	}
	got, err := clientcache.Fetch(cmd.Context(), o)
	if err != nil {
		return clients.Trust{}, err
	}
	t := clients.Trust{Mirror: got.Mirror, Root: got.Root, Targets: got.Targets, Repository: got.Repository}
	if got.FirstUse {
		fmt.Fprintf(cmd.ErrOrStderr(), "root.json, SHA-256 %s, was taken from the instance itself: compare it with what the operator tells you\n", t.RootSHA256())
	}
	return t, nil
}
