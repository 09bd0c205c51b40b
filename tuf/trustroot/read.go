package trustroot

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	pb "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// Service is one thing that a trusted root or a signing configuration names, for people to read.
type Service struct {
	Kind  string // "CA", "TSA", "transparency log", "CT log"; "issuer" and the like of a signing configuration
	URL   string
	KeyID [32]byte // SHA-256 of the SPKI, of a chain the first certificate's; zero in a signing configuration
	Chain [32]byte // SHA-256 of the whole chain; zero where there is none
	Valid Window
}

// ReadTrustedRoot lists what a trusted_root.json makes clients trust.
func ReadTrustedRoot(raw []byte) (list []Service, err error) {
	tr := &pb.TrustedRoot{}
	if err := protojson.Unmarshal(raw, tr); err != nil {
		return nil, fmt.Errorf("%s: %w", TrustedRootName, err)
	}
	for _, kind := range []struct {
		name string
		logs []*pb.TransparencyLogInstance
	}{{"transparency log", tr.GetTlogs()}, {"CT log", tr.GetCtlogs()}} {
		for _, g := range kind.logs {
			list = append(list, Service{
				Kind: kind.name, URL: g.GetBaseUrl(), KeyID: sha256.Sum256(g.GetPublicKey().GetRawBytes()), Valid: windowOf(g.GetPublicKey().GetValidFor()),
			})
		}
	}
	for _, kind := range []struct {
		name string
		list []*pb.CertificateAuthority
	}{{"CA", tr.GetCertificateAuthorities()}, {"TSA", tr.GetTimestampAuthorities()}} {
		for _, a := range kind.list {
			s := Service{Kind: kind.name, URL: a.GetUri(), Valid: windowOf(a.GetValidFor())}
			if s.KeyID, s.Chain, err = chainIDs(a.GetCertChain()); err != nil {
				return nil, fmt.Errorf("%s: %w", TrustedRootName, err)
			}
			list = append(list, s)
		}
	}
	return list, nil
}

// LogKeys are the keys of all logs that a trusted_root.json makes clients trust, by SHA-256 of their SPKI.
func LogKeys(raw []byte) (map[[32]byte]crypto.PublicKey, error) {
	tr := &pb.TrustedRoot{}
	if err := protojson.Unmarshal(raw, tr); err != nil {
		return nil, fmt.Errorf("%s: %w", TrustedRootName, err)
	}
	out := map[[32]byte]crypto.PublicKey{}
	for _, g := range slices.Concat(tr.GetTlogs(), tr.GetCtlogs()) {
		der := g.GetPublicKey().GetRawBytes()
		key, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			return nil, fmt.Errorf("%s: key of the log at %.200q: %w", TrustedRootName, g.GetBaseUrl(), err)
		}
		out[sha256.Sum256(der)] = key
	}
	return out, nil
}

func chainIDs(c *common.X509CertificateChain) (key, chain [32]byte, err error) {
	var all []byte
	for _, cert := range c.GetCertificates() {
		all = append(all, cert.GetRawBytes()...)
	}
	if len(all) == 0 {
		return key, chain, errors.New("an authority without certificates")
	}
	first, err := x509.ParseCertificate(c.GetCertificates()[0].GetRawBytes())
	if err != nil {
		return key, chain, err
	}
	return sha256.Sum256(first.RawSubjectPublicKeyInfo), sha256.Sum256(all), nil
}

// ReadSigningConfig lists where a signing configuration sends clients.
func ReadSigningConfig(raw []byte) (list []Service, err error) {
	sc := &pb.SigningConfig{}
	if err := protojson.Unmarshal(raw, sc); err != nil {
		return nil, fmt.Errorf("signing configuration: %w", err)
	}
	for _, kind := range []struct {
		name string
		list []*pb.Service
	}{{"CA", sc.GetCaUrls()}, {"issuer", sc.GetOidcUrls()}, {"log", sc.GetRekorTlogUrls()}, {"TSA", sc.GetTsaUrls()}} {
		for _, s := range kind.list {
			list = append(list, Service{Kind: kind.name, URL: s.GetUrl(), Valid: windowOf(s.GetValidFor())})
		}
	}
	return list, nil
}

func windowOf(r *common.TimeRange) (w Window) {
	if r.GetStart() != nil {
		w.Start = r.GetStart().AsTime()
	}
	if r.GetEnd() != nil {
		w.End = r.GetEnd().AsTime()
	}
	return w
}

// String says when, for people.
func (w Window) String() string {
	from := w.Start.UTC().Format(time.RFC3339)
	if w.open() {
		return "from " + from
	}
	return "from " + from + " until " + w.End.UTC().Format(time.RFC3339)
}
