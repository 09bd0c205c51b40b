package main

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/keys/pkcs11"
)

func keyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Use keys that are on a token, such as an HSM; see whether a key file is good",
		Long: `Use keys that are on a PKCS #11 token: an HSM, a smart card, SoftHSM. Wherever sigbox
takes the file of a key, that file can name a key on a token instead (docs/hsm.md).

  sigbox key token   make such a file, and the key if need be
  sigbox key check   see whether the key of a file can be used`,
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	cmd.AddCommand(keyTokenCommand(), keyCheckCommand())
	return cmd
}

func keyTokenCommand() *cobra.Command {
	var out string
	var fresh bool
	cmd := &cobra.Command{
		Use:   "token URI --out FILE [--make]",
		Short: "Make a key file that names a key on a token",
		Long: `Write FILE, which names a key on a token and goes wherever sigbox takes the file of a
key, and its public key to FILE.pub. The key is tried first: it signs once.

URI is a PKCS #11 URI (RFC 7512). It says which token (token=, serial=, slot-id=), which
key (object= is the label, id= the id), the vendor's library (module-path=), and the
file with the PIN (pin-source=file:/PATH), which must be private (chmod 600). The PIN
itself goes neither there nor to the command line: others could read it.

With --make an ECDSA P-256 key is made on the token, which can never be read out of it.
The label must be free.

A wrong PIN is tried once. Where the token says that one was entered before, none is
tried at all; "sigbox key check --try-pin" does, when you are sure.`,
		Example: `  sigbox key token 'pkcs11:token=sigbox;object=ca?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/sigbox/pin' \
    --out /etc/sigbox/ca/ca.key --make`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return nameToken(cmd.OutOrStdout(), args[0], out, fresh)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "file that names the key; it must not exist yet")
	cmd.Flags().BoolVar(&fresh, "make", false, "make the key on the token")
	must(cmd.MarkFlagRequired("out"))
	return cmd
}

func nameToken(out io.Writer, uri, file string, fresh bool) error {
	if _, err := pkcs11.ParseURI(uri); err != nil {
		return err
	}
	for _, name := range []string{file, file + ".pub"} {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(fmt.Errorf("%s is there already, and a key is not written over: name another file", name), err)
		}
	}
	open := pkcs11.Load
	if fresh {
		open = pkcs11.Make
	}
	key, err := open(uri)
	if err != nil {
		return err
	}
	if err := trySigning(key); err != nil {
		return err
	}
	pub, err := keys.PublicPEM(key.Public())
	if err != nil {
		return err
	}
	if err := instance.WriteFile(file, []byte(key.URI().String()+"\n"), 0o600); err != nil {
		return err
	}
	if err := instance.WriteFile(file+".pub", pub, 0o644); err != nil {
		return err
	}
	done := "is"
	if fresh {
		done = "was made"
	}
	fmt.Fprintf(out, "%s %s on the %s, and signs\n", key.URI().KeyName(), done, key.URI().TokenName())
	return sayKey(out, file, key)
}

// trySigning has a key sign once.
func trySigning(key crypto.Signer) error {
	digest := sha256.Sum256([]byte("sigbox tries this key"))
	_, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	return err
}

func sayKey(out io.Writer, file string, key crypto.Signer) error {
	id, err := keys.ID(key.Public())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "key        %s\npublic key SHA-256 %s\n", file, hex.EncodeToString(id[:]))
	return err
}

func keyCheckCommand() *cobra.Command {
	var tryPIN bool
	cmd := &cobra.Command{
		Use:   "check FILE [--try-pin]",
		Short: "See whether the key of a file can be used",
		Long: `See whether the key of FILE can be used, wherever it is: it signs once.

Where a token says that a wrong PIN was entered since the last right one, sigbox does
not try another: a service that is started again and again would lock the token. When
you have put the right PIN into its file, --try-pin tries it once. A right one clears
what the token remembers.`,
		Example: `  sigbox key check /etc/sigbox/ca/ca.key
  sigbox key check /etc/sigbox/ca/ca.key --try-pin`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return checkKey(cmd.OutOrStdout(), args[0], tryPIN)
		},
	}
	cmd.Flags().BoolVar(&tryPIN, "try-pin", false, "try the PIN also where the token says that few tries are left")
	return cmd
}

func checkKey(out io.Writer, file string, tryPIN bool) error {
	var key crypto.Signer
	uri, err := keys.Reference(file)
	if err == nil {
		pool := pkcs11.NewPool(pkcs11.Options{TryPIN: tryPIN})
		defer pool.Close()
		key, err = pool.Load(uri)
	} else if !tryPIN {
		key, err = keys.Load(file)
	}
	if err == nil {
		err = trySigning(key)
	}
	if err != nil {
		return err
	}
	where := "in the file"
	if on, ok := key.(*pkcs11.Signer); ok {
		where = "on the " + on.URI().TokenName()
	}
	fmt.Fprintf(out, "the key is %s, and signs\n", where)
	return sayKey(out, file, key)
}
