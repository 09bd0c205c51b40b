package differential

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// shape returns what of an answer's body is compared: certificates as what they say, less what is a
// server's or a request's own (keys, serial numbers, times, signatures), and the issuers' address as a name.
func (p *Player) shape(raw []byte) any {
	if len(raw) == 0 {
		return nil
	}
	var v any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&v); err == nil && json.Valid(raw) {
		return p.names(v)
	}
	if bytes.HasPrefix(raw, []byte("-----BEGIN CERTIFICATE-----")) {
		return p.certificates(string(raw))
	}
	return p.text(string(raw))
}

func (p *Player) names(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = p.names(e)
		}
		if issuers, ok := v["issuers"].([]any); ok { // upstream has them in any order
			slices.SortFunc(issuers, func(a, b any) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
	case []any:
		for i, e := range v {
			v[i] = p.names(e)
		}
	case string:
		if strings.HasPrefix(v, "-----BEGIN CERTIFICATE-----") {
			return p.certificates(v)
		}
		return p.text(v)
	}
	return v
}

var position = regexp.MustCompile(`\(line 1:\d+\)`) // in a body that holds tokens, which differ in length

func (p *Player) text(s string) string {
	s = position.ReplaceAllString(s, "(line 1:<position>)")
	return strings.ReplaceAll(strings.ReplaceAll(s, p.Issuer.URL, "{{issuer}}"), "\u00a0", " ") // protojson strews them in at random
}

// certificates describes a text of PEM certificates; how it ends is part of it.
func (p *Player) certificates(text string) any {
	var list []any
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err.Error()
		}
		list = append(list, p.certificate(c))
	}
	return map[string]any{"certificates": list, "ends": text[len(text)-1:]}
}

func (p *Player) certificate(c *x509.Certificate) any {
	if c.IsCA {
		return map[string]any{"ca": true, "self-signed": bytes.Equal(c.RawIssuer, c.RawSubject)}
	}
	p.seconds = strconv.Itoa(int(c.NotAfter.Sub(c.NotBefore).Seconds()))
	var extensions []any
	for _, e := range c.Extensions {
		line := fmt.Sprintf("%s critical=%t", e.Id, e.Critical)
		switch e.Id.String() {
		case "2.5.29.14", "2.5.29.35", "1.3.6.1.4.1.11129.2.4.2": // key identifiers, SCTs
		default:
			line += " " + p.extension(e.Value)
		}
		extensions = append(extensions, line)
	}
	return map[string]any{
		"version": c.Version, "subject": c.Subject.String(),
		"algorithm": c.PublicKeyAlgorithm.String(), "key usage": int(c.KeyUsage), "extensions": extensions,
	}
}

// extension writes a value as its text where it is one.
func (p *Player) extension(value []byte) string {
	var s string
	if rest, err := asn1.UnmarshalWithParams(value, &s, "utf8"); err == nil && len(rest) == 0 {
		return fmt.Sprintf("UTF8String %q", p.text(s))
	}
	if utf8.Valid(value) && !bytes.ContainsFunc(value, func(r rune) bool { return r < ' ' }) {
		return fmt.Sprintf("%q", p.text(string(value)))
	}
	var names []asn1.RawValue
	if rest, err := asn1.Unmarshal(value, &names); err == nil && len(rest) == 0 && len(names) == 1 && names[0].Class == asn1.ClassContextSpecific {
		return fmt.Sprintf("name %d %q", names[0].Tag, p.text(string(names[0].Bytes)))
	}
	return hex.EncodeToString(value)
}
