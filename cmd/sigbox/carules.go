package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
)

func caTestRulesCommand() *cobra.Command {
	var from authorityFlags
	cmd := &cobra.Command{
		Use:   "test-rules CASES",
		Short: "Say whether the rules on who may sign decide as they should",
		Long: `Decide the cases of a file with the rules of ca.rules, as the certificate authority
would, and print a table, and the SHA-256 of the rules of each issuer, which the
record of an issuance names. The exit code is 1 where a case is not decided as it says.

A case has a name, the claims of a token (iss and sub among them, and those that the
certificate is made of), and what is wanted: allowed, or denied with the name of the
rule that decides. Times, audience and signature are not looked at.

  - name: a release from main
    claims: {iss: https://ci.example.com, sub: ..., ref: refs/heads/main}
    want: allowed
  - name: a branch
    claims: {iss: https://ci.example.com, sub: ..., ref: refs/heads/x}
    want: denied
    rule: main only`,
		Example: `  sigbox ca test-rules cases.yaml --config /etc/sigbox/sigbox.yaml`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			cases, err := stack.ParseRuleCases(args[0], raw)
			if err != nil {
				return err
			}
			cfg, err := from.load()
			if err != nil {
				return err
			}
			results, sums, err := stack.TestRules(cfg, cases)
			if err != nil {
				return err
			}
			return sayResults(cmd.OutOrStdout(), results, sums)
		},
	}
	from.add(cmd)
	return cmd
}

func sayResults(out io.Writer, results []stack.RuleResult, sums map[string]ca.Grant) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tCASE\tDECIDED\tWANTED")
	wrong := 0
	for _, r := range results {
		mark := "ok"
		if r.Got != r.Want {
			mark = "WRONG"
			wrong++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", mark, r.Name, r.Got, r.Want)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, issuer := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintf(out, "rules of %s: SHA-256 %x\n", issuer, sums[issuer].RulesSHA256)
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d cases are not decided as they should be", wrong, len(results))
	}
	return nil
}
