package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/ca/pki"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/statement"
)

// adoptFlags name what another instance signed with.
type adoptFlags struct {
	data, database, config, out string
	fulcio, rekor, ct, tsa      []string
	since, until                string
	goodFor                     time.Duration
	yes                         bool
}

func trustAdoptCommand() *cobra.Command {
	var f adoptFlags
	cmd := &cobra.Command{
		Use:   "adopt --until TIME [--fulcio CHAIN] [--rekor KEY] [--ct KEY] [--tsa CHAIN]",
		Short: "Have what another instance signed verify here",
		Long: `Take the keys of another instance into the trust root, to verify with: what was
signed there then verifies here, with every client. Nothing here ever signs with them.

  --fulcio CHAIN   its certificate authority: from the certificate that issues to the
                   root, PEM (GET /api/v1/rootCert of Fulcio)
  --rekor KEY      its Rekor v1 log: the public key, PEM (GET /api/v1/log/publicKey)
  --ct KEY         its CT log: the public key, PEM
  --tsa CHAIN      its timestamp authority: leaf first, PEM (GET /api/v1/timestamp/certchain)

Each may be repeated, and takes options after the file: FILE,url=URL,since=TIME,until=TIME,
and origin=TEXT of a log. The URL is where it was, which clients show and do not ask.

Each has a window. It ends at --until: when the other instance signs for the last time,
or "now" where it signs no more; what it signs later verifies nowhere here. It begins
with the certificate of a chain; a key says nothing of that, so --since is a time before
its log's first entry. What was published does not change: choose the end well.

An instance of sigbox up (--data) signs this itself, while it runs or not. With --config
it is a request (--out) for the holders of the targets keys: sigbox tuf sign, publish.
They see that nobody has shown to have these keys: compare them with their owner.`,
		Example: `  sigbox trust adopt --until now --since 2023-01-01T00:00:00Z \
    --fulcio fulcio.pem,url=https://fulcio.old.example --rekor rekor.pub,url=https://rekor.old.example \
    --ct ctfe.pub,url=https://ctfe.old.example/2023 --yes
  sigbox trust adopt --config sigbox.yaml --out adopt.json --until 2026-12-31T00:00:00Z --fulcio fulcio.pem,url=https://fulcio.old.example`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := f.keys(clock.System{}.Now())
			if err != nil {
				return err
			}
			if f.config != "" {
				return f.request(cmd, list)
			}
			return f.adopt(cmd, list)
		},
	}
	cmd.Flags().StringVar(&f.data, "data", "./sigbox-data", "data directory of the instance")
	cmd.Flags().StringVar(&f.database, "database", "", "PostgreSQL database of the logs, if the instance was made with one")
	cmd.Flags().StringVar(&f.config, "config", "", "configuration file of sigbox serve, instead of --data")
	cmd.Flags().StringVar(&f.out, "out", "", "with --config: request file to write; it must not exist yet")
	cmd.Flags().DurationVar(&f.goodFor, "good-for", 30*24*time.Hour, "with --config: how long signing and publishing may take")
	cmd.Flags().StringArrayVar(&f.fulcio, "fulcio", nil, "chain of a certificate authority, PEM")
	cmd.Flags().StringArrayVar(&f.rekor, "rekor", nil, "public key of a Rekor v1 log, PEM")
	cmd.Flags().StringArrayVar(&f.ct, "ct", nil, "public key of a CT log, PEM")
	cmd.Flags().StringArrayVar(&f.tsa, "tsa", nil, "chain of a timestamp authority, PEM")
	cmd.Flags().StringVar(&f.since, "since", "", "start of those that name none (RFC 3339); of a chain that of its first certificate")
	cmd.Flags().StringVar(&f.until, "until", "", "end of those that name none (RFC 3339), or now")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "with --data: yes, publish it")
	cmd.MarkFlagsMutuallyExclusive("config", "data")
	cmd.MarkFlagsMutuallyExclusive("config", "database")
	cmd.MarkFlagsRequiredTogether("config", "out")
	cmd.MarkFlagsOneRequired("fulcio", "rekor", "ct", "tsa")
	return cmd
}

// keys reads what the flags name.
func (f *adoptFlags) keys(now time.Time) (list []record.Key, err error) {
	for _, kind := range []struct {
		flag   string
		role   statement.Role
		values []string
	}{{"fulcio", statement.CA, f.fulcio}, {"rekor", statement.RekorV1, f.rekor}, {"ct", statement.CT, f.ct}, {"tsa", statement.TSA, f.tsa}} {
		for _, value := range kind.values {
			k := record.Key{Role: kind.role}
			if err := f.read(&k, value, now); err != nil {
				return nil, fmt.Errorf("--%s %s: %w", kind.flag, value, err)
			}
			list = append(list, k)
		}
	}
	return list, nil
}

// read reads FILE,option=value...
func (f *adoptFlags) read(k *record.Key, value string, now time.Time) (err error) {
	parts := strings.Split(value, ",")
	since, until := f.since, f.until
	for _, p := range parts[1:] {
		name, text, _ := strings.Cut(p, "=")
		to := map[string]*string{"url": &k.URL, "since": &since, "until": &until, "origin": &k.Origin}[name]
		switch {
		case to == nil || text == "":
			return fmt.Errorf("%q: want url=URL, since=TIME, until=TIME or origin=TEXT", p)
		case name == "origin" && !k.Role.Log():
			return errors.New("an origin is that of a log")
		}
		*to = text
	}
	if k.URL == "" {
		return errors.New("want ,url=URL after the file: where it was, which clients show")
	}
	if k.Start, err = adoptTime("since", since, now); err != nil {
		return err
	}
	if k.End, err = adoptTime("until", until, now); err != nil {
		return err
	}
	if k.Role.Log() {
		k.Public, err = keys.LoadPublic(parts[0])
		return err
	}
	raw, err := stack.ReadBounded(parts[0], 1<<20)
	if err != nil {
		return err
	}
	k.Chain, err = pki.ParseChain(raw)
	return err
}

// adoptTime reads a time; "" is the zero time, which the record judges.
func adoptTime(name, text string, now time.Time) (t time.Time, err error) {
	switch {
	case text == "":
		return t, nil
	case text == "now" && name == "until":
		return now, nil
	}
	if t, err = time.Parse(time.RFC3339, text); err != nil {
		return t, fmt.Errorf("%s %q: want a time such as 2026-03-01T12:00:00Z", name, text)
	}
	return t, nil
}

// adopt has an instance of up take the keys in.
func (f *adoptFlags) adopt(cmd *cobra.Command, list []record.Key) error {
	path, err := filepath.Abs(f.data)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	dir, err := stack.ReadInstance(path)
	if err != nil {
		return err
	}
	if !f.yes {
		return errors.New("to have clients believe what these keys signed, for ever and within their windows, run the same command with --yes")
	}
	taken, err := stack.Adopt(cmd.Context(), dir, f.database, list, clock.System{})
	if err != nil {
		return err
	}
	if len(taken) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "adopted already: nothing to do")
		return nil
	}
	if err := printKeys(cmd.OutOrStdout(), taken, clock.System{}.Now()); err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout(), "published: clients verify with it when they fetch the trust root next")
	return nil
}

// request writes the request of a configuration.
func (f *adoptFlags) request(cmd *cobra.Command, list []record.Key) error {
	r := requestFlags{config: f.config, out: f.out, goodFor: f.goodFor}
	return r.make(cmd, stack.Wish{Adopt: list, GoodFor: f.goodFor}, false)
}

func trustKeysCommand() *cobra.Command {
	var data, file string
	cmd := &cobra.Command{
		Use:   "keys --data DIR | --config FILE",
		Short: "List the keys of the trust root, and when each is believed",
		Long: `List every key and chain that clients are told to trust: role, id (SHA-256 of the
SPKI, of a chain that of its first certificate), address, window, and whether it is in use,
retired, or adopted from another instance to verify with.`,
		Example: `  sigbox trust keys --data ./sigbox-data`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			rec, err := publishedTrust(cmd, data, file)
			if err != nil {
				return err
			}
			return printKeys(cmd.OutOrStdout(), rec.Keys, clock.System{}.Now())
		},
	}
	cmd.Flags().StringVar(&data, "data", "./sigbox-data", "data directory of the instance")
	cmd.Flags().StringVar(&file, "config", "", "configuration file of sigbox serve, instead of --data")
	cmd.MarkFlagsMutuallyExclusive("config", "data")
	return cmd
}

func publishedTrust(cmd *cobra.Command, data, file string) (rec record.Record, err error) {
	if file != "" {
		err = withTUF(cmd.Context(), file, func(t *stack.TUFRepo) error {
			_, rec, err = t.Current(cmd.Context())
			return err
		})
		return rec, err
	}
	dir, err := stack.ReadInstance(data)
	if err != nil {
		return rec, err
	}
	return stack.InstanceTrust(cmd.Context(), dir)
}

// printKeys prints keys of a record as a table.
func printKeys(out io.Writer, list []record.Key, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, k := range list {
		fmt.Fprintf(w, "%s\t%x\t%q\t%s\t%s\n", k.Role, k.ID(), k.URL, k.Window(), keyState(k, now))
	}
	return w.Flush()
}

// keyState says what a key of a record is for.
func keyState(k record.Key, now time.Time) string {
	switch {
	case k.Adopted && k.End.After(now):
		return "adopted, signs elsewhere"
	case k.Adopted:
		return "adopted, verifies only"
	case k.End.IsZero():
		return "in use"
	}
	return "retired"
}
