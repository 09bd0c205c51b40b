package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/oidc/presets"
)

func caPresetsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "presets [NAME [PARAMETER=VALUE ...]]",
		Short: "List the issuers that sigbox knows by name; print one in Fulcio's own format",
		Long: `List the issuers that ca.presets of the configuration can name, with what each needs.

With the name of one and its parameters it is printed as it would be in Fulcio's own
config.yaml: to see what becomes of which claim, or to change that and put it into the
file of ca.issuers instead. A parameter certificates=FILE adds roots for its TLS.`,
		Example: `  sigbox ca presets
  sigbox ca presets gitlab-self-managed url=https://gitlab.example.com`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return listPresets(cmd.OutOrStdout())
			}
			return printPreset(cmd.OutOrStdout(), args[0], args[1:])
		},
	}
}

func listPresets(out io.Writer) error {
	list, err := presets.All()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, p := range list {
		fmt.Fprintf(w, "%s\t%s\n", p.Name, p.Title)
		for _, par := range p.Parameters {
			need := "needed"
			if !par.Required {
				need = "default " + par.Default
			}
			fmt.Fprintf(w, "  %s\t  %s (%s)\n", par.Name, par.About, need)
		}
	}
	return w.Flush()
}

func printPreset(out io.Writer, name string, given []string) error {
	p, err := presets.Find(name)
	if err != nil {
		return fmt.Errorf("%w: sigbox ca presets lists those that there are", err)
	}
	values := map[string]string{}
	for _, g := range given {
		k, v, ok := strings.Cut(g, "=")
		if !ok || v == "" {
			return fmt.Errorf("%q: want PARAMETER=VALUE", g)
		}
		values[k] = v
	}
	if file := values[presets.Certificates]; file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("certificates: %w", err)
		}
		values[presets.Certificates] = string(pem)
	}
	raw, err := p.Configuration(values)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "# %s. %s\n", p.Title, p.About)
	for _, k := range slices.Sorted(maps.Keys(values)) {
		if k != presets.Certificates {
			fmt.Fprintf(out, "# %s=%s\n", k, values[k])
		}
	}
	_, err = out.Write(raw)
	return err
}
