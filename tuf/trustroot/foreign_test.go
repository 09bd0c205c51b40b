package trustroot_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	pb "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sigbox/sigbox/tuf/trustroot"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

// trusted is the trusted_root.json of a new instance.
func trusted(t testing.TB, url string) []byte {
	t.Helper()
	return byName(tuftest.Compose(t, tuftest.Material(t, url, now)))[trustroot.TrustedRootName].Content
}

// edited is a file with a change.
func edited(t testing.TB, raw []byte, change func(*pb.TrustedRoot)) []byte {
	t.Helper()
	tr := &pb.TrustedRoot{}
	if err := protojson.Unmarshal(raw, tr); err != nil {
		t.Fatal(err)
	}
	change(tr)
	out, err := protojson.Marshal(tr)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// withKey gives a log another key, and the id that belongs to it.
func withKey(t testing.TB, g *pb.TransparencyLogInstance, pub any) {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	id := sha256.Sum256(der)
	g.PublicKey.RawBytes, g.LogId.KeyId = der, id[:]
}

func newKeys(t testing.TB) (*ecdsa.PublicKey, ed25519.PublicKey) {
	t.Helper()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &p384.PublicKey, ed
}

// TestLintFile: each row is what one reader of a foreign file would misread, or would refuse.
func TestLintFile(t *testing.T) {
	p384, ed := newKeys(t)
	for _, tc := range []struct {
		name   string
		change func(*pb.TrustedRoot)
		want   string // of the refusal; "" for none
		breaks string // the one client that breaks; "" for none
	}{
		{"as it is", func(*pb.TrustedRoot) {}, "", ""},
		{"no TSA", func(r *pb.TrustedRoot) { r.TimestampAuthorities = nil }, "", ""},
		{"another media type", func(r *pb.TrustedRoot) { r.MediaType = "application/vnd.dev.sigstore.trustedroot.v0.2+json" }, "media type", ""},
		{"no CA", func(r *pb.TrustedRoot) { r.CertificateAuthorities = nil }, "no certificate authority", ""},
		{"no log", func(r *pb.TrustedRoot) { r.Tlogs = nil }, "", "sigstore-python"},
		{"no CT log", func(r *pb.TrustedRoot) { r.Ctlogs = nil }, "", "sigstore-python"},
		{"a log without a start", func(r *pb.TrustedRoot) { r.Tlogs[0].PublicKey.ValidFor.Start = nil }, "transparency log 1: validity has no start", ""},
		{"a CA without a start", func(r *pb.TrustedRoot) { r.CertificateAuthorities[0].ValidFor = nil }, "CA 1: validity has no start", ""},
		{"an end before the start", func(r *pb.TrustedRoot) {
			r.Ctlogs[0].PublicKey.ValidFor.End = timestamppb.New(now.AddDate(-9, 0, 0))
		}, "CT log 1: validity ends before it starts", ""},
		{"two CT logs at one address", func(r *pb.TrustedRoot) {
			next := &pb.TrustedRoot{}
			if err := protojson.Unmarshal(trusted(t, r.Ctlogs[0].BaseUrl), next); err != nil {
				t.Fatal(err)
			}
			r.Ctlogs = append(r.Ctlogs, next.Ctlogs...)
		}, "CT log 2: its validity overlaps", ""},
		{"a key in two roles", func(r *pb.TrustedRoot) {
			r.Ctlogs[0].PublicKey, r.Ctlogs[0].LogId = r.Tlogs[0].PublicKey, r.Tlogs[0].LogId
		}, "shares its key with a", ""},
		{"one log twice", func(r *pb.TrustedRoot) { r.Tlogs = append(r.Tlogs, r.Tlogs[0]) }, "has the log id of transparency log 1", ""},
		{"a log id of another key", func(r *pb.TrustedRoot) { r.Tlogs[0].LogId.KeyId[0] ^= 1 }, "is not that of its key", ""},
		{"a log id that is cut", func(r *pb.TrustedRoot) { r.Tlogs[0].LogId.KeyId = r.Tlogs[0].LogId.KeyId[:4] }, "is not that of its key", ""},
		{"a key that is none", func(r *pb.TrustedRoot) { r.Tlogs[0].PublicKey.RawBytes = []byte("x") }, "transparency log 1: key:", ""},
		{"a log without an address", func(r *pb.TrustedRoot) { r.Tlogs[0].BaseUrl = "" }, "want http or https", ""},
		{"another hash", func(r *pb.TrustedRoot) { r.Tlogs[0].HashAlgorithm = common.HashAlgorithm_SHA2_512 }, "its hash is not SHA-256", ""},
		{"a chain in the other order", func(r *pb.TrustedRoot) { slices.Reverse(r.CertificateAuthorities[0].CertChain.Certificates) }, "is not signed by the next", ""},
		{"a chain without its root", func(r *pb.TrustedRoot) {
			c := r.CertificateAuthorities[0].CertChain
			c.Certificates = c.Certificates[:1]
		}, "or the last is no root", ""},
		{"an empty chain", func(r *pb.TrustedRoot) { r.TimestampAuthorities[0].CertChain = nil }, "TSA 1: the chain is too short", ""},
		{"a certificate that is none", func(r *pb.TrustedRoot) { r.TimestampAuthorities[0].CertChain.Certificates[0].RawBytes = nil }, "TSA 1: certificate 1:", ""},
		{"a CA for a TSA", func(r *pb.TrustedRoot) {
			r.TimestampAuthorities[0].CertChain.Certificates = r.TimestampAuthorities[0].CertChain.Certificates[1:]
		}, "no leaf for timestamping", ""},
		{"an Ed25519 log", func(r *pb.TrustedRoot) { withKey(t, r.Tlogs[0], ed) }, "", "policy-controller"},
		{"an Ed25519 log by the hash of its note", func(r *pb.TrustedRoot) {
			withKey(t, r.Tlogs[0], ed)
			id := sha256.Sum256(slices.Concat([]byte("foreign.example.com\n\x01"), ed))
			r.Tlogs[0].LogId.KeyId = id[:]
		}, "", "policy-controller"},
		{"a P-384 log", func(r *pb.TrustedRoot) { withKey(t, r.Ctlogs[0], p384) }, "", "sigstore-java"},
		{"an operator of a log", func(r *pb.TrustedRoot) { r.Tlogs[0].Operator = "x" }, "", "policy-controller"},
		{"an operator of a CA", func(r *pb.TrustedRoot) { r.CertificateAuthorities[0].Operator = "x" }, "", "policy-controller"},
		{"a subject without a common name", func(r *pb.TrustedRoot) { r.CertificateAuthorities[0].Subject.CommonName = "" }, "", "sigstore-python"},
		{"a checkpoint key of its own", func(r *pb.TrustedRoot) { r.Tlogs[0].CheckpointKeyId = &common.LogId{KeyId: []byte{1, 2, 3, 4}} }, "", "sigstore-js"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			breaks, err := trustroot.LintFile(edited(t, trusted(t, "https://foreign.example.com"), tc.change))
			if tc.want == "" && err != nil || tc.want != "" && (!errors.Is(err, trustroot.ErrMaterial) || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			if err != nil {
				return
			}
			if tc.breaks == "" && len(breaks) != 0 || tc.breaks != "" && (len(breaks) != 1 || breaks[0].Client != tc.breaks) {
				t.Errorf("breaks %v, want %q", breaks, tc.breaks)
			}
		})
	}
	for name, raw := range map[string]string{"no JSON": "x", "an unknown field": `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","x":1}`} {
		if _, err := trustroot.LintFile([]byte(raw)); err == nil || !strings.Contains(err.Error(), "not one that clients read") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// public is the trust root of the public Sigstore instance, as the examples of sigstore-go 1.3.0 have it.
func public(t testing.TB) []byte {
	t.Helper()
	raw, err := os.ReadFile("testdata/public-good.json")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestPublicInstance: its trust root breaks no client, and merges with one of ours.
func TestPublicInstance(t *testing.T) {
	own, theirs := trusted(t, "https://sigstore.example.com"), public(t)
	if breaks, err := trustroot.LintFile(theirs); err != nil || len(breaks) != 0 {
		t.Errorf("%v, %v", breaks, err)
	}
	merged, breaks, err := trustroot.Merge(own, theirs)
	if err != nil || len(breaks) != 0 {
		t.Fatalf("%v, %v", breaks, err)
	}
	tr, err := root.NewTrustedRootFromJSON(merged)
	if err != nil {
		t.Fatal(err)
	}
	if len(tr.RekorLogs()) != 3 || len(tr.CTLogs()) != 3 || len(tr.FulcioCertificateAuthorities()) != 3 || len(tr.TimestampingAuthorities()) != 2 {
		t.Errorf("%d logs, %d CT logs, %d CAs, %d TSAs", len(tr.RekorLogs()), len(tr.CTLogs()), len(tr.FulcioCertificateAuthorities()), len(tr.TimestampingAuthorities()))
	}
	again, _, err := trustroot.Merge(own, theirs, theirs)
	if err != nil || !bytes.Equal(again, merged) {
		t.Errorf("what is there twice: %v, or other bytes", err)
	}
}

// TestMerge: what clients that take one part of a list find, whom a key breaks, and what does not go together.
func TestMerge(t *testing.T) {
	own, theirs := trusted(t, "https://own.example.com"), trusted(t, "https://foreign.example.com")
	_, ed := newKeys(t)
	theirs = edited(t, theirs, func(r *pb.TrustedRoot) {
		withKey(t, r.Tlogs[0], ed)
		r.Tlogs[0].Operator, r.CertificateAuthorities[0].Operator, r.TimestampAuthorities[0].Operator = "x", "x", "x"
	})
	merged, breaks, err := trustroot.Merge(own, theirs)
	if err != nil {
		t.Fatal(err)
	}
	if len(breaks) != 1 || breaks[0].Client != "policy-controller" || !strings.Contains(breaks[0].Why, "foreign.example.com is Ed25519") {
		t.Errorf("breaks %v", breaks)
	}
	tr := &pb.TrustedRoot{}
	if err := protojson.Unmarshal(merged, tr); err != nil {
		t.Fatal(err)
	}
	if last := tr.Tlogs[len(tr.Tlogs)-1].BaseUrl; last != "https://own.example.com" {
		t.Errorf("the last log is %s, which policy-controller asks", last)
	}
	otherwise := edited(t, own, func(r *pb.TrustedRoot) { r.Tlogs[1].PublicKey.ValidFor.End = timestamppb.New(now.Add(time.Hour)) })
	ct := edited(t, own, func(r *pb.TrustedRoot) { r.Ctlogs[0].BaseUrl = "https://x.example.com" })
	chain := edited(t, own, func(r *pb.TrustedRoot) { r.CertificateAuthorities[0].Uri = "https://x.example.com" })
	stamps := edited(t, own, func(r *pb.TrustedRoot) { r.TimestampAuthorities[0].Uri = "https://x.example.com" })
	two := edited(t, theirs, func(r *pb.TrustedRoot) {
		o := &pb.TrustedRoot{}
		if err := protojson.Unmarshal(own, o); err != nil {
			t.Fatal(err)
		}
		r.Tlogs[0].PublicKey, r.Tlogs[0].LogId = o.Ctlogs[0].PublicKey, o.Ctlogs[0].LogId
	})
	for name, tc := range map[string]struct {
		other []byte
		want  string
	}{
		"another end of a key":        {otherwise, "different things of the key"},
		"another address of a CT key": {ct, "different things of the key of the log at \"https://own.example.com\""},
		"another address of a chain":  {chain, "different things of the chain"},
		"another address of a TSA":    {stamps, "different things of the chain of the authority at \"https://own.example.com/api/v1/timestamp\""},
		"a key in another role":       {two, "shares its key with a"},
		"a file that clients refuse":  {[]byte("{}"), "media type"},
	} {
		if _, _, err := trustroot.Merge(own, tc.other); !errors.Is(err, trustroot.ErrMaterial) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestShared: keys that sign are nobody else's; an authority above may be.
func TestShared(t *testing.T) {
	own, theirs := trusted(t, "https://own.example.com"), trusted(t, "https://foreign.example.com")
	o := &pb.TrustedRoot{}
	if err := protojson.Unmarshal(own, o); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		change func(*pb.TrustedRoot)
		want   string
	}{
		{"nothing", func(*pb.TrustedRoot) {}, ""},
		{"a log", func(r *pb.TrustedRoot) { r.Tlogs[0].PublicKey = o.Tlogs[0].PublicKey }, "transparency log"},
		{"a log in another role", func(r *pb.TrustedRoot) { r.Ctlogs[0].PublicKey = o.Tlogs[0].PublicKey }, "CT log"},
		{"the timestamp authority", func(r *pb.TrustedRoot) { r.TimestampAuthorities = o.TimestampAuthorities }, "TSA of one"},
		{"the authority that issues", func(r *pb.TrustedRoot) { r.CertificateAuthorities = o.CertificateAuthorities }, "CA of one"},
		{"our issuing authority above theirs", func(r *pb.TrustedRoot) {
			c := r.CertificateAuthorities[0].CertChain
			c.Certificates = append(c.Certificates, o.CertificateAuthorities[0].CertChain.Certificates[0])
		}, "CA of"},
		{"the root above", func(r *pb.TrustedRoot) {
			c := r.CertificateAuthorities[0].CertChain
			c.Certificates = append(c.Certificates, o.CertificateAuthorities[0].CertChain.Certificates[1])
		}, ""},
	} {
		other := edited(t, theirs, tc.change)
		for _, err := range []error{trustroot.Shared(own, other), trustroot.Shared(other, own)} { // whichever of the two is ours
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
			}
		}
	}
	broken := edited(t, theirs, func(r *pb.TrustedRoot) { r.TimestampAuthorities[0].CertChain.Certificates[0].RawBytes = nil })
	for name, pair := range map[string][2][]byte{
		"the first is no file of clients": {[]byte("{}"), own}, "the second is none": {own, []byte("{}")}, "a certificate that is none": {own, broken},
	} {
		if err := trustroot.Shared(pair[0], pair[1]); !errors.Is(err, trustroot.ErrMaterial) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
