package writers_test

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	pb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/quota"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/dsse"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/entry/hashedrekord"
	"github.com/sigbox/sigbox/tlog/entry/hashedrekord2"
	"github.com/sigbox/sigbox/tlog/entry/intoto"
	"github.com/sigbox/sigbox/tlog/writers"
)

// world is two authorities below roots of their own, and a time at which certificates are valid.
type world struct {
	t           *testing.T
	now         time.Time
	ours, other *ca.Hierarchy
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: time.Now().UTC().Truncate(time.Second)}
	w.ours, w.other = w.hierarchy("ours"), w.hierarchy("other")
	return w
}

func (w *world) hierarchy(name string) *ca.Hierarchy {
	w.t.Helper()
	h, err := ca.NewHierarchy(clock.NewManual(w.now), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

// signer is a key with the PEM that is shown for it.
type signer struct {
	key crypto.Signer
	pem []byte
	der []byte // of a certificate
}

func (w *world) bare() signer {
	key := entrytest.P256(w.t)
	return signer{key: key, pem: entrytest.PEM(w.t, key.Public())}
}

func text(n int, v string) pkix.Extension {
	value := []byte(v)
	if n > 7 {
		var err error
		if value, err = asn1.MarshalWithParams(v, "utf8"); err != nil {
			panic(err)
		}
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, n}, Value: value}
}

// certified is a key with a certificate as the authority issues it, changed.
func (w *world) certified(issuer *x509.Certificate, by crypto.Signer, change func(*x509.Certificate)) signer {
	w.t.Helper()
	s := w.bare()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(7), NotBefore: w.now, NotAfter: w.now.Add(10 * time.Minute), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, EmailAddresses: []string{"dev@example.com"},
		ExtraExtensions: []pkix.Extension{text(1, "https://a"), text(8, "https://a")},
	}
	if change != nil {
		change(tmpl)
	}
	var err error
	if s.der, err = x509.CreateCertificate(rand.Reader, tmpl, issuer, s.key.Public(), by); err != nil {
		w.t.Fatal(err)
	}
	s.pem = entrytest.CertPEM(s.der)
	return s
}

func (w *world) ourCert(change func(*x509.Certificate)) signer {
	return w.certified(w.ours.Intermediate, w.ours.IntermediateKey, change)
}

func extensions(list ...pkix.Extension) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.ExtraExtensions = list }
}

func (w *world) must(e entry.Proposed, err error) tlog.Entry {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func (w *world) hashedrekord(s signer) tlog.Entry {
	digest := entrytest.Digest(crypto.SHA256, []byte("artifact"))
	return w.must(hashedrekord.Parse(entrytest.Spec(w.t, entrytest.HashedRekord(s.pem, crypto.SHA256, digest, entrytest.SignDigest(w.t, s.key, crypto.SHA256, digest)))))
}

func (w *world) dsse(list ...signer) tlog.Entry {
	var keys []crypto.Signer
	var pems [][]byte
	for _, s := range list {
		keys, pems = append(keys, s.key), append(pems, s.pem)
	}
	return w.must(dsse.Parse(entrytest.Spec(w.t, entrytest.DSSE(w.t, entrytest.Envelope(w.t, "text/plain", []byte("payload"), keys...), pems...))))
}

// intoto1 shows the first signer; all sign.
func (w *world) intoto1(list ...signer) tlog.Entry {
	var keys []crypto.Signer
	for _, s := range list {
		keys = append(keys, s.key)
	}
	return w.must(intoto.ParseV001(entrytest.Spec(w.t, entrytest.JSON(w.t, map[string]any{"spec": map[string]any{
		"content": map[string]any{"envelope": string(entrytest.Envelope(w.t, "text/plain", []byte("payload"), keys...))}, "publicKey": list[0].pem,
	}}))))
}

func (w *world) intoto2(list ...signer) tlog.Entry {
	payload := []byte("payload")
	twice := func(b []byte) string {
		return base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString(b)))
	}
	var signatures []any
	for _, s := range list {
		signatures = append(signatures, map[string]any{"publicKey": s.pem, "sig": twice(entrytest.SignMessage(w.t, s.key, entrytest.PAE("text/plain", payload)))})
	}
	return w.must(intoto.ParseV002(entrytest.Spec(w.t, entrytest.JSON(w.t, map[string]any{"spec": map[string]any{"content": map[string]any{
		"envelope": map[string]any{"payloadType": "text/plain", "payload": twice(payload), "signatures": signatures},
		"hash":     map[string]any{"algorithm": "sha256", "value": strings.Repeat("0", 64)},
	}}}))))
}

func (w *world) v2(s signer) tlog.Entry {
	w.t.Helper()
	digest := entrytest.Digest(crypto.SHA256, []byte("artifact"))
	v := &pb.Verifier{KeyDetails: common.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256}
	if s.der != nil {
		v.Verifier = &pb.Verifier_X509Certificate{X509Certificate: &common.X509Certificate{RawBytes: s.der}}
	} else {
		v.Verifier = &pb.Verifier_PublicKey{PublicKey: &pb.PublicKey{RawBytes: entrytest.SPKI(w.t, s.key.Public())}}
	}
	e, err := hashedrekord2.Parse(&pb.HashedRekordRequestV002{Digest: digest, Signature: &pb.Signature{Content: entrytest.SignDigest(w.t, s.key, crypto.SHA256, digest), Verifier: v}})
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func (w *world) policy(rule *writers.Rule) *writers.Policy {
	w.t.Helper()
	p, err := writers.NewPolicy(writers.Chains{w.ours.Chain()}, rule)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func fingerprint(t *testing.T, pem []byte) string {
	t.Helper()
	k, err := entry.ParseKey(pem)
	if err != nil {
		t.Fatal(err)
	}
	return k.Fingerprint()
}

// mute is an entry that does not tell.
type mute struct{ tlog.Entry }

// TestWhoMayWrite: each row is one reason to take an entry or to refuse it.
func TestWhoMayWrite(t *testing.T) {
	w := newWorld(t)
	listed, unlisted, good := w.bare(), w.bare(), w.ourCert(nil)
	certificates := &writers.Rule{Certificates: true}
	issuers := &writers.Rule{Issuers: []string{"https://a", "https://b"}}
	keys := &writers.Rule{Keys: []string{fingerprint(t, listed.pem)}}
	both := &writers.Rule{Certificates: true, Keys: keys.Keys}
	const (
		noKeys  = "with certificates of its authority only, not with bare public keys"
		notIts  = "the certificate is not issued by its authority"
		notNow  = "the certificate is valid from "
		notThis = "is not one of those that may write"
	)
	selfSigned := w.certified(&x509.Certificate{SerialNumber: big.NewInt(1)}, entrytest.P256(t), nil) // by a key of nobody
	listedCert := w.certified(w.other.Intermediate, w.other.IntermediateKey, nil)
	byListed := signer{key: listedCert.key, pem: listedCert.pem, der: listedCert.der}
	rootIssued := w.certified(w.ours.Root, w.ours.RootKey, nil)
	otherName, err := asn1.Marshal([]asn1.RawValue{{FullBytes: mustDER(t)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		rule  *writers.Rule
		entry tlog.Entry
		want  string // "" is taken
	}{
		{"open: a bare key", nil, w.hashedrekord(unlisted), ""},
		{"open: a certificate of nobody", nil, w.hashedrekord(selfSigned), ""},
		{"open: who does not tell", nil, mute{}, ""},
		{"certificates: ours", certificates, w.hashedrekord(good), ""},
		{"certificates: ours, with its chain", certificates, w.hashedrekord(signer{key: good.key, pem: entrytest.CertPEM(good.der, w.ours.Intermediate.Raw, w.ours.Root.Raw)}), ""},
		{"certificates: ours, v2", certificates, w.v2(good), ""},
		{"certificates: ours, dsse", certificates, w.dsse(good), ""},
		{"certificates: ours, intoto 0.0.1", certificates, w.intoto1(good), ""},
		{"certificates: ours, intoto 0.0.2", certificates, w.intoto2(good), ""},
		{"certificates: ours, with a name of Fulcio's kind", certificates, w.hashedrekord(w.ourCert(func(c *x509.Certificate) {
			c.EmailAddresses = nil
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: otherName})
		})), ""},
		{"certificates: a bare key", certificates, w.hashedrekord(unlisted), noKeys},
		{"certificates: a bare key, v2", certificates, w.v2(unlisted), noKeys},
		{"certificates: a bare key, dsse", certificates, w.dsse(unlisted), noKeys},
		{"certificates: a bare key, intoto 0.0.1", certificates, w.intoto1(unlisted, good), noKeys},
		{"certificates: a bare key, intoto 0.0.2", certificates, w.intoto2(unlisted), noKeys},
		{"certificates: of another authority", certificates, w.hashedrekord(listedCert), notIts},
		{"certificates: of another authority, with its chain", certificates, w.hashedrekord(signer{key: listedCert.key, pem: entrytest.CertPEM(listedCert.der, w.other.Intermediate.Raw, w.other.Root.Raw)}), notIts},
		{"certificates: of another authority, v2", certificates, w.v2(listedCert), notIts},
		{"certificates: of nobody", certificates, w.hashedrekord(selfSigned), notIts},
		{"certificates: of our root, which issues no such ones", certificates, w.hashedrekord(rootIssued), notIts},
		{"certificates: of a sister of our authority", certificates, w.hashedrekord(w.sister()), notIts},
		{"certificates: of an authority", certificates, w.hashedrekord(w.ourCert(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true })), notIts},
		{"certificates: a precertificate", certificates, w.hashedrekord(w.ourCert(func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3}, Critical: true, Value: asn1.NullBytes})
		})), notIts},
		{"certificates: for servers", certificates, w.hashedrekord(w.ourCert(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })), "the certificate is not for code signing"},
		{"certificates: expired", certificates, w.hashedrekord(w.ourCert(func(c *x509.Certificate) { c.NotAfter = w.now.Add(-time.Second) })), notNow},
		{"certificates: in its last second", certificates, w.hashedrekord(w.ourCert(func(c *x509.Certificate) { c.NotAfter = w.now })), ""},
		{"certificates: not yet valid", certificates, w.hashedrekord(w.ourCert(func(c *x509.Certificate) { c.NotBefore = w.now.Add(time.Second) })), notNow},
		{"certificates: two issuers of the identity", certificates, w.hashedrekord(w.ourCert(extensions(text(1, "https://a"), text(8, "https://b")))), "names two issuers"},
		{"certificates: an issuer that cannot be read", certificates, w.hashedrekord(w.ourCert(extensions(pkix.Extension{Id: text(8, "").Id, Value: []byte("https://a")}))), "not in a form that is known"},
		{"certificates: who does not tell", certificates, mute{}, "does not tell who has signed it"},
		{"dsse: two that may", certificates, w.dsse(good, w.ourCert(nil)), ""},
		{"dsse: one of two may", certificates, w.dsse(good, listedCert), notIts},
		{"dsse: one of two may, the other way round", certificates, w.dsse(listedCert, good), notIts},
		{"intoto 0.0.2: one of two may", certificates, w.intoto2(good, unlisted), noKeys},
		{"issuers: one of them", issuers, w.hashedrekord(good), ""},
		{"issuers: the older extension alone", issuers, w.hashedrekord(w.ourCert(extensions(text(1, "https://b")))), ""},
		{"issuers: the newer extension alone", issuers, w.hashedrekord(w.ourCert(extensions(text(8, "https://b")))), ""},
		{"issuers: another one", issuers, w.hashedrekord(w.ourCert(extensions(text(8, "https://c")))), `it takes none of identities of the issuer "https://c"`},
		{"issuers: one that begins alike", issuers, w.hashedrekord(w.ourCert(extensions(text(8, "https://a.evil")))), `"https://a.evil"`},
		{"issuers: none", issuers, w.hashedrekord(w.ourCert(extensions())), `it takes none of identities of the issuer ""`},
		{"issuers: another authority says so", issuers, w.hashedrekord(listedCert), notIts},
		{"issuers: a bare key", issuers, w.hashedrekord(listed), noKeys},
		{"keys: listed", keys, w.hashedrekord(listed), ""},
		{"keys: listed, v2", keys, w.v2(listed), ""},
		{"keys: listed, dsse", keys, w.dsse(listed), ""},
		{"keys: not listed", keys, w.hashedrekord(unlisted), fingerprint(t, unlisted.pem) + " " + notThis},
		{"keys: not listed, v2", keys, w.v2(unlisted), notThis},
		{"keys: one of two listed", keys, w.dsse(listed, unlisted), notThis},
		{"keys: a certificate of ours", keys, w.hashedrekord(good), "listed keys only, not of certificates"},
		{"keys: a certificate for a listed key", &writers.Rule{Keys: []string{fingerprint(t, entrytest.PEM(t, byListed.key.Public()))}}, w.hashedrekord(byListed), "listed keys only, not of certificates"},
		{"keys: a certificate with the listed fingerprint", &writers.Rule{Keys: []string{fingerprint(t, byListed.pem)}}, w.hashedrekord(byListed), "listed keys only, not of certificates"},
		{"both: a certificate", both, w.hashedrekord(good), ""},
		{"both: a listed key", both, w.hashedrekord(listed), ""},
		{"both: a certificate and a listed key", both, w.dsse(good, listed), ""},
		{"both: neither", both, w.hashedrekord(unlisted), notThis},
		{"both: neither, a certificate", both, w.hashedrekord(listedCert), notIts},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := w.policy(tc.rule).Admit(tc.entry, w.now)
			var refused *writers.RefusedError
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (!errors.As(err, &refused) || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

// sister is a certificate of an authority below the same root as ours.
func (w *world) sister() signer {
	key := entrytest.P256(w.t)
	c, err := ca.NewIntermediate(clock.NewManual(w.now), pkix.Name{Organization: []string{"sister"}, CommonName: "sister"}, key.Public(), w.ours.Root, w.ours.RootKey)
	if err != nil {
		w.t.Fatal(err)
	}
	s := w.certified(c, key, nil)
	s.pem = entrytest.CertPEM(s.der, c.Raw, w.ours.Root.Raw)
	return s
}

// mustDER is an otherName of Fulcio's.
func mustDER(t *testing.T) []byte {
	t.Helper()
	der, err := asn1.MarshalWithParams(struct {
		ID    asn1.ObjectIdentifier
		Value string `asn1:"utf8,explicit,tag:0"`
	}{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 7}, "dev!example.com"}, "tag:0")
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestAuthorityExpires: a certificate is worth nothing once one above it is not valid.
func TestAuthorityExpires(t *testing.T) {
	w := newWorld(t)
	late := w.ours.Intermediate.NotAfter.Add(time.Hour)
	e := w.hashedrekord(w.ourCert(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = late.Add(-2*time.Hour), late.Add(time.Minute) }))
	if _, err := w.policy(&writers.Rule{Certificates: true}).Admit(e, late); err == nil || !strings.Contains(err.Error(), "not issued by its authority") {
		t.Error(err)
	}
}

// TestIdentity: who pays.
func TestIdentity(t *testing.T) {
	w := newWorld(t)
	listed, good := w.bare(), w.ourCert(nil)
	p := w.policy(nil)
	who := func(p *writers.Policy, e tlog.Entry) quota.Identity {
		t.Helper()
		id, err := p.Admit(e, w.now)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	dev := who(p, w.hashedrekord(good))
	if !dev.Vouched || dev.Issuer != "https://a" || dev != who(p, w.dsse(w.ourCert(nil))) || dev != who(p, w.v2(w.ourCert(nil))) || dev != who(p, w.dsse(good, w.ourCert(nil))) {
		t.Errorf("one identity is several: %+v", dev)
	}
	for name, e := range map[string]tlog.Entry{
		"another name":                     w.hashedrekord(w.ourCert(func(c *x509.Certificate) { c.EmailAddresses = []string{"ops@example.com"} })),
		"the same name of another issuer":  w.hashedrekord(w.ourCert(extensions(text(8, "https://b")))),
		"a certificate of another":         w.hashedrekord(w.certified(w.other.Intermediate, w.other.IntermediateKey, nil)),
		"a certificate that has expired":   w.hashedrekord(w.ourCert(func(c *x509.Certificate) { c.NotAfter = w.now.Add(-1) })),
		"who signs what it has signed too": w.dsse(good, w.bare()),
	} {
		if id := who(p, e); id.Name == dev.Name || id.Name == "" {
			t.Errorf("%s pays from the quota of dev: %+v", name, id)
		}
	}
	for name, tc := range map[string]struct {
		p       *writers.Policy
		e       tlog.Entry
		vouched bool
	}{
		"a bare key":               {p, w.hashedrekord(listed), false},
		"a listed key":             {w.policy(&writers.Rule{Keys: []string{fingerprint(t, listed.pem)}}), w.hashedrekord(listed), true},
		"a certificate of another": {p, w.hashedrekord(w.certified(w.other.Intermediate, w.other.IntermediateKey, nil)), false},
		"several":                  {p, w.dsse(good, listed), false},
		"several, all vouched for": {p, w.dsse(good, w.ourCert(func(c *x509.Certificate) { c.EmailAddresses = []string{"ops@example.com"} })), false},
	} {
		if id := who(tc.p, tc.e); id.Vouched != tc.vouched {
			t.Errorf("%s: vouched for is %v", name, id.Vouched)
		}
	}
	if id := who(p, mute{}); id != (quota.Identity{Vouched: false}) {
		t.Errorf("who does not tell: %+v", id)
	}
}

func TestNewPolicyRefuses(t *testing.T) {
	w := newWorld(t)
	for name, tc := range map[string]struct {
		chains writers.Chains
		rule   *writers.Rule
	}{
		"certificates of nobody": {nil, &writers.Rule{Certificates: true}},
		"issuers of nobody":      {nil, &writers.Rule{Issuers: []string{"https://a"}}},
		"an empty chain":         {writers.Chains{{}}, nil},
		"a chain without root":   {writers.Chains{{w.ours.Intermediate}}, nil},
	} {
		if _, err := writers.NewPolicy(tc.chains, tc.rule); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// TestGate: a policy that is replaced counts for the next entry.
func TestGate(t *testing.T) {
	w := newWorld(t)
	e := w.hashedrekord(w.bare())
	g := writers.NewGate(w.policy(nil), clock.NewManual(w.now))
	if err := g.Admit(e, nil); err != nil {
		t.Error(err)
	}
	g.Set(w.policy(&writers.Rule{Certificates: true}))
	if err := g.Admit(e, nil); err == nil {
		t.Error("the old policy counts")
	}
	if err := (*writers.Gate)(nil).Admit(e, nil); err != nil {
		t.Error(err)
	}
}

// nobodys is an entry that says it has no signature.
type nobodys struct{ tlog.Entry }

func (nobodys) Verifiers() ([]entry.Verifier, error) { return nil, nil }

// TestSignedByNobody: that every signature is of somebody who may write is not true of none.
func TestSignedByNobody(t *testing.T) {
	w := newWorld(t)
	if _, err := w.policy(&writers.Rule{Certificates: true}).Admit(nobodys{}, w.now); err == nil {
		t.Error("an entry that nobody has signed is taken")
	}
	if _, err := w.policy(nil).Admit(nobodys{}, w.now); err != nil {
		t.Error(err)
	}
}
