package entry

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
)

var (
	oidSAN       = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidOtherName = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 7} // Fulcio's, a UTF8String
)

// subjects lists what a certificate names (RFC 5280 4.2.1.6), in upstream's order.
func subjects(c *x509.Certificate) []string {
	var out []string
	out = append(out, c.DNSNames...)
	out = append(out, c.EmailAddresses...)
	for _, ip := range c.IPAddresses {
		out = append(out, ip.String())
	}
	for _, u := range c.URIs {
		out = append(out, u.String())
	}
	if name := otherName(c); name != "" {
		out = append(out, name)
	}
	return out
}

// otherName returns Fulcio's otherName, or "" unless the certificate has exactly one otherName
// and it is Fulcio's.
func otherName(c *x509.Certificate) string {
	var names []string
	for _, ext := range c.Extensions {
		if !ext.Id.Equal(oidSAN) || bytes.IndexByte(ext.Value, 0xa0) < 0 {
			continue // without the tag of an otherName ([0], constructed) there is none, and nothing to take apart
		}
		var seq asn1.RawValue
		rest, err := asn1.Unmarshal(ext.Value, &seq)
		if err != nil || len(rest) != 0 || !seq.IsCompound || seq.Tag != asn1.TagSequence || seq.Class != asn1.ClassUniversal {
			return ""
		}
		for rest = seq.Bytes; len(rest) > 0; {
			var v asn1.RawValue
			if rest, err = asn1.Unmarshal(rest, &v); err != nil {
				return ""
			}
			if v.Tag != 0 {
				continue
			}
			var o struct {
				ID    asn1.ObjectIdentifier
				Value string `asn1:"utf8,explicit,tag:0"`
			}
			if _, err := asn1.UnmarshalWithParams(v.FullBytes, &o, "tag:0"); err != nil || !o.ID.Equal(oidOtherName) {
				return ""
			}
			names = append(names, o.Value)
		}
	}
	if len(names) != 1 {
		return ""
	}
	return names[0]
}
