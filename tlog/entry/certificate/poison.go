package certificate

import (
	"bytes"
	"encoding/asn1"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Extensions of RFC 6962.
var (
	OIDPoison  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3} // 3.1: critical, value NULL
	OIDSCTList = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2} // 3.3
)

// WithoutPoison returns a precertificate's TBSCertificate as the log signs it: the one poison
// extension taken out, every other byte as it was (RFC 6962 3.2). ErrNotPrecert if there is no
// poison, more than one, one that is not critical or not NULL, or an SCT list beside it.
func WithoutPoison(tbs []byte) ([]byte, error) {
	var body, wrapped, list cryptobyte.String
	in := cryptobyte.String(tbs)
	if !in.ReadASN1(&body, casn1.SEQUENCE) || !in.Empty() {
		return nil, fmt.Errorf("TBSCertificate is no SEQUENCE: %w", ErrNotPrecert)
	}
	head, err := beforeExtensions(&body)
	if err != nil {
		return nil, err
	}
	if !body.ReadASN1(&wrapped, casn1.Tag(3).ContextSpecific().Constructed()) || !body.Empty() ||
		!wrapped.ReadASN1(&list, casn1.SEQUENCE) || !wrapped.Empty() {
		return nil, fmt.Errorf("no extensions: %w", ErrNotPrecert)
	}
	kept, err := dropPoison(list)
	if err != nil {
		return nil, err
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(tbs)))
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(head)
		b.AddASN1(casn1.Tag(3).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(kept) })
		})
	})
	out, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode TBSCertificate: %w", err)
	}
	return out, nil
}

// beforeExtensions reads the elements of a TBSCertificate up to its extensions, as they are.
func beforeExtensions(body *cryptobyte.String) ([]byte, error) {
	head := make([]byte, 0, len(*body))
	for !body.Empty() && !body.PeekASN1Tag(casn1.Tag(3).ContextSpecific().Constructed()) {
		var element cryptobyte.String
		var tag casn1.Tag
		if !body.ReadAnyASN1Element(&element, &tag) {
			return nil, fmt.Errorf("TBSCertificate is not DER: %w", ErrNotPrecert)
		}
		head = append(head, element...)
	}
	return head, nil
}

// dropPoison returns the extensions without the poison.
//
//	Extension ::= SEQUENCE { extnID OBJECT IDENTIFIER, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }
func dropPoison(list cryptobyte.String) ([]byte, error) {
	kept := make([]byte, 0, len(list))
	found := 0
	for !list.Empty() {
		var element, ext, value cryptobyte.String
		var oid asn1.ObjectIdentifier
		var critical bool
		if !list.ReadASN1Element(&element, casn1.SEQUENCE) {
			return nil, fmt.Errorf("extension is not DER: %w", ErrNotPrecert)
		}
		whole := element
		if !element.ReadASN1(&ext, casn1.SEQUENCE) || !ext.ReadASN1ObjectIdentifier(&oid) ||
			(ext.PeekASN1Tag(casn1.BOOLEAN) && !ext.ReadASN1Boolean(&critical)) ||
			!ext.ReadASN1(&value, casn1.OCTET_STRING) || !ext.Empty() {
			return nil, fmt.Errorf("extension is not DER: %w", ErrNotPrecert)
		}
		switch {
		case oid.Equal(OIDSCTList):
			return nil, fmt.Errorf("SCT list in a precertificate: %w", ErrNotPrecert)
		case !oid.Equal(OIDPoison):
			kept = append(kept, whole...)
		case !critical || !bytes.Equal(value, asn1.NullBytes):
			return nil, fmt.Errorf("poison extension is not critical or not NULL: %w", ErrNotPrecert)
		default:
			found++
		}
	}
	if found != 1 {
		return nil, fmt.Errorf("want one poison extension, found %d: %w", found, ErrNotPrecert)
	}
	return kept, nil
}
