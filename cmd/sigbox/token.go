package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/oidc/devidp"
)

const defaultURL = "http://127.0.0.1:8080"

func tokenCommand() *cobra.Command {
	var url, email, claimsFile string
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Print an identity token of the development issuer",
		Long: `Print an identity token (a JWT, RS256) of a running instance's development
issuer, for use as --identity-token or SIGSTORE_ID_TOKEN. It signs in anybody:
there is no password. When the output is not a terminal no newline is added, so
that the output can be used as a token file.`,
		Example: `  sigbox token --email dev@example.com
  cosign sign-blob --identity-token "$(sigbox token --email dev@example.com)" ...
  echo '{"sub":"repo:org/app:ref:refs/heads/main"}' | sigbox token --claims -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			claims, err := tokenClaims(email, claimsFile, cmd.InOrStdin())
			if err != nil {
				return err
			}
			token, err := devidp.FetchToken(cmd.Context(), url, claims)
			if err != nil {
				return err
			}
			if isTerminal(cmd.OutOrStdout()) {
				token += "\n"
			}
			_, err = io.WriteString(cmd.OutOrStdout(), token)
			return err
		},
	}
	cmd.Flags().StringVar(&url, "url", defaultURL, "URL of the instance, or of the issuer under it")
	cmd.Flags().StringVar(&email, "email", "", "e-mail address that the token names")
	cmd.Flags().StringVar(&claimsFile, "claims", "", "JSON file with the token's claims; - reads standard input")
	cmd.MarkFlagsOneRequired("email", "claims")
	cmd.MarkFlagsMutuallyExclusive("email", "claims")
	return cmd
}

// maxClaims bounds the claims file; a real token's claims are a few KiB.
const maxClaims = 64 << 10

func tokenClaims(email, file string, stdin io.Reader) (map[string]any, error) {
	if file == "" {
		return map[string]any{"email": email}, nil
	}
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("claims: %w", err)
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxClaims+1))
	if err != nil {
		return nil, fmt.Errorf("claims %s: %w", file, err)
	}
	if len(raw) > maxClaims {
		return nil, fmt.Errorf("claims %s: larger than %d bytes", file, maxClaims)
	}
	var claims map[string]any
	if err := json.Unmarshal(raw, &claims); err != nil || claims == nil {
		return nil, errors.Join(fmt.Errorf("claims %s: want one JSON object, for example {\"sub\":\"somebody\"}", file), err)
	}
	return claims, nil
}

// isTerminal says whether w is a character device that a person looks at.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}
