package fulcio

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	pb "github.com/sigstore/fulcio/pkg/generated/protobuf"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/ca/profile"
	"github.com/sigbox/sigbox/ca/rules"
	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/internal/quota"
	"github.com/sigbox/sigbox/oidc"
)

// Issuer issues certificates. *ca.Authority is one.
type Issuer interface {
	Issue(ctx context.Context, id profile.Identity, key ca.Key, grant ca.Grant) ([]*x509.Certificate, error)
	Chain() []*x509.Certificate
}

// Verifier verifies identity tokens. *oidc.Verifier is one.
type Verifier interface {
	Verify(ctx context.Context, raw string) (*oidc.Token, error)
}

// Rules decide which identities may sign. *rules.Set is one.
type Rules interface {
	// Decide returns what goes on record of an identity that may sign, or a *rules.DeniedError. Another
	// error says that nothing was decided.
	Decide(t *oidc.Token, id profile.Identity) (ca.Grant, error)
}

// Trust is whose tokens are taken and who of them may sign. What belongs together is in one Trust: a
// token that one verifier takes is never decided by the rules beside another.
type Trust struct {
	Verifier Verifier
	Issuers  []oidc.PublicIssuer // what GET /api/v2/configuration shows: (*oidc.Config).PublicConfiguration
	Rules    Rules               // nil: whoever the verifier takes may sign
}

// Config is what a Server needs. All fields but Quotas are required.
type Config struct {
	Authority Issuer
	Trust     func() Trust  // what counts now; asked once for each request
	Quotas    *quota.Quotas // of those who sign; nil is none
	Logger    *slog.Logger
}

// Server answers Fulcio's API. It is safe for concurrent use.
type Server struct {
	authority Issuer
	trust     func() Trust
	quotas    *quota.Quotas
	logger    *slog.Logger
}

// New returns the face of an authority.
func New(cfg Config) (*Server, error) {
	if cfg.Authority == nil || cfg.Trust == nil || cfg.Logger == nil {
		return nil, errors.New("fulcio: authority, trust and logger are required")
	}
	return &Server{authority: cfg.Authority, trust: cfg.Trust, quotas: cfg.Quotas, logger: cfg.Logger}, nil
}

func publicIssuers(in []oidc.PublicIssuer) []*pb.OIDCIssuer {
	out := make([]*pb.OIDCIssuer, len(in))
	for i, p := range in {
		o := &pb.OIDCIssuer{
			Audience: p.Audience, ChallengeClaim: p.ChallengeClaim, SpiffeTrustDomain: p.SPIFFETrustDomain,
			IssuerType: p.IssuerType, SubjectDomain: p.SubjectDomain, SkipEmailVerification: p.SkipEmailVerification,
		}
		if p.WildcardIssuerURL != "" {
			o.Issuer = &pb.OIDCIssuer_WildcardIssuerUrl{WildcardIssuerUrl: p.WildcardIssuerURL}
		} else {
			o.Issuer = &pb.OIDCIssuer_IssuerUrl{IssuerUrl: p.IssuerURL}
		}
		out[i] = o
	}
	return out
}

// request is a signing request of any version and transport.
type request struct {
	token string
	key   []byte // PEM or DER
	proof []byte
	csr   []byte // PEM; instead of key and proof
}

// issue answers a request with the chain, leaf first, root last. Its error is a *failure. It settles the
// visit.
func (s *Server) issue(ctx context.Context, r request, visit *quota.Visit) ([]*x509.Certificate, error) {
	chain, err := s.try(ctx, r, visit)
	if err != nil {
		f := s.fail(ctx, err)
		visit.Settle(f.http >= http.StatusInternalServerError)
		return nil, f
	}
	visit.Settle(false)
	return chain, nil
}

func (s *Server) try(ctx context.Context, r request, visit *quota.Visit) ([]*x509.Certificate, error) {
	trust := s.trust()
	token, err := trust.Verifier.Verify(ctx, r.token)
	if err != nil {
		return nil, err
	}
	id, err := profile.FromToken(token)
	if err != nil {
		return nil, err
	}
	var grant ca.Grant
	if trust.Rules != nil {
		if grant, err = trust.Rules.Decide(token, id); err != nil {
			return nil, err
		}
	}
	who := quota.Identity{Name: token.IssuerURL + "\x00" + id.SANText, Issuer: token.IssuerURL, Vouched: true}
	if err := visit.Identify(who); err != nil {
		return nil, err
	}
	key, err := s.key(r, id.Challenge)
	if err != nil {
		return nil, err
	}
	return s.authority.Issue(ctx, id, key, grant)
}

func (s *Server) key(r request, challenge string) (ca.Key, error) {
	switch {
	case len(r.csr) > 0 && len(r.key) > 0:
		return ca.Key{}, errBothKeys
	case len(r.csr) > 0:
		return ca.KeyFromCSR(r.csr)
	default:
		return ca.KeyFromProof(r.key, r.proof, challenge)
	}
}

// fail logs the true reason and returns what the client may read.
func (s *Server) fail(ctx context.Context, reason error) *failure {
	f := failureOf(reason)
	f.word = codeOf(reason)
	_ = grpc.SetTrailer(ctx, metadata.Pairs(metadataCode, f.word)) // an error over HTTP, where there is none
	level := slog.LevelWarn
	if f.code == codes.Internal {
		level = slog.LevelError
	}
	attrs := []slog.Attr{slog.String("code", f.code.String()), slog.String("error_code", f.word), slog.String("answer", f.message),
		slog.Any("reason", reason), slog.String("request_id", httpx.RequestID(ctx))}
	var denied *rules.DeniedError
	if errors.As(reason, &denied) {
		attrs = append(attrs, slog.String("issuer", denied.Issuer), slog.String("rule", denied.Rule))
	}
	s.logger.LogAttrs(ctx, level, "signing request refused", attrs...)
	return f
}

// pems encodes certificates, each without a final newline.
func pems(chain []*x509.Certificate) []string {
	out := make([]string, len(chain))
	for i, c := range chain {
		var b strings.Builder
		b.Grow(len(c.Raw)*3/2 + 64)
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // has no headers, which alone can be wrong
		out[i] = strings.TrimSuffix(b.String(), "\n")
	}
	return out
}

// trustBundle has its certificates end in a newline, as upstream has them here, and nowhere else.
func (s *Server) trustBundle() *pb.TrustBundle {
	certificates := pems(s.authority.Chain())
	for i := range certificates {
		certificates[i] += "\n"
	}
	return &pb.TrustBundle{Chains: []*pb.CertificateChain{{Certificates: certificates}}}
}

func (s *Server) configuration() *pb.Configuration {
	return &pb.Configuration{Issuers: publicIssuers(s.trust().Issuers)}
}

func signingCertificate(chain []*x509.Certificate) *pb.SigningCertificate {
	return &pb.SigningCertificate{Certificate: &pb.SigningCertificate_SignedCertificateEmbeddedSct{
		SignedCertificateEmbeddedSct: &pb.SigningCertificateEmbeddedSCT{Chain: &pb.CertificateChain{Certificates: pems(chain)}},
	}}
}
