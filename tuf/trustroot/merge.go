package trustroot

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	pb "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/proto"
)

// Merge makes one trusted_root.json of several, for a client that takes one file alone. own comes last in every
// list, since there are clients that take the last log for the one to ask. What two files say in the same words
// is there once; where they say different things of one key, it fails. The result has passed [LintFile], which
// names the clients that it breaks.
//
// Whoever trusts the result trusts every authority in it for every identity: package foreign says for which both could vouch.
func Merge(own []byte, others ...[]byte) (merged []byte, breaks []Break, err error) {
	out := &pb.TrustedRoot{MediaType: trustedRootType}
	for _, raw := range append(append([][]byte{}, others...), own) {
		tr, err := parseFile(raw)
		if err != nil {
			return nil, nil, err
		}
		if err := addFile(out, tr); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrMaterial, err)
		}
	}
	if merged, err = encode(out); err != nil {
		return nil, nil, err
	}
	breaks, err = LintFile(merged)
	return merged, breaks, err
}

// addFile adds what a file has to another. Operators go: they are for services that clients sign with, and an
// old reader refuses a file that names one.
func addFile(to, from *pb.TrustedRoot) (err error) {
	if to.Tlogs, err = addLogs(to.Tlogs, from.GetTlogs()); err != nil {
		return err
	}
	if to.Ctlogs, err = addLogs(to.Ctlogs, from.GetCtlogs()); err != nil {
		return err
	}
	if to.CertificateAuthorities, err = addAuthorities(to.CertificateAuthorities, from.GetCertificateAuthorities()); err != nil {
		return err
	}
	to.TimestampAuthorities, err = addAuthorities(to.TimestampAuthorities, from.GetTimestampAuthorities())
	return err
}

func addLogs(to, from []*pb.TransparencyLogInstance) ([]*pb.TransparencyLogInstance, error) {
	for _, g := range from {
		g = proto.CloneOf(g)
		g.Operator = ""
		known, err := known(to, g, func(a, b *pb.TransparencyLogInstance) bool {
			return bytes.Equal(a.GetPublicKey().GetRawBytes(), b.GetPublicKey().GetRawBytes())
		})
		if err != nil {
			return nil, fmt.Errorf("two files say different things of the key of the log at %.200q", g.GetBaseUrl())
		}
		if !known {
			to = append(to, g)
		}
	}
	return to, nil
}

func addAuthorities(to, from []*pb.CertificateAuthority) ([]*pb.CertificateAuthority, error) {
	for _, a := range from {
		a = proto.CloneOf(a)
		a.Operator = ""
		known, err := known(to, a, func(a, b *pb.CertificateAuthority) bool { return proto.Equal(a.GetCertChain(), b.GetCertChain()) })
		if err != nil {
			return nil, fmt.Errorf("two files say different things of the chain of the authority at %.200q", a.GetUri())
		}
		if !known {
			to = append(to, a)
		}
	}
	return to, nil
}

var errDiffers = errors.New("differs")

// known says whether a list has m already; it fails where it has something else about the same key.
func known[T proto.Message](list []T, m T, same func(a, b T) bool) (bool, error) {
	for _, have := range list {
		if proto.Equal(have, m) {
			return true, nil
		}
		if same(have, m) {
			return false, errDiffers
		}
	}
	return false, nil
}

// Shared says which key two trusted_root.json have in common, of those that sign: logs, and the first certificate
// of each authority; nil for none. An authority above both is none of these: a company's PKI may stand above two
// instances, and signs for neither.
func Shared(a, b []byte) error {
	x, err := signing(a)
	if err != nil {
		return err
	}
	y, err := signing(b)
	if err != nil {
		return err
	}
	for id, what := range x.all {
		if other, ok := y.first[id]; ok {
			return fmt.Errorf("key %x is that of the %s of one and of the %s of the other", id[:8], what, other)
		}
	}
	for id, what := range x.first {
		if other, ok := y.all[id]; ok {
			return fmt.Errorf("key %x is that of the %s of one and of the %s of the other", id[:8], what, other)
		}
	}
	return nil
}

// signers are the keys of a file by SHA-256 of their SPKI: those that sign, and all of them.
type signers struct{ first, all map[[32]byte]string }

func signing(raw []byte) (s signers, err error) {
	tr, err := parseFile(raw)
	if err != nil {
		return s, err
	}
	s.first, s.all = map[[32]byte]string{}, map[[32]byte]string{}
	for kind, logs := range map[string][]*pb.TransparencyLogInstance{"transparency log": tr.GetTlogs(), "CT log": tr.GetCtlogs()} {
		for _, g := range logs {
			id := sha256.Sum256(g.GetPublicKey().GetRawBytes())
			s.first[id], s.all[id] = kind, kind
		}
	}
	for kind, list := range map[string][]*pb.CertificateAuthority{"CA": tr.GetCertificateAuthorities(), "TSA": tr.GetTimestampAuthorities()} {
		for _, a := range list {
			for i, c := range a.GetCertChain().GetCertificates() {
				cert, err := x509.ParseCertificate(c.GetRawBytes())
				if err != nil {
					return s, fmt.Errorf("%w: %s: %w", ErrMaterial, TrustedRootName, err)
				}
				id := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
				s.all[id] = kind
				if i == 0 {
					s.first[id] = kind
				}
			}
		}
	}
	return s, nil
}
