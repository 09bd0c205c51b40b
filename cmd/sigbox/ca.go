package main

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/ca/pki"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/setup"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
)

func caCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Put the authorities under a root; look at what the certificate authority does",
		Long: `Put the certificate authority and the timestamp authority under a root whose key is
kept elsewhere.

  sigbox ca root           where the root is kept: make it, once
  sigbox ca csr            here: ask for a certificate (sigbox init --production does)
  sigbox ca sign-csr       where the root is kept: answer; your own PKI can, instead
  sigbox ca install-chain  here: check what came back, and put it in place

  sigbox ca key            a key that follows one whose certificate ends
  sigbox ca statements     what is said of it, for clients to trust it first

And ask what the certificate authority would do:

  sigbox ca explain-token  which checks a token passes, and what would be certified
  sigbox ca test-rules     whether the rules on who may sign decide as they should
  sigbox ca presets        the issuers that it knows by name

And what it did:

  sigbox ca audit export   every issuance, as JSON lines`,
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	cmd.AddCommand(caRootCommand(), caCSRCommand(), caSignCSRCommand(), caInstallChainCommand(),
		caKeyCommand(), caStatementsCommand(), caExplainTokenCommand(), caTestRulesCommand(), caPresetsCommand(), caAuditCommand())
	return cmd
}

func caRootCommand() *cobra.Command {
	var out, organization, curve string
	cmd := &cobra.Command{
		Use:   "root --out DIR --organization NAME",
		Short: "Make a root certificate and its key, on a machine that is on no network",
		Long: `Make a root certificate for ten years: DIR/ca-root.key, which stays where it is, and
DIR/ca-root.pem, which is public. Do it on a machine that is on no network, with DIR
on a medium that is locked away afterwards, and keep a copy of it in another place.

The root signs a handful of certificates in its life: that of the certificate
authority every three years, that of the timestamp authority every five. Clients
trust the root, so that the others can be replaced.`,
		Example: `  sigbox ca root --out /media/root --organization "Example Corp"`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return makeRoot(cmd.OutOrStdout(), out, organization, curve)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "directory for the two files; made if it is not there")
	cmd.Flags().StringVar(&organization, "organization", "", "who runs it; clients name the root by it")
	cmd.Flags().StringVar(&curve, "curve", "p384", "of the key: p256 or p384")
	must(cmd.MarkFlagRequired("out"))
	must(cmd.MarkFlagRequired("organization"))
	return cmd
}

// The files of a root.
const (
	rootKeyFile = "ca-root.key"
	rootPEMFile = "ca-root.pem"
)

func makeRoot(out io.Writer, dir, organization, curve string) error {
	key, root, err := pki.NewRoot(clock.System{}, organization, curve)
	if err != nil {
		return err
	}
	if err := keys.Save(filepath.Join(dir, rootKeyFile), key); err != nil {
		return err
	}
	if err := writeNew(filepath.Join(dir, rootPEMFile), pki.ChainPEM([]*x509.Certificate{root})); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "made %s and %s\n%s, valid until %s\n", filepath.Join(dir, rootKeyFile), filepath.Join(dir, rootPEMFile), root.Subject, root.NotAfter.Format(time.DateOnly))
	return err
}

// writeNew writes a public file that must not be there yet.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

func caCSRCommand() *cobra.Command {
	var key, purpose, organization, name, out string
	cmd := &cobra.Command{
		Use:   "csr --key FILE --for ca|tsa --organization NAME",
		Short: "Ask for the certificate of an authority's key",
		Long: `Write a certificate signing request (PKCS #10) for the key of the certificate
authority (--for ca) or of the timestamp authority (--for tsa). "sigbox init
--production" writes both by itself.

Any PKI can answer it. The certificate needs what the request asks for: for ca basic
constraints CA with path length 0, key usage keyCertSign and cRLSign, extended key
usage codeSigning; for tsa key usage digitalSignature and the critical extended key
usage timeStamping, alone; for both an organization and a common name.`,
		Example: `  sigbox ca csr --key /etc/sigbox/ca/ca.key --for ca --organization "Example Corp" --out ca.csr`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := pki.ParsePurpose(purpose)
			if err != nil {
				return fmt.Errorf("--for: %w", err)
			}
			signer, err := keys.Load(key)
			if err != nil {
				return err
			}
			subject := pki.Subject(p, organization)
			if name != "" {
				subject = pkix.Name{Organization: []string{organization}, CommonName: name}
			}
			text, err := pki.Request(signer, p, subject)
			if err != nil {
				return err
			}
			if out != "" {
				return writeNew(out, text)
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "key file of the authority")
	cmd.Flags().StringVar(&purpose, "for", "", "ca or tsa")
	cmd.Flags().StringVar(&organization, "organization", "", "organization in the subject")
	cmd.Flags().StringVar(&name, "name", "", "common name in the subject (default: the organization and what it is for)")
	cmd.Flags().StringVar(&out, "out", "", "file to write to, which must not be there (default: standard output)")
	for _, f := range []string{"key", "for", "organization"} {
		must(cmd.MarkFlagRequired(f))
	}
	return cmd
}

func caSignCSRCommand() *cobra.Command {
	var root, out string
	cmd := &cobra.Command{
		Use:   "sign-csr REQUEST --root DIR --out FILE",
		Short: "Answer a request with the root, where the root is kept",
		Long: `Sign the certificate of an authority with the root that "sigbox ca root" made, and
write it to a file, followed by the root: what "sigbox ca install-chain" takes.

The certificate is for what the request asks for, code signing certificates (three
years) or timestamps (five), whatever else stands in it: only key and name are taken
over. Before you sign, compare the SHA-256 of the key with what sigbox init printed.`,
		Example: `  sigbox ca sign-csr ca.csr --root /media/root --out ca-chain.pem`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return signCSR(cmd.OutOrStdout(), args[0], root, out)
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "directory of the root, with ca-root.key and ca-root.pem")
	cmd.Flags().StringVar(&out, "out", "", "file for the chain, which must not be there")
	must(cmd.MarkFlagRequired("root"))
	must(cmd.MarkFlagRequired("out"))
	return cmd
}

func signCSR(out io.Writer, request, root, file string) error {
	text, err := os.ReadFile(request)
	if err != nil {
		return err
	}
	asked, err := pki.ParseRequest(text)
	if err != nil {
		return fmt.Errorf("%s %w", request, err)
	}
	key, issuers, err := loadRoot(root)
	if err != nil {
		return err
	}
	chain, err := pki.Sign(clock.System{}, asked, issuers, key)
	if err != nil {
		return err
	}
	if err := writeNew(file, pki.ChainPEM(chain)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "signed %s\n  %s\n  for        %s\n  key        SHA-256 %s\n  valid      until %s\n  issued by  %s\n",
		file, chain[0].Subject, asked.Purpose.Title(), hex.EncodeToString(asked.KeyID[:]), chain[0].NotAfter.Format(time.DateOnly), issuers[0].Subject)
	return err
}

func loadRoot(dir string) (crypto.Signer, []*x509.Certificate, error) {
	key, err := keys.Load(filepath.Join(dir, rootKeyFile))
	if err != nil {
		return nil, nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, rootPEMFile))
	if err != nil {
		return nil, nil, err
	}
	chain, err := pki.ParseChain(text)
	if err != nil {
		err = fmt.Errorf("%s: %w", filepath.Join(dir, rootPEMFile), err)
	}
	return key, chain, err
}

func caInstallChainCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "install-chain CHAIN --config FILE",
		Short: "Check the chain that came back, and put it in place",
		Long: `Check a chain of certificates, PEM: the certificate of the authority first, then its
issuers, the self-signed root last, two tiers or more. It is held to the strictest of
the clients' rules: the key is that of ca.key or of ca.tsa.key, which also says for
which of the two the chain is; order and signatures; basic constraints and path
lengths; key usages and extended key usages; names; validity; algorithms.

What is good is written to ca.chain or ca.tsa.chain, and that of the certificate
authority to tlog.ct.roots too, so that the CT log takes its certificates: it is added
to what is there. A chain that is there is not written over.`,
		Example: `  sigbox ca install-chain ca-chain.pem --config /etc/sigbox/sigbox.yaml`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := config.Load(file)
			if err != nil {
				return err
			}
			done, err := setup.InstallChain(cfg, args[0], clock.System{})
			if err != nil {
				return err
			}
			return sayInstalled(cmd.OutOrStdout(), done)
		},
	}
	cmd.Flags().StringVar(&file, "config", "sigbox.yaml", "configuration file")
	return cmd
}

func sayInstalled(out io.Writer, done setup.Installed) error {
	fmt.Fprintf(out, "%s:\n", done.Purpose.Title())
	for _, c := range done.Chain {
		fmt.Fprintf(out, "  %s, until %s\n", c.Subject, c.NotAfter.Format(time.DateOnly))
	}
	if len(done.Written) == 0 {
		_, err := fmt.Fprintln(out, "is in place already")
		return err
	}
	_, err := fmt.Fprintf(out, "written to %s\n", strings.Join(done.Written, " and "))
	return err
}
