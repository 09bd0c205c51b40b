package rekorv2

import (
	"context"
	"crypto"
	"fmt"
	"log/slog"
	"net/http"

	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	rekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	pb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"google.golang.org/grpc"

	"github.com/sigbox/sigbox/internal/quota"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/hashedrekord2"
	"github.com/sigbox/sigbox/tlog/shardpath"
	"github.com/sigbox/sigbox/tlog/tile"
	"github.com/sigbox/sigbox/tlog/writers"
)

// DefaultMaxBody bounds a request over HTTP, in bytes.
const DefaultMaxBody = 4 << 20

// Config is what a Server is made of.
type Config struct {
	Log       tlog.Log         // its checkpoints have the origin Origin and are signed by the key
	Origin    string           // the host name of the log's URL, without port
	PublicKey crypto.PublicKey // ECDSA

	Writers *writers.Gate // whose entries are taken; nil takes everybody's
	Quotas  *quota.Quotas // of those who append; nil is none
	// Next is asked for the shard that goes on for the last one, which is frozen: nil where there is
	// none. It may be called by several requests at a time. nil: the log is the only shard.
	Next func(ctx context.Context, last tlog.Log) (*Shard, error)
	// Waiting is asked for what is read at a host name that no shard has which takes or took entries: a shard
	// that is made and waits, or nil for nothing yet; kept is false for a host that is nobody's. nil: none is.
	Waiting func(host string) (log tlog.Log, tiles *tlog.Tiles, kept bool)

	MaxBody int64        // bytes of an HTTP body; 0 is DefaultMaxBody
	Logger  *slog.Logger // nil is slog.Default()
}

// Server answers the Rekor v2 API for a log of one or more shards. It is safe for concurrent use.
type Server struct {
	pb.UnimplementedRekorServer
	chain   *tlog.Chain[*shard]
	waiting func(host string) (tlog.Log, *tlog.Tiles, bool)
	writers *writers.Gate
	quotas  *quota.Quotas
	maxBody int64
	logger  *slog.Logger
}

// New returns a Server. It refuses a configuration that clients could not verify.
func New(c Config) (*Server, error) {
	first, err := newShard(Shard{c.Log, c.Origin, c.PublicKey})
	if err != nil {
		return nil, fmt.Errorf("rekor v2: %w", err)
	}
	s := &Server{waiting: c.Waiting, writers: c.Writers, quotas: c.Quotas, maxBody: c.MaxBody, logger: c.Logger}
	s.chain = tlog.NewChain([]*shard{first}, func(sh *shard) tlog.Log { return sh.log }, s.after(c.Next))
	if s.maxBody <= 0 {
		s.maxBody = DefaultMaxBody
	}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	return s, nil
}

// Register adds the HTTP API to mux: POST /api/v2/log/entries, and the same for each shard by itself, where
// package shardpath has it. There a frozen one says that it is.
func (s *Server) Register(mux *http.ServeMux) {
	const path = "/api/v2/log/entries"
	shard := shardpath.Pattern + path
	mux.HandleFunc("POST "+path, s.createHTTP)
	mux.HandleFunc("POST "+shard, s.createInShard)
	for _, method := range []string{"GET", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		mux.HandleFunc(method+" "+path, methodNotAllowed)
		mux.HandleFunc(method+" "+shard, methodNotAllowed)
	}
}

// RegisterGRPC adds the service dev.sigstore.rekor.v2.Rekor.
func (s *Server) RegisterGRPC(r grpc.ServiceRegistrar) { pb.RegisterRekorServer(r, s) }

// errKind refuses everything but a hashedrekord, with the words that clients may look for.
var errKind = fmt.Errorf("%w: invalid type, must be hashedrekord", entry.ErrInvalid)

// Parse reads a request as CreateEntry does, and verifies the signature in it. Errors wrap
// [entry.ErrInvalid] and are fit for the client.
func Parse(req *pb.CreateEntryRequest) (tlog.Entry, error) {
	spec, ok := req.GetSpec().(*pb.CreateEntryRequest_HashedRekordRequestV002)
	if !ok {
		return nil, errKind
	}
	e, err := hashedrekord2.Parse(spec.HashedRekordRequestV002)
	if err != nil {
		return nil, err // not e: a nil *Entry is not a nil tlog.Entry
	}
	return e, nil
}

// appender appends an entry, and says to which shard.
type appender func(context.Context, tlog.Entry) (*shard, tlog.Receipt, error)

// create appends an entry and returns it with its proof, or the stored one where the shard holds it
// already. Errors are tlog's, entry's, writers' and quota's.
func (s *Server) create(ctx context.Context, req *pb.CreateEntryRequest, visit *quota.Visit, put appender) (*rekor.TransparencyLogEntry, error) {
	e, err := Parse(req)
	if err != nil {
		return nil, err
	}
	if err := s.writers.Admit(e, visit); err != nil {
		return nil, err
	}
	sh, receipt, err := put(ctx, e)
	if err != nil {
		return nil, err
	}
	if receipt.Duplicate {
		visit.Duplicate()
	}
	return sh.render(receipt)
}

func (sh *shard) put(ctx context.Context, e tlog.Entry) (*shard, tlog.Receipt, error) {
	receipt, err := sh.log.Append(ctx, e)
	return sh, receipt, err
}

// render makes the answer, after checking that it proves what it says.
func (sh *shard) render(r tlog.Receipt) (*rekor.TransparencyLogEntry, error) {
	leaf, cp := r.Leaf, r.Checkpoint
	if cp.Origin != sh.origin {
		return nil, fmt.Errorf("%w: checkpoint of %q, this is %q", tlog.ErrCorrupt, cp.Origin, sh.origin)
	}
	if tile.LeafHash(leaf.Data) != leaf.Hash {
		return nil, fmt.Errorf("%w: data of leaf %d", tlog.ErrCorrupt, leaf.Index)
	}
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(leaf.Index), uint64(cp.Size), leaf.Hash[:], r.Proof, cp.Root[:]); err != nil {
		return nil, fmt.Errorf("%w: leaf %d in the tree of size %d: %w", tlog.ErrCorrupt, leaf.Index, cp.Size, err)
	}
	return &rekor.TransparencyLogEntry{
		LogIndex:    leaf.Index,
		LogId:       &common.LogId{KeyId: sh.logID},
		KindVersion: &rekor.KindVersion{Kind: hashedrekord2.Kind.Name, Version: hashedrekord2.Kind.Version},
		InclusionProof: &rekor.InclusionProof{
			LogIndex: leaf.Index, TreeSize: cp.Size, RootHash: cp.Root[:], Hashes: r.Proof,
			Checkpoint: &rekor.Checkpoint{Envelope: string(cp.Note)},
		},
		CanonicalizedBody: leaf.Data,
	}, nil
}
