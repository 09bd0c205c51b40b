package e2e

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"

	"github.com/sigbox/sigbox/e2e/internal/images"
	"github.com/sigbox/sigbox/e2e/internal/outside"
)

// tool is what scripts need beyond the clients. It is this test binary, called by the prelude's
// `tool` function.
//
//	push REF             push a new image to REF, print its reference by digest
//	splice WHAT A B OUT  bundle A with bundle B's log entry ("entry"), or B's inclusion proof ("proof")
//	mix FIELDS A B OUT   JSON object A with these members (a,b) of B
//	requests URL         how many requests an instance has answered: LOG, the logs and the authorities, and MIRROR
//	attempts             how often a program of this network namespace wanted to leave it
//	certificate BUNDLE   subject alternative name and Sigstore extensions of a bundle's certificate
func tool(ctx context.Context, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "push":
		digest, err := images.Push(ctx, args[1])
		fmt.Println(digest)
		return err
	case len(args) == 5 && args[0] == "splice":
		return splice(args[1], args[2], args[3], args[4])
	case len(args) == 5 && args[0] == "mix":
		return mix(strings.Split(args[1], ","), args[2], args[3], args[4])
	case len(args) == 2 && args[0] == "requests":
		n, err := requests(ctx, args[1])
		fmt.Println(n)
		return err
	case len(args) == 1 && args[0] == "attempts":
		n, err := outside.Attempts()
		fmt.Println(n)
		return err
	case len(args) == 2 && args[0] == "certificate":
		return printCertificate(args[1])
	}
	return fmt.Errorf("tool: unknown command %q", args)
}

func readJSON(path string) (map[string]any, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var v map[string]any
	return v, json.Unmarshal(raw, &v)
}

func writeJSON(path string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o600)
}

func splice(what, a, b, out string) error {
	one, err := readJSON(a)
	if err != nil {
		return err
	}
	other, err := readJSON(b)
	if err != nil {
		return err
	}
	to, err := logEntryOf(one)
	if err != nil {
		return err
	}
	from, err := logEntryOf(other)
	if err != nil {
		return err
	}
	if what == "entry" {
		clear(to)
		maps.Copy(to, from)
	} else {
		to["inclusionProof"], to["logIndex"] = from["inclusionProof"], from["logIndex"]
	}
	return writeJSON(out, one)
}

func logEntryOf(bundle map[string]any) (map[string]any, error) {
	material, _ := bundle["verificationMaterial"].(map[string]any)
	entries, _ := material["tlogEntries"].([]any)
	if len(entries) != 1 {
		return nil, fmt.Errorf("splice: bundle with %d log entries", len(entries))
	}
	return entries[0].(map[string]any), nil
}

func mix(fields []string, a, b, out string) error {
	one, err := readJSON(a)
	if err != nil {
		return err
	}
	other, err := readJSON(b)
	if err != nil {
		return err
	}
	for _, f := range fields {
		if one[f] == nil || other[f] == nil {
			return fmt.Errorf("mix: no member %s", f)
		}
		one[f] = other[f]
	}
	return writeJSON(out, one)
}

func printCertificate(path string) error {
	b, err := readJSON(path)
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
