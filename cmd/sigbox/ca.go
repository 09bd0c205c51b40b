package main

import "github.com/spf13/cobra"

func caCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Certificates of the authorities: an offline root, requests, chains",
		Args:  cobra.NoArgs,
		RunE:  showHelp,
	}
	return cmd
}
