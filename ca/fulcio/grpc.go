package fulcio

import (
	"context"

	pb "github.com/sigstore/fulcio/pkg/generated/protobuf"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// tokenMetadata is where upstream's gateway puts the token for its gRPC server, and where a gRPC
// client may put it.
const tokenMetadata = "oidcidentitytoken"

// RegisterGRPC adds the service dev.sigstore.fulcio.v2.CA to a gRPC server.
func (s *Server) RegisterGRPC(r grpc.ServiceRegistrar) { pb.RegisterCAServer(r, &grpcServer{s: s}) }

type grpcServer struct {
	pb.UnimplementedCAServer
	s *Server
}

func (g *grpcServer) CreateSigningCertificate(ctx context.Context, in *pb.CreateSigningCertificateRequest) (*pb.SigningCertificate, error) {
	req := request{
		token: in.GetCredentials().GetOidcIdentityToken(),
		key:   []byte(in.GetPublicKeyRequest().GetPublicKey().GetContent()),
		proof: in.GetPublicKeyRequest().GetProofOfPossession(),
		csr:   in.GetCertificateSigningRequest(),
	}
	if values := metadata.ValueFromIncomingContext(ctx, tokenMetadata); req.token == "" && len(values) == 1 {
		req.token = values[0]
	}
	visit, err := g.s.quotas.ArriveRPC(ctx)
	if err != nil {
		return nil, g.s.fail(ctx, err)
	}
	defer visit.End()
	chain, err := g.s.issue(ctx, req, visit)
	if err != nil {
		return nil, err
	}
	return signingCertificate(chain), nil
}

func (g *grpcServer) GetTrustBundle(context.Context, *pb.GetTrustBundleRequest) (*pb.TrustBundle, error) {
	return g.s.trustBundle(), nil
}

func (g *grpcServer) GetConfiguration(context.Context, *pb.GetConfigurationRequest) (*pb.Configuration, error) {
	return g.s.configuration(), nil
}
