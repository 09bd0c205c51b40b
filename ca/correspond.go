package ca

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// ErrCorrespondence says that a certificate is not the one its precertificate announced.
var ErrCorrespondence = errors.New("ca: certificate and precertificate do not correspond")

// Correspond says whether a final certificate is its precertificate with the poison taken out and
// an SCT list put last, and nothing else (RFC 6962 3.1). Both are DER TBSCertificates:
//
//	TBSCertificate  ::=  SEQUENCE  {
//	     version         [0]  Version,                    v3
//	     serialNumber         CertificateSerialNumber,
//	     signature            AlgorithmIdentifier,
//	     issuer               Name,
//	     validity             Validity,
//	     subject              Name,
//	     subjectPublicKeyInfo SubjectPublicKeyInfo,
//	     issuerUniqueID  [1]  OPTIONAL,                   refused
//	     subjectUniqueID [2]  OPTIONAL,                   refused
//	     extensions      [3]  Extensions }
//	Extension ::= SEQUENCE { extnID OBJECT IDENTIFIER, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }
//
// It compares bytes and interprets only what it must. Errors wrap ErrCorrespondence.
func Correspond(preTBS, finalTBS []byte) error {
	pre, err := splitTBS(preTBS)
	if err != nil {
		return fmt.Errorf("precertificate: %w", err)
	}
	final, err := splitTBS(finalTBS)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	for i, name := range tbsFields {
		if !bytes.Equal(pre.fields[i], final.fields[i]) {
			return fmt.Errorf("%s differs: %w", name, ErrCorrespondence)
		}
	}
	if len(pre.extensions) != len(final.extensions) {
		return fmt.Errorf("%d and %d extensions: %w", len(pre.extensions), len(final.extensions), ErrCorrespondence)
	}
	last := len(pre.extensions) - 1
	for i := range last {
		if !bytes.Equal(pre.extensions[i], final.extensions[i]) {
			return fmt.Errorf("extension %d differs: %w", i, ErrCorrespondence)
		}
	}
	return checkLast(pre.extensions, final.extensions)
}

// checkLast holds the last extensions to what they must be, and sees that neither kind occurs
// before the last place.
func checkLast(pre, final [][]byte) error {
	last := len(pre) - 1
	if last < 0 {
		return fmt.Errorf("no extensions: %w", ErrCorrespondence)
	}
	var b cryptobyte.Builder
	addExtension(&b, poison)
	want, err := b.Bytes()
	if err != nil {
		return err
	}
	if !bytes.Equal(pre[last], want) {
		return fmt.Errorf("the precertificate does not end in the poison: %w", ErrCorrespondence)
	}
	for i, ext := range final {
		oid, critical, err := readExtension(ext)
		switch {
		case err != nil:
			return err
		case oid.Equal(oidPoison):
			return fmt.Errorf("poison in a certificate: %w", ErrCorrespondence)
		case oid.Equal(oidSCTList) != (i == last):
			return fmt.Errorf("the SCT list is not the last extension, once: %w", ErrCorrespondence)
		case i == last && critical:
			return fmt.Errorf("critical SCT list: %w", ErrCorrespondence)
		}
	}
	return nil
}

var tbsFields = [...]string{"version", "serial number", "signature algorithm", "issuer", "validity", "subject", "public key"}

// tbsParts are the elements of a TBSCertificate as they were encoded.
type tbsParts struct {
	fields     [len(tbsFields)][]byte
	extensions [][]byte
}

func splitTBS(tbs []byte) (tbsParts, error) {
	tags := [len(tbsFields)]casn1.Tag{
		casn1.Tag(0).ContextSpecific().Constructed(), casn1.INTEGER, casn1.SEQUENCE, casn1.SEQUENCE,
		casn1.SEQUENCE, casn1.SEQUENCE, casn1.SEQUENCE,
	}
	var p tbsParts
	var body, wrapped, list cryptobyte.String
	in := cryptobyte.String(tbs)
	if !in.ReadASN1(&body, casn1.SEQUENCE) || !in.Empty() {
		return p, fmt.Errorf("not one DER SEQUENCE: %w", ErrCorrespondence)
	}
	for i, tag := range tags {
		if !body.ReadASN1Element((*cryptobyte.String)(&p.fields[i]), tag) {
			return p, fmt.Errorf("no %s: %w", tbsFields[i], ErrCorrespondence)
		}
	}
	if !body.ReadASN1(&wrapped, tagExtensions) || !body.Empty() || !wrapped.ReadASN1(&list, casn1.SEQUENCE) || !wrapped.Empty() {
		return p, fmt.Errorf("want extensions after the public key and nothing else: %w", ErrCorrespondence)
	}
	for !list.Empty() {
		var ext cryptobyte.String
		if !list.ReadASN1Element(&ext, casn1.SEQUENCE) {
			return p, fmt.Errorf("extension is not DER: %w", ErrCorrespondence)
		}
		p.extensions = append(p.extensions, ext)
	}
	return p, nil
}

func readExtension(der []byte) (oid asn1.ObjectIdentifier, critical bool, err error) {
	var ext, value cryptobyte.String
	in := cryptobyte.String(der)
	if !in.ReadASN1(&ext, casn1.SEQUENCE) || !in.Empty() || !ext.ReadASN1ObjectIdentifier(&oid) ||
		(ext.PeekASN1Tag(casn1.BOOLEAN) && !ext.ReadASN1Boolean(&critical)) ||
		!ext.ReadASN1(&value, casn1.OCTET_STRING) || !ext.Empty() {
		return nil, false, fmt.Errorf("extension is not DER: %w", ErrCorrespondence)
	}
	return oid, critical, nil
}

// join is splitTBS backwards, with last in the place of the last extension; with last nil the
// last extension is left out.
func (p tbsParts) join(last []byte) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, commonSize))
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, f := range p.fields {
			b.AddBytes(f)
		}
		b.AddASN1(tagExtensions, func(b *cryptobyte.Builder) {
			b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
				for _, e := range p.extensions[:len(p.extensions)-1] {
					b.AddBytes(e)
				}
				b.AddBytes(last)
			})
		})
	})
	tbs, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode TBSCertificate: %w", err)
	}
	return tbs, nil
}
