package trustroot

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"time"

	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	pb "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Media types, the only ones that all clients take.
const (
	trustedRootType   = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
	signingConfigType = "application/vnd.dev.sigstore.signingconfig.v0.2+json"
)

// trustedRoot composes trusted_root.json. Operator stays unset: a reader built before the field
// existed refuses the whole file.
func trustedRoot(m Material) ([]byte, error) {
	tr := &pb.TrustedRoot{MediaType: trustedRootType}
	// The v1 logs come last: policy-controller takes the last log for the one to ask.
	for _, g := range append(oldestLogFirst(m.RekorV2), oldestLogFirst(m.RekorV1)...) {
		log, err := logInstance(g)
		if err != nil {
			return nil, err
		}
		tr.Tlogs = append(tr.Tlogs, log)
	}
	for _, g := range oldestLogFirst(m.CTLogs) {
		log, err := logInstance(g)
		if err != nil {
			return nil, err
		}
		tr.Ctlogs = append(tr.Ctlogs, log)
	}
	for _, a := range oldestFirst(m.CAs) {
		tr.CertificateAuthorities = append(tr.CertificateAuthorities, authority(a))
	}
	for _, a := range oldestFirst(m.TSAs) {
		tr.TimestampAuthorities = append(tr.TimestampAuthorities, authority(a))
	}
	return encode(tr)
}

func logInstance(g Log) (*pb.TransparencyLogInstance, error) {
	spki, err := marshalKey(g.Key)
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(spki) // the whole digest; a checkpoint's key hint is its first four bytes
	return &pb.TransparencyLogInstance{
		BaseUrl:       g.URL,
		HashAlgorithm: common.HashAlgorithm_SHA2_256,
		PublicKey: &common.PublicKey{
			RawBytes:   spki,
			KeyDetails: common.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
			ValidFor:   timeRange(g.Valid),
		},
		LogId: &common.LogId{KeyId: id[:]},
	}, nil
}

func authority(a Authority) *pb.CertificateAuthority {
	out := &pb.CertificateAuthority{
		Subject:   subject(a),
		Uri:       a.URL,
		CertChain: &common.X509CertificateChain{},
		ValidFor:  timeRange(a.Valid),
	}
	for _, c := range a.Chain {
		out.CertChain.Certificates = append(out.CertChain.Certificates, &common.X509Certificate{RawBytes: c.Raw})
	}
	return out
}

// subject names the root. Clients want both parts, verify neither, and there are roots of others that have not both.
func subject(a Authority) *common.DistinguishedName {
	root := a.Chain[len(a.Chain)-1].Subject
	organization := append(root.Organization, root.CommonName, a.URL)
	return &common.DistinguishedName{
		Organization: cmp.Or(organization...),
		CommonName:   cmp.Or(append([]string{root.CommonName}, organization...)...),
	}
}

// timeRange keeps whole seconds: not every reader parses fractions.
func timeRange(w Window) *common.TimeRange {
	r := &common.TimeRange{Start: timestamppb.New(w.Start.Truncate(time.Second))}
	if !w.open() {
		r.End = timestamppb.New(w.End.Truncate(time.Second))
	}
	return r
}

func marshalKey(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("trust root: encode key: %w", err)
	}
	return der, nil
}

// encode writes indented JSON. protojson varies its white space from build to build on purpose;
// Indent replaces all of it, so that unchanged material is an unchanged target.
func encode(m proto.Message) ([]byte, error) {
	raw, err := protojson.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("trust root: %w", err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return nil, fmt.Errorf("trust root: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
