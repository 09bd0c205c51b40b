package profile

import (
	"crypto/x509/pkix"
	"encoding/asn1"
)

// Text is one extension as people read it.
type Text struct {
	OID   string // 1.3.6.1.4.1.57264.1.N
	Name  string // as in Fulcio's configuration, or issuer, issuer-v2, subject
	Value string
}

// Texts returns the Sigstore extensions as text, in their order.
func (i Identity) Texts() []Text {
	names := map[int]string{numIssuer: "issuer", numIssuerV2: "issuer-v2", numSubject: "subject"}
	for name, n := range numbers {
		names[n] = name
	}
	out := make([]Text, 0, len(i.Extensions))
	for _, e := range i.Extensions {
		n := e.Id[len(e.Id)-1]
		out = append(out, Text{OID: e.Id.String(), Name: names[n], Value: value(e, n)})
	}
	return out
}

// value undoes what render did.
func value(e pkix.Extension, n int) string {
	text := string(e.Value)
	if n > numOtherName {
		if _, err := asn1.UnmarshalWithParams(e.Value, &text, "utf8"); err != nil {
			return "" // render made it
		}
	}
	return text
}
