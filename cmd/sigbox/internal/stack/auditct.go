package stack

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry/certificate"
)

// certificateIdentity is [certificate.Entry.Identity]: SHA-256 of the MerkleTreeLeaf with the time
// left out. RFC 6962 3.4: a byte of version, one of leaf type, eight of time. The chain, which no
// leaf hash covers, must lead from the certificate to a root.
func certificateIdentity(l tlog.Leaf) ([32]byte, error) {
	leaf, extra, err := certificate.Parse(l.Data)
	if err != nil {
		return [32]byte{}, err
	}
	entry, err := certificate.ParseLeaf(leaf)
	if err != nil {
		return [32]byte{}, err
	}
	if err := checkChain(entry, extra); err != nil {
		return [32]byte{}, fmt.Errorf("chain: %w", err)
	}
	timeless := bytes.Clone(leaf)
	clear(timeless[2:10])
	return sha256.Sum256(timeless), nil
}

// checkChain checks extra_data (RFC 6962 4.6) against its leaf.
func checkChain(leaf *ct.TimestampedEntry, extra []byte) error {
	var ders []ct.ASN1Cert
	var rest []byte
	var err error
	switch leaf.EntryType {
	case ct.X509LogEntryType:
		var chain ct.CertificateChain
		rest, err = tls.Unmarshal(extra, &chain)
		ders = append([]ct.ASN1Cert{*leaf.X509Entry}, chain.Entries...)
	case ct.PrecertLogEntryType:
		var chain ct.PrecertChainEntry
		rest, err = tls.Unmarshal(extra, &chain)
		ders = append([]ct.ASN1Cert{chain.PreCertificate}, chain.CertificateChain...)
	default:
		err = fmt.Errorf("entry type %d", leaf.EntryType)
	}
	if err != nil || len(rest) > 0 {
		return errors.Join(errors.New("extra_data is not that of its entry type"), err)
	}
	certs := make([]*x509.Certificate, len(ders))
	for i, der := range ders {
		if certs[i], err = x509.ParseCertificate(der.Data); err != nil {
			return fmt.Errorf("certificate %d: %w", i, err)
		}
	}
	for i, c := range certs {
		issuer := certs[min(i+1, len(certs)-1)] // a root signs itself
		if err := issuer.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature); err != nil {
			return fmt.Errorf("certificate %d: %w", i, err)
		}
	}
	if leaf.EntryType == ct.X509LogEntryType {
		return nil
	}
	return checkPrecert(leaf.PrecertEntry, certs)
}

// checkPrecert checks that a leaf is the one of a precertificate and its issuer.
func checkPrecert(leaf *ct.PreCert, certs []*x509.Certificate) error {
	tbs, err := certificate.WithoutPoison(certs[0].RawTBSCertificate)
	if err != nil {
		return err
	}
	if len(certs) < 2 || !bytes.Equal(tbs, leaf.TBSCertificate) || sha256.Sum256(certs[1].RawSubjectPublicKeyInfo) != leaf.IssuerKeyHash {
		return errors.New("the leaf is not that of the precertificate and its issuer")
	}
	return nil
}
