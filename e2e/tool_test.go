package e2e

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sigbox/sigbox/e2e/internal/images"
)

// tool is what scripts need beyond the clients. It is this test binary, called by the prelude's
// `tool` function.
//
//	push REF             push a new image to REF, print its reference by digest
//	splice A B OUT       bundle A with the log entry of bundle B
//	certificate BUNDLE   subject alternative name and Sigstore extensions of a bundle's certificate
func tool(ctx context.Context, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "push":
		digest, err := images.Push(ctx, args[1])
		fmt.Println(digest)
		return err
	case len(args) == 4 && args[0] == "splice":
		return splice(args[1], args[2], args[3])
	case len(args) == 2 && args[0] == "certificate":
		return printCertificate(args[1])
	}
	return fmt.Errorf("tool: unknown command %q", args)
}

func readBundle(path string) (map[string]any, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var b map[string]any
	return b, json.Unmarshal(raw, &b)
}

func splice(a, b, out string) error {
	one, err := readBundle(a)
	if err != nil {
		return err
	}
	other, err := readBundle(b)
	if err != nil {
		return err
	}
	to, ok := one["verificationMaterial"].(map[string]any)
	from, ok2 := other["verificationMaterial"].(map[string]any)
	if !ok || !ok2 {
		return errors.New("splice: a bundle has no verificationMaterial")
	}
	to["tlogEntries"] = from["tlogEntries"]
	raw, err := json.Marshal(one)
	if err != nil {
		return err
	}
	return os.WriteFile(out, raw, 0o600)
}

func printCertificate(path string) error {
	b, err := readBundle(path)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(b["verificationMaterial"])
	if err != nil {
		return err
	}
	var m struct{ Certificate struct{ RawBytes string } }
	if err := json.Unmarshal(raw, &m); err != nil {
		return err
	}
	der, err := base64.StdEncoding.DecodeString(m.Certificate.RawBytes)
	if err != nil {
		return err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	for _, u := range c.URIs {
		fmt.Println("SAN URI", u)
	}
	for _, e := range c.EmailAddresses {
		fmt.Println("SAN email", e)
	}
	return printExtensions(c)
}

// printExtensions prints the arc below 1.3.6.1.4.1.57264.1 and the value: 1 to 6 are the bytes
// of a string, the later ones DER UTF8String.
func printExtensions(c *x509.Certificate) error {
	for _, ext := range c.Extensions {
		arc, ok := strings.CutPrefix(ext.Id.String(), "1.3.6.1.4.1.57264.1.")
		if !ok {
			continue
		}
		value := string(ext.Value)
		if len(arc) > 1 || arc[0] > '6' {
			if rest, err := asn1.UnmarshalWithParams(ext.Value, &value, "utf8"); err != nil || len(rest) != 0 {
				return fmt.Errorf("extension %s is not a UTF8String: %w", arc, err)
			}
		}
		fmt.Println(arc, value)
	}
	return nil
}
