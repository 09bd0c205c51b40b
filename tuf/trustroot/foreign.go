package trustroot

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"

	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	pb "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// Break is a client that would refuse a trusted_root.json, or what was signed with it.
type Break struct {
	Client string // for example "policy-controller"
	Why    string // the rest of a sentence: "the key of the log at ... is not ECDSA: ..."
}

// LintFile looks at a trusted_root.json that somebody else has composed. err says for what it is refused
// altogether: each error in it wraps ErrMaterial. breaks are the clients that would refuse it, for reasons
// that its composer may have accepted. Unlike [Material.Lint] it cannot tell logs of Rekor v1 from those of
// v2, which may share an address.
func LintFile(raw []byte) (breaks []Break, err error) {
	tr, err := parseFile(raw)
	if err != nil {
		return nil, err
	}
	f := &fileLinter{linter: newLinter()}
	f.file(tr)
	return f.breaks, errors.Join(f.errs...)
}

func parseFile(raw []byte) (*pb.TrustedRoot, error) {
	tr := &pb.TrustedRoot{}
	if err := protojson.Unmarshal(raw, tr); err != nil {
		return nil, fmt.Errorf("%w: %s: not one that clients read: %w", ErrMaterial, TrustedRootName, err)
	}
	if tr.GetMediaType() != trustedRootType {
		return nil, fmt.Errorf("%w: %s: media type %.100q: clients take %s alone", ErrMaterial, TrustedRootName, tr.GetMediaType(), trustedRootType)
	}
	return tr, nil
}

// fileLinter is a linter that knows clients by name.
type fileLinter struct {
	*linter
	breaks []Break
}

func (f *fileLinter) breaksClient(client, format string, args ...any) {
	b := Break{client, fmt.Sprintf(format, args...)}
	if !slices.Contains(f.breaks, b) {
		f.breaks = append(f.breaks, b)
	}
}

func (f *fileLinter) file(tr *pb.TrustedRoot) {
	if len(tr.GetCertificateAuthorities()) == 0 {
		f.say("no certificate authority: nothing signed with an identity would verify")
	}
	if len(tr.GetTlogs()) == 0 || len(tr.GetCtlogs()) == 0 {
		f.breaksClient("sigstore-python", "there is no transparency log or no CT log, and it loads no such file")
	}
	for i, a := range tr.GetCertificateAuthorities() {
		f.fileAuthority(fmt.Sprintf("CA %d", i+1), "CA", a)
	}
	for i, a := range tr.GetTimestampAuthorities() {
		f.fileAuthority(fmt.Sprintf("TSA %d", i+1), "TSA", a)
	}
	for i, g := range tr.GetTlogs() {
		f.fileLog(fmt.Sprintf("transparency log %d", i+1), "transparency log", g)
	}
	for i, g := range tr.GetCtlogs() {
		f.fileLog(fmt.Sprintf("CT log %d", i+1), "CT log", g)
		for j, o := range tr.GetCtlogs()[:i] {
			if g.GetBaseUrl() == o.GetBaseUrl() && validity(g).overlaps(validity(o)) {
				f.say("CT log %d: its validity overlaps that of CT log %d, which has the same address", i+1, j+1)
			}
		}
	}
}

func validity(g *pb.TransparencyLogInstance) Window { return windowOf(g.GetPublicKey().GetValidFor()) }

// fileAuthority holds the chain of an authority to what every reader wants.
func (f *fileLinter) fileAuthority(what, role string, a *pb.CertificateAuthority) {
	f.window(what, windowOf(a.GetValidFor()))
	if a.GetOperator() != "" {
		f.breaksClient("policy-controller", "%s names its operator, a field that it does not know", what)
	}
	if a.GetSubject().GetOrganization() == "" || a.GetSubject().GetCommonName() == "" {
		f.breaksClient("sigstore-python", "the subject of %s lacks an organization or a common name", what)
	}
	var chain []*x509.Certificate
	for i, c := range a.GetCertChain().GetCertificates() {
		cert, err := x509.ParseCertificate(c.GetRawBytes())
		if err != nil {
			f.say("%s: certificate %d: %v", what, i+1, err)
			return
		}
		chain = append(chain, cert)
	}
	if len(chain) == 0 {
		f.say("%s: the chain is too short", what)
		return
	}
	for i, c := range chain {
		if i == 0 {
			f.key(what, role, c.PublicKey)
		} else {
			f.key(what, "certificate above an authority", c.PublicKey)
		}
		issuer := chain[min(i+1, len(chain)-1)]
		if err := c.CheckSignatureFrom(issuer); err != nil || !bytes.Equal(c.RawIssuer, issuer.RawSubject) {
			f.say("%s: certificate %d is not signed by the next, or the last is no root", what, i+1)
		}
	}
	if role == "TSA" {
		f.timestampLeaf(what, chain[0])
	}
}

func (f *fileLinter) timestampLeaf(what string, leaf *x509.Certificate) {
	if leaf.IsCA || !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageTimeStamping) {
		f.say("%s: the first certificate is no leaf for timestamping", what)
	}
	if _, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok {
		f.breaksClient("sigstore-js", "the key of %s is not ECDSA", what)
	}
}

// fileLog holds a log to what every reader wants, and says which reader does not take its key.
func (f *fileLinter) fileLog(what, role string, g *pb.TransparencyLogInstance) {
	f.window(what, validity(g))
	if g.GetOperator() != "" {
		f.breaksClient("policy-controller", "%s names its operator, a field that it does not know", what)
	}
	if u, err := url.Parse(g.GetBaseUrl()); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		f.say("%s: URL %.200q: want http or https, and a host", what, g.GetBaseUrl())
	}
	if g.GetHashAlgorithm() != common.HashAlgorithm_SHA2_256 {
		f.say("%s: its hash is not SHA-256", what)
	}
	der := g.GetPublicKey().GetRawBytes()
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		f.say("%s: key: %v", what, err)
		return
	}
	if _, ok := f.key(what, role, pub); !ok {
		return
	}
	id := g.GetLogId().GetKeyId()
	if !isLogID(g, pub, id) {
		f.say("%s: log id %x is not that of its key", what, id)
		return
	}
	if other, taken := f.logs[[32]byte(id)]; taken {
		f.say("%s: has the log id of %s", what, other)
	}
	f.logs[[32]byte(id)] = what
	if c := g.GetCheckpointKeyId().GetKeyId(); c != nil && !bytes.Equal(c, id) {
		f.breaksClient("sigstore-js", "%s has a checkpointKeyId of its own, which it takes for the log's id", what)
	}
	f.logKey(what, role, g.GetBaseUrl(), pub)
}

// isLogID: of an ECDSA key the digest of its SPKI; of an Ed25519 key that, or the key hash of a signed note
// with the host as its name. Others are not compared: their hash depends on more than the file says.
func isLogID(g *pb.TransparencyLogInstance, pub crypto.PublicKey, id []byte) bool {
	if len(id) != sha256.Size {
		return false
	}
	spki := sha256.Sum256(g.GetPublicKey().GetRawBytes())
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		return bytes.Equal(id, spki[:])
	case ed25519.PublicKey:
		u, err := url.Parse(g.GetBaseUrl())
		if err != nil {
			return false
		}
		note := sha256.Sum256(slices.Concat([]byte(u.Hostname()+"\n\x01"), k))
		return bytes.Equal(id, spki[:]) || bytes.Equal(id, note[:])
	}
	return true
}

func (f *fileLinter) logKey(what, role, at string, pub crypto.PublicKey) {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			f.breaksClient("sigstore-java", "the key of the %s at %.200s is on %s, and it takes P-256 alone", role, at, k.Curve.Params().Name)
		}
	case ed25519.PublicKey:
		if role == "transparency log" {
			f.breaksClient("policy-controller", "the key of the transparency log at %.200s is Ed25519: it refuses every image where one key of a log is not ECDSA", at)
		}
	case *rsa.PublicKey:
		if role == "transparency log" {
			f.breaksClient("policy-controller", "the key of the transparency log at %.200s is RSA: it refuses every image where one key of a log is not ECDSA", at)
		}
	default:
		f.say("%s: a key of type %T: no client takes it", what, pub)
	}
}
