package tsa_test

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/digitorus/pkcs7"
	"github.com/digitorus/timestamp"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tsa"
)

var (
	oidContentType     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningTime     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
	oidSigningCertV2   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}
	oidTSTInfo         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	oidECDSAWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
)

// tstInfo is RFC 3161 2.4.2, with genTime and tsa left as they are encoded.
type tstInfo struct {
	Version  int
	Policy   asn1.ObjectIdentifier
	Imprint  asn1.RawValue
	Serial   asn1.RawValue
	GenTime  asn1.RawValue
	Accuracy struct{ Seconds int }
	TSA      asn1.RawValue `asn1:"tag:0,optional"`
}

// TestTokenContents reads what sigstore-js and BouncyCastle insist on and OpenSSL does not.
func TestTokenContents(t *testing.T) {
	a := newAuthority(t, tsa.WithIntermediate())
	resp, err := a.Stamp(context.Background(), tsa.Request{Hash: crypto.SHA256, Digest: digest(crypto.SHA256), Certificates: true})
	if err != nil {
		t.Fatal(err)
	}
	p7 := signedData(t, resp)
	leaf := a.Chain()[0]
	signer := p7.Signers[0]
	if len(p7.Signers) != 1 || !signer.DigestEncryptionAlgorithm.Algorithm.Equal(oidECDSAWithSHA256) {
		t.Errorf("sigstore-js reads ecdsa-with-SHA2 only, got %v", signer.DigestEncryptionAlgorithm.Algorithm)
	}
	if signer.IssuerAndSerialNumber.SerialNumber.Cmp(leaf.SerialNumber) != 0 || string(signer.IssuerAndSerialNumber.IssuerName.FullBytes) != string(leaf.RawIssuer) {
		t.Error("sid is not the leaf's issuer and serial number")
	}
	want := map[string]bool{oidContentType.String(): true, oidMessageDigest.String(): true, oidSigningTime.String(): true, oidSigningCertV2.String(): true}
	for _, attr := range signer.AuthenticatedAttributes {
		delete(want, attr.Type.String())
	}
	if len(want) != 0 {
		t.Errorf("signed attributes lack %v", want)
	}
	checkSigningCertificate(t, p7, leaf.Raw)

	var info tstInfo
	if rest, err := asn1.Unmarshal(p7.Content, &info); err != nil || len(rest) != 0 {
		t.Fatalf("TSTInfo: %v", err)
	}
	if info.Version != 1 || info.Accuracy.Seconds != 1 {
		t.Errorf("TSTInfo version %d, accuracy %d s", info.Version, info.Accuracy.Seconds)
	}
	// [0] GeneralName, which is [4] directoryName, both explicit
	var name asn1.RawValue
	if _, err := asn1.Unmarshal(info.TSA.Bytes, &name); err != nil || name.Tag != 4 || string(name.Bytes) != string(leaf.RawSubject) {
		t.Errorf("tsa is not the leaf's subject: %v", err)
	}
}

func checkSigningCertificate(t *testing.T, p7 *pkcs7.PKCS7, leaf []byte) {
	t.Helper()
	var signing struct {
		Certs []struct {
			Hash   []byte // SHA-256, the default, so the algorithm is left out (RFC 5035)
			Issuer asn1.RawValue
		}
	}
	if err := p7.UnmarshalSignedAttribute(oidSigningCertV2, &signing); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(leaf)
	if len(signing.Certs) != 1 || string(signing.Certs[0].Hash) != string(sum[:]) {
		t.Error("signingCertificateV2 is not the leaf's SHA-256")
	}
	var contentType asn1.ObjectIdentifier
	if err := p7.UnmarshalSignedAttribute(oidContentType, &contentType); err != nil || !contentType.Equal(oidTSTInfo) {
		t.Errorf("content type %v: %v", contentType, err)
	}
}

// TestGenTimeEncoding: GeneralizedTime in UTC, whole seconds, across the year in which UTCTime
// ends and on a host with another zone (B-199). signingTime is the same reading of the clock.
func TestGenTimeEncoding(t *testing.T) {
	for _, row := range []struct {
		at   time.Time
		want string
	}{
		{time.Date(2049, 12, 31, 23, 59, 59, 999_000_000, time.UTC), "20491231235959Z"},
		{time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC), "20500101000000Z"},
		{time.Date(2051, 7, 1, 2, 0, 0, 500, time.FixedZone("somewhere", 2*60*60)), "20510701000000Z"},
	} {
		c := clock.NewManual(row.at)
		a := authorityAt(t, c)
		resp, err := a.Stamp(context.Background(), tsa.Request{Hash: crypto.SHA256, Digest: digest(crypto.SHA256)})
		if err != nil {
			t.Fatal(err)
		}
		if got := genTime(t, resp); got != row.want {
			t.Errorf("genTime %q, want %q", got, row.want)
		}
		var signed time.Time
		if err := signedData(t, resp).UnmarshalSignedAttribute(oidSigningTime, &signed); err != nil || !signed.Equal(row.at.Truncate(time.Second)) {
			t.Errorf("signingTime %s, %v, want %s", signed, err, row.at)
		}
	}
}

// authorityAt returns an authority with a chain of its own.
func authorityAt(t *testing.T, c clock.Clock) *tsa.Authority {
	t.Helper()
	chain, err := tsa.NewChain(c, "sigbox")
	if err != nil {
		t.Fatal(err)
	}
	a, err := tsa.New(tsa.Config{Key: chain.Leaf.Key, Chain: chain.Certificates(), Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// signedData returns the token of a response, as upstream's library reads it.
func signedData(t *testing.T, resp []byte) *pkcs7.PKCS7 {
	t.Helper()
	ts, err := timestamp.ParseResponse(resp)
	if err != nil {
		t.Fatal(err)
	}
	p7, err := pkcs7.Parse(ts.RawToken)
	if err != nil {
		t.Fatal(err)
	}
	return p7
}

func genTime(t *testing.T, resp []byte) string {
	t.Helper()
	var info tstInfo
	if _, err := asn1.Unmarshal(signedData(t, resp).Content, &info); err != nil {
		t.Fatal(err)
	}
	if info.GenTime.Tag != asn1.TagGeneralizedTime {
		t.Errorf("genTime has tag %d", info.GenTime.Tag)
	}
	return string(info.GenTime.Bytes)
}

// TestClock: time never goes back; a step back, and a time that the chain does not cover, stop
// the authority (B-198).
func TestClock(t *testing.T) {
	start := time.Now().UTC().Truncate(time.Second)
	c := clock.NewManual(start)
	a := authorityAt(t, c)
	for _, step := range []struct {
		name string
		at   time.Time
		want time.Time // zero: ErrTime
	}{
		{"first", start.Add(10 * time.Second), start.Add(10 * time.Second)},
		{"fraction is cut", start.Add(10*time.Second + 900*time.Millisecond), start.Add(10 * time.Second)},
		{"one second back is held", start.Add(9 * time.Second), start.Add(10 * time.Second)},
		{"two seconds back is refused", start.Add(8 * time.Second), time.Time{}},
		{"a day back is refused", start.Add(-24 * time.Hour), time.Time{}},
		{"and mends itself", start.Add(11 * time.Second), start.Add(11 * time.Second)},
		{"after the leaf's end", start.AddDate(5, 0, 1), time.Time{}},
	} {
		c.Set(step.at)
		resp, err := a.Stamp(context.Background(), tsa.Request{Hash: crypto.SHA256, Digest: digest(crypto.SHA256)})
		if step.want.IsZero() {
			if !errors.Is(err, tsa.ErrTime) || resp != nil {
				t.Errorf("%s: got %v, want ErrTime", step.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", step.name, err)
			continue
		}
		if got, want := genTime(t, resp), step.want.Format("20060102150405Z"); got != want {
			t.Errorf("%s: genTime %s, want %s", step.name, got, want)
		}
	}
}

// faultySigner is a signer whose signatures are wrong from the nth on, as of failing hardware.
type faultySigner struct {
	crypto.Signer
	good int
}

func (f *faultySigner) Sign(r io.Reader, d []byte, o crypto.SignerOpts) ([]byte, error) {
	if f.good--; f.good < 0 {
		d = append([]byte{d[0] ^ 1}, d[1:]...)
	}
	return f.Signer.Sign(r, d, o)
}

// TestFaultySignatureIsWithheld: a signature that does not verify never leaves, with the certificate in the
// token and without.
func TestFaultySignatureIsWithheld(t *testing.T) {
	chain, err := tsa.NewChain(clock.System{}, "sigbox")
	if err != nil {
		t.Fatal(err)
	}
	for _, certificates := range []bool{false, true} {
		a, err := tsa.New(tsa.Config{Key: &faultySigner{chain.Leaf.Key, 1}, Chain: chain.Certificates(), Clock: clock.System{}})
		if err != nil {
			t.Fatal(err)
		}
		req := tsa.Request{Hash: crypto.SHA256, Digest: digest(crypto.SHA256), Certificates: certificates}
		if _, err := a.Stamp(context.Background(), req); err != nil {
			t.Fatalf("good signature: %v", err)
		}
		if resp, err := a.Stamp(context.Background(), req); err == nil || resp != nil {
			t.Errorf("faulty signature left: %d bytes, %v", len(resp), err)
		}
	}
}
