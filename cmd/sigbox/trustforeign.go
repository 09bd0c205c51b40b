package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tuf/foreign"
	"github.com/sigbox/sigbox/tuf/foreignrepo"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/trustroot"
)

// foreignFlags are those of the commands that change which trust roots of others are served.
type foreignFlags struct {
	data, database   string
	config, out      string
	ceremony         time.Duration
	repository, root string
	target, file     string
	issuers          []string
	issuersFile      string
	goodFor          time.Duration
}

func (f *foreignFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.data, "data", "./sigbox-data", "data directory of an instance of sigbox up, which runs or not")
	cmd.Flags().StringVar(&f.database, "database", "", "PostgreSQL database of its logs, if it was made with one")
	cmd.Flags().StringVar(&f.config, "config", "", "configuration file of sigbox serve, instead of --data")
	cmd.Flags().StringVar(&f.out, "out", "", "with --config: request file to write, for the holders of the targets keys")
	cmd.Flags().DurationVar(&f.ceremony, "ceremony", 30*24*time.Hour, "with --config: how long signing and publishing may take")
	for _, pair := range [][]string{{"config", "data"}, {"config", "database"}, {"out", "data"}} {
		cmd.MarkFlagsMutuallyExclusive(pair...)
	}
	cmd.MarkFlagsRequiredTogether("config", "out")
}

func (f *foreignFlags) addSource(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.repository, "repository", "", "base URL of its TUF repository, or a directory with a copy of it")
	cmd.Flags().StringVar(&f.file, "file", "", "its trusted_root.json, where there is no TUF repository")
	cmd.Flags().DurationVar(&f.goodFor, "good-for", 90*24*time.Hour, "with --file: how long you vouch for the file")
	cmd.Flags().StringArrayVar(&f.issuers, "issuer", nil, "an issuer whose tokens its authority takes; may be repeated")
	cmd.Flags().StringVar(&f.issuersFile, "issuers", "", "file with all of them: what GET /api/v2/configuration of its Fulcio answers, or one a line")
	cmd.MarkFlagsMutuallyExclusive("repository", "file")
}

func trustAddCommand() *cobra.Command {
	var f foreignFlags
	cmd := &cobra.Command{
		Use:   "add NAME --repository URL --root FILE | --file FILE",
		Short: "Serve the trust root of another instance beside ours",
		Long: `Take in the trust root of another instance, the public one or another sigbox, and
serve it as the target NAME.trusted_root.json and at /trust/NAME/trusted_root.json.
The default trusted_root.json stays ours alone: only clients that ask for the other
file trust the other instance.

From a TUF repository it is taken with the client workflow of TUF, starting from the
root.json that you name with --root: get that over a channel that you trust. Where
there is no network, --repository names a directory that holds the files of the
repository as they are served. A plain file (--file) has no version and no expiry:
you say how long it is good for.

Of an instance of sigbox up (--data) it is published at once. Of sigbox serve
(--config) a request is written to --out, which the holders of the targets keys sign:
sigbox tuf sign, sigbox tuf publish.

Refused, with the reason: a file that clients do not read, one with a key of ours,
what has expired, and what is older than what is here.`,
		Example: `  sigbox trust add public --repository https://tuf-repo-cdn.sigstore.dev --root sigstore-root.json
  sigbox trust add acme --file acme-trusted_root.json --issuer https://login.acme.example
  sigbox trust add public --repository ./carried --root sigstore-root.json --config sigbox.yaml --out public.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (f.file == "") == (f.repository == "") || (f.root == "") != (f.repository == "") {
				return errors.New("say where its trust root is: --repository URL or DIRECTORY with --root FILE, or --file FILE")
			}
			r, err := f.take(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return f.change(cmd, []foreign.Root{r}, func(rec record.Record) (record.Record, error) {
				if rec.FindForeign(r.Name) != nil {
					return rec, fmt.Errorf("there is a foreign root %s already: sigbox trust refresh %s brings it up to date, sigbox trust remove %s lets it go", r.Name, r.Name, r.Name)
				}
				return rec.WithForeign(r)
			})
		},
	}
	f.add(cmd)
	f.addSource(cmd)
	cmd.Flags().StringVar(&f.root, "root", "", "root.json of that repository to start from, got over a trusted channel")
	cmd.Flags().StringVar(&f.target, "target", trustroot.TrustedRootName, "name of the trust root in that repository")
	return cmd
}

// take is a foreign root that was not there.
func (f *foreignFlags) take(ctx context.Context, name string) (foreign.Root, error) {
	if err := foreign.CheckName(name); err != nil {
		return foreign.Root{}, err
	}
	issuers, err := f.allIssuers()
	if err != nil {
		return foreign.Root{}, err
	}
	now := clock.System{}.Now()
	if f.file != "" {
		raw, err := stack.ReadBounded(f.file, foreign.MaxContent)
		if err != nil {
			return foreign.Root{}, err
		}
		return foreign.FromFile(name, raw, issuers, now, now.Add(f.goodFor))
	}
	pinned, err := stack.ReadBounded(f.root, 512<<10)
	if err != nil {
		return foreign.Root{}, fmt.Errorf("root: %w", err)
	}
	src, url, done, err := foreignrepo.Open(f.repository, nil)
	if err != nil {
		return foreign.Root{}, err
	}
	r, err := foreign.Take(ctx, src, foreign.Root{Name: name, Repository: url, Target: f.target, Issuers: issuers}, pinned, now)
	return r, errors.Join(err, done())
}

func (f *foreignFlags) allIssuers() ([]string, error) {
	list := strings.Join(f.issuers, "\n")
	if f.issuersFile != "" {
		raw, err := stack.ReadBounded(f.issuersFile, 1<<20)
		if err != nil {
			return nil, fmt.Errorf("issuers: %w", err)
		}
		urls, err := foreign.ParseIssuers(raw)
		if err != nil {
			return nil, err
		}
		list += "\n" + strings.Join(urls, "\n")
	}
	if strings.TrimSpace(list) == "" {
		return nil, nil
	}
	return foreign.ParseIssuers([]byte(list))
}

func trustRefreshCommand() *cobra.Command {
	var f foreignFlags
	cmd := &cobra.Command{
		Use:   "refresh [NAME...]",
		Short: "Bring trust roots of others up to date",
		Long: `Take in what the repositories of other instances publish now: of all that have one,
or of those that you name. The client workflow of TUF goes on from the newest root that
is known; what is older than what is here is refused.

One that was taken from a file needs a newer file (--file), one that was taken from a
directory a newer copy (--repository), which serves too where the repository cannot be
reached. Both are for one NAME.

Run it from a job: sigbox expiry says until when each is good. Where nothing has changed
nothing is published.`,
		Example: `  sigbox trust refresh
  sigbox trust refresh acme --file acme-trusted_root.json
  sigbox trust refresh public --config sigbox.yaml --out public.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (f.file != "" || f.repository != "" || len(f.issuers) > 0 || f.issuersFile != "") && len(args) != 1 {
				return errors.New("--file, --repository and issuers are of one foreign root: name it")
			}
			rec, err := f.record(cmd.Context())
			if err != nil {
				return err
			}
			list, err := f.refresh(cmd.Context(), rec, args)
			if err != nil {
				return err
			}
			return f.change(cmd, list, func(rec record.Record) (_ record.Record, err error) {
				for _, r := range list {
					have := rec.FindForeign(r.Name)
					if have == nil {
						return rec, fmt.Errorf("foreign root %s was removed meanwhile", r.Name)
					}
					if have.Same(r) {
						continue
					}
					if rec, err = rec.WithForeign(r); err != nil {
						return rec, err
					}
				}
				return rec, nil
			})
		},
	}
	f.add(cmd)
	f.addSource(cmd)
	return cmd
}

// refresh is what the roots that are named are now, or all that have a repository.
func (f *foreignFlags) refresh(ctx context.Context, rec record.Record, names []string) (list []foreign.Root, err error) {
	for _, r := range rec.Foreign {
		if len(names) == 0 && r.Repository != "" {
			names = append(names, r.Name)
		}
	}
	if len(names) == 0 {
		return nil, errors.New("there is no foreign root with a repository: sigbox trust add takes one in, and one that came as a file is named with the newer file")
	}
	issuers, err := f.allIssuers()
	if err != nil {
		return nil, err
	}
	now := clock.System{}.Now()
	for _, name := range names {
		have := rec.FindForeign(name)
		if have == nil {
			return nil, fmt.Errorf("there is no foreign root %.40q: sigbox trust list shows those that there are", name)
		}
		r := *have
		if issuers != nil {
			r.Issuers = issuers
		}
		next, err := f.again(ctx, r, now)
		if err != nil {
			return nil, err
		}
		list = append(list, next)
	}
	return list, nil
}

func (f *foreignFlags) again(ctx context.Context, r foreign.Root, now time.Time) (foreign.Root, error) {
	if !r.FromRepository() {
		if f.file == "" {
			return r, fmt.Errorf("%s came as a file: bring a newer one with --file", r.Name)
		}
		raw, err := stack.ReadBounded(f.file, foreign.MaxContent)
		if err != nil {
			return r, err
		}
		return r.Again(raw, now, now.Add(f.goodFor))
	}
	where := cmp.Or(f.repository, r.Repository)
	if where == "" || f.file != "" {
		return r, fmt.Errorf("%s came from a copy of its repository: name a newer copy, or its address, with --repository", r.Name)
	}
	src, _, done, err := foreignrepo.Open(where, nil)
	if err != nil {
		return r, err
	}
	next, err := r.Refresh(ctx, src, now)
	return next, errors.Join(err, done())
}

func trustRemoveCommand() *cobra.Command {
	var f foreignFlags
	cmd := &cobra.Command{
		Use:   "remove NAME...",
		Short: "Serve the trust root of another instance no longer",
		Long: `Let go of trust roots of others. Clients that refresh do not find them any more; files that
were fetched stay what they are.`,
		Example: `  sigbox trust remove acme`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.change(cmd, nil, func(rec record.Record) (_ record.Record, err error) {
				for _, name := range args {
					if rec, err = rec.WithoutForeign(name); err != nil {
						return rec, err
					}
				}
				return rec, nil
			})
		},
	}
	f.add(cmd)
	return cmd
}

// rotations opens the instance of --data.
func (f *foreignFlags) rotations(ctx context.Context) (*stack.Rotations, error) {
	path, err := filepath.Abs(f.data)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	dir, err := stack.ReadInstance(path)
	if err != nil {
		return nil, err
	}
	return stack.OpenRotations(ctx, dir, f.database, clock.System{})
}

// record is the current one.
func (f *foreignFlags) record(ctx context.Context) (rec record.Record, err error) {
	if f.config != "" {
		err = withTUF(ctx, f.config, func(t *stack.TUFRepo) (err error) {
			_, rec, err = t.Current(ctx)
			return err
		})
		return rec, err
	}
	r, err := f.rotations(ctx)
	if err != nil {
		return rec, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return r.Record(ctx)
}

// change publishes what do makes of the record, or asks for signatures of it. list is what it is about.
func (f *foreignFlags) change(cmd *cobra.Command, list []foreign.Root, do func(record.Record) (record.Record, error)) (err error) {
	if f.config != "" {
		return f.request(cmd, list, do)
	}
	r, err := f.rotations(cmd.Context())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	changed, err := r.Change(cmd.Context(), do)
	if err != nil {
		return err
	}
	printForeign(cmd, list)
	if !changed {
		fmt.Fprintln(cmd.OutOrStdout(), "nothing has changed")
		return nil
	}
	fmt.Fprintln(cmd.OutOrStdout(), "published: TUF clients find it now, plain files are there within a minute")
	return nil
}

func (f *foreignFlags) request(cmd *cobra.Command, list []foreign.Root, do func(record.Record) (record.Record, error)) error {
	if _, err := os.Lstat(f.out); err == nil {
		return fmt.Errorf("%s is there already: if it is a request under way, go on with it (sigbox tuf status %s); otherwise name another file", f.out, f.out)
	}
	return withTUF(cmd.Context(), f.config, func(t *stack.TUFRepo) error {
		r, err := t.RequestChange(cmd.Context(), f.ceremony, do)
		if err != nil {
			return err
		}
		if err := writeRequest(f.out, r); err != nil {
			return err
		}
		printForeign(cmd, list)
		fmt.Fprintf(cmd.OutOrStdout(), "request %x is in %s, good until %s\n", r.ID(), f.out, r.GoodUntil.Format(time.RFC3339))
		printSigned(cmd.OutOrStdout(), f.out, r)
		return nil
	})
}

// printForeign says what was taken, and which clients it breaks.
func printForeign(cmd *cobra.Command, list []foreign.Root) {
	out := cmd.OutOrStdout()
	for _, r := range list {
		from := "a file"
		if root, targets := r.Versions(); r.FromRepository() {
			from = fmt.Sprintf("root version %d, targets version %d", root, targets)
		}
		fmt.Fprintf(out, "%s: %s, good until %s\n  target %s, %s\n", r.Name, from, r.Expires.Format(time.RFC3339), foreign.TargetOf(r.Name), foreign.Path(r.Name))
		breaks, err := trustroot.LintFile(r.Content)
		if err != nil { // it was taken
			continue
		}
		printBreaks(cmd, "this file", breaks)
		if len(r.Issuers) == 0 {
			fmt.Fprintf(out, "  whose tokens its authority takes is not known: say it with --issuer or --issuers\n")
		}
	}
}

// printBreaks names the clients that refuse a file.
func printBreaks(cmd *cobra.Command, what string, breaks []trustroot.Break) {
	slices.SortFunc(breaks, func(a, b trustroot.Break) int {
		return cmp.Or(strings.Compare(a.Client, b.Client), strings.Compare(a.Why, b.Why))
	})
	for _, b := range breaks {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s would break with %s: %s\n", b.Client, what, b.Why)
	}
}
