package tsa

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/asn1"
	"errors"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidSignedData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidTSTInfo       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	oidContentType   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}

	tag0 = cbasn1.Tag(0).ContextSpecific().Constructed()

	errNotDER = errors.New("it is not the DER of RFC 3161 and RFC 5652")
)

// token is a response as it was read back.
type token struct {
	certificates cryptobyte.String // what is in the set of them
	info         cryptobyte.String // DER of the TSTInfo
	sid          cryptobyte.String // IssuerAndSerialNumber
	attributes   cryptobyte.String // signedAttrs, with their tag
	signature    cryptobyte.String
}

// verify reads a response back and compares it with what was asked for, by other code than that which wrote
// it. It is the defence against a faulty signer and against an encoder that drops a field.
func (a *Authority) verify(resp []byte, req Request, serial *big.Int, at time.Time) error {
	t, err := a.read(resp)
	if err != nil {
		return err
	}
	if err := a.checkInfo(t.info, req, serial, at); err != nil {
		return err
	}
	leaf := a.chain[0]
	switch {
	case req.Certificates && !bytes.Equal(t.certificates, leaf.Raw):
		return errors.New("the certificate in the token is not the one that was asked for")
	case !req.Certificates && len(t.certificates) != 0:
		return errors.New("the token has certificates that were not asked for")
	}
	var issuer cryptobyte.String
	number := new(big.Int)
	if !t.sid.ReadASN1Element(&issuer, cbasn1.SEQUENCE) || !t.sid.ReadASN1Integer(number) || !t.sid.Empty() ||
		!bytes.Equal(issuer, leaf.RawIssuer) || number.Cmp(leaf.SerialNumber) != 0 {
		return errors.New("the signer is not the certificate's")
	}
	return a.checkSignature(t)
}

// read takes a TimeStampResp (RFC 3161 2.4.2) apart, around its one SignerInfo (RFC 5652 5.3).
func (a *Authority) read(resp []byte) (t token, err error) {
	var response, status, content, signed, data, encapsulated, wrapped, signers, signer cryptobyte.String
	in := cryptobyte.String(resp)
	var granted, version, signerVersion int
	if !in.ReadASN1(&response, cbasn1.SEQUENCE) || !in.Empty() ||
		!response.ReadASN1(&status, cbasn1.SEQUENCE) || !status.ReadASN1Integer(&granted) || granted != 0 || !status.Empty() ||
		!response.ReadASN1(&content, cbasn1.SEQUENCE) || !response.Empty() ||
		!readOID(&content, oidSignedData) || !content.ReadASN1(&signed, tag0) || !content.Empty() ||
		!signed.ReadASN1(&data, cbasn1.SEQUENCE) || !signed.Empty() ||
		!data.ReadASN1Integer(&version) || version != 3 || !a.readDigests(&data) ||
		!data.ReadASN1(&encapsulated, cbasn1.SEQUENCE) || !readOID(&encapsulated, oidTSTInfo) ||
		!encapsulated.ReadASN1(&wrapped, tag0) || !encapsulated.Empty() ||
		!wrapped.ReadASN1(&t.info, cbasn1.OCTET_STRING) || !wrapped.Empty() ||
		!data.ReadOptionalASN1(&t.certificates, nil, tag0) ||
		!data.ReadASN1(&signers, cbasn1.SET) || !data.Empty() ||
		!signers.ReadASN1(&signer, cbasn1.SEQUENCE) || !signers.Empty() ||
		!signer.ReadASN1Integer(&signerVersion) || signerVersion != 1 ||
		!signer.ReadASN1(&t.sid, cbasn1.SEQUENCE) || !a.readDigest(&signer) ||
		!signer.ReadASN1Element(&t.attributes, tag0) || !a.readAlgorithm(&signer) ||
		!signer.ReadASN1(&t.signature, cbasn1.OCTET_STRING) || !signer.Empty() {
		return t, errNotDER
	}
	return t, nil
}

func readOID(s *cryptobyte.String, want asn1.ObjectIdentifier) bool {
	var oid asn1.ObjectIdentifier
	return s.ReadASN1ObjectIdentifier(&oid) && oid.Equal(want)
}

// readDigests reads the set of the one digest algorithm.
func (a *Authority) readDigests(s *cryptobyte.String) bool {
	var set cryptobyte.String
	return s.ReadASN1(&set, cbasn1.SET) && a.readDigest(&set) && set.Empty()
}

func (a *Authority) readDigest(s *cryptobyte.String) bool {
	var alg cryptobyte.String
	if !s.ReadASN1(&alg, cbasn1.SEQUENCE) {
		return false
	}
	hash, err := readHash(&alg)
	return err == nil && hash == a.hash
}

// readAlgorithm reads the signature's: ECDSA with the digest that goes with the key.
func (a *Authority) readAlgorithm(s *cryptobyte.String) bool {
	var alg cryptobyte.String
	return s.ReadASN1(&alg, cbasn1.SEQUENCE) && readOID(&alg, signatureOID(a.hash)) && alg.Empty()
}

// checkInfo holds a TSTInfo (RFC 3161 2.4.2) to what was asked for:
//
//	TSTInfo ::= SEQUENCE {
//	    version INTEGER, policy OBJECT IDENTIFIER, messageImprint, serialNumber INTEGER, genTime GeneralizedTime,
//	    accuracy SEQUENCE { seconds INTEGER }, ordering BOOLEAN DEFAULT FALSE, nonce INTEGER OPTIONAL,
//	    tsa [0] GeneralName OPTIONAL }
func (a *Authority) checkInfo(der cryptobyte.String, req Request, serial *big.Int, at time.Time) error {
	var info, imprint, alg, accuracy, digest, name, subject cryptobyte.String
	var version, seconds int
	var genTime time.Time
	number, nonce := new(big.Int), new(big.Int)
	if !der.ReadASN1(&info, cbasn1.SEQUENCE) || !der.Empty() || !info.ReadASN1Integer(&version) || version != 1 {
		return errNotDER
	}
	if !readOID(&info, a.policy) {
		return errors.New("policy differs")
	}
	if !info.ReadASN1(&imprint, cbasn1.SEQUENCE) || !imprint.ReadASN1(&alg, cbasn1.SEQUENCE) ||
		!imprint.ReadASN1(&digest, cbasn1.OCTET_STRING) || !imprint.Empty() {
		return errNotDER
	}
	if hash, err := readHash(&alg); err != nil || hash != req.Hash || !bytes.Equal(digest, req.Digest) {
		return errors.New("message imprint differs")
	}
	if !info.ReadASN1Integer(number) || number.Cmp(serial) != 0 {
		return errors.New("serial number differs")
	}
	if !info.ReadASN1GeneralizedTime(&genTime) || !genTime.Equal(at) || genTime.Location() != time.UTC {
		return errors.New("time differs")
	}
	if !info.ReadASN1(&accuracy, cbasn1.SEQUENCE) || !accuracy.ReadASN1Integer(&seconds) || !accuracy.Empty() ||
		time.Duration(seconds)*time.Second != Accuracy {
		return errors.New("accuracy differs")
	}
	if named := info.PeekASN1Tag(cbasn1.INTEGER); named != (req.Nonce != nil) || named && (!info.ReadASN1Integer(nonce) || nonce.Cmp(req.Nonce) != 0) {
		return errors.New("nonce differs")
	}
	if !info.ReadASN1(&name, tag0) || !info.Empty() || !name.ReadASN1(&subject, directory) ||
		!name.Empty() || !bytes.Equal(subject, a.chain[0].RawSubject) {
		return errors.New("the authority's name differs, or something follows it")
	}
	return nil
}

// checkSignature verifies what the signer has signed, the signed attributes as a SET OF (RFC 5652 5.4), and
// that these are of this content.
func (a *Authority) checkSignature(t token) error {
	signed := bytes.Clone(t.attributes)
	signed[0] = byte(cbasn1.SET)
	pub, _ := a.chain[0].PublicKey.(*ecdsa.PublicKey) // checkKey
	if !ecdsa.VerifyASN1(pub, a.sum(signed), t.signature) {
		return errors.New("the signature does not verify")
	}
	var attributes cryptobyte.String
	if !t.attributes.ReadASN1(&attributes, tag0) {
		return errNotDER
	}
	var digest, kind cryptobyte.String
	for !attributes.Empty() {
		var attribute, values cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !attributes.ReadASN1(&attribute, cbasn1.SEQUENCE) || !attribute.ReadASN1ObjectIdentifier(&oid) ||
			!attribute.ReadASN1(&values, cbasn1.SET) || !attribute.Empty() {
			return errNotDER
		}
		switch {
		case oid.Equal(oidContentType):
			kind = values
		case oid.Equal(oidMessageDigest):
			digest = values
		}
	}
	var sum cryptobyte.String
	if !readOID(&kind, oidTSTInfo) || !kind.Empty() ||
		!digest.ReadASN1(&sum, cbasn1.OCTET_STRING) || !digest.Empty() || !bytes.Equal(sum, a.sum(t.info)) {
		return errors.New("what is signed is not this content")
	}
	return nil
}

func (a *Authority) sum(data []byte) []byte {
	h := a.hash.New()
	h.Write(data)
	return h.Sum(nil)
}
