package ctlog

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	ct "github.com/google/certificate-transparency-go"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry/certificate"
)

// Config is what a Server needs. All fields but Narrow are required.
type Config struct {
	Log    tlog.Log            // opened with certificate.LeafInput
	Signer crypto.Signer       // the log's key: ECDSA P-256, the one kind that every client verifies
	Roots  []*x509.Certificate // accepted roots
	// Narrow are chains, the issuing certificate first and the root last. Under the roots that they end in, which
	// others issue under too, only they are taken.
	Narrow [][]*x509.Certificate
	Clock  clock.Clock
	Logger *slog.Logger
}

// Server answers the RFC 6962 API of one log. It is safe for concurrent use.
type Server struct {
	log    tlog.Log
	signer signer
	roots  atomic.Pointer[roots]
	clock  clock.Clock
	logger *slog.Logger

	mu  sync.Mutex
	sth ct.SignedTreeHead // of the head that was signed last; the zero value before the first
}

// New checks the configuration and returns the face of cfg.Log.
func New(cfg Config) (*Server, error) {
	if cfg.Log == nil || cfg.Signer == nil || cfg.Clock == nil || cfg.Logger == nil {
		return nil, errors.New("ct log: log, signer, clock and logger are required")
	}
	pub, ok := cfg.Signer.Public().(*ecdsa.PublicKey)
	if !ok || pub.Curve != elliptic.P256() {
		return nil, errors.New("ct log: the key must be ECDSA P-256")
	}
	id, err := keys.ID(pub)
	if err != nil {
		return nil, fmt.Errorf("ct log: %w", err)
	}
	r, err := newRoots(cfg.Roots, cfg.Narrow, pub)
	if err != nil {
		return nil, err
	}
	s := &Server{log: cfg.Log, signer: signer{key: cfg.Signer, pub: pub, id: id}, clock: cfg.Clock, logger: cfg.Logger}
	s.roots.Store(r)
	return s, nil
}

// Accept replaces the accepted roots while the server runs. No chain is narrow any more.
func (s *Server) Accept(certs []*x509.Certificate) error {
	r, err := newRoots(certs, nil, s.signer.pub)
	if err == nil {
		s.roots.Store(r)
	}
	return err
}

// AddPreChain logs a precertificate, chain its DER certificates from the leaf up, and returns the
// TLS encoding of its SignedCertificateTimestamp. It is the in-process way into the log and
// checks what add-pre-chain checks. The error of a frozen log wraps [ca.ErrLogEnded].
func (s *Server) AddPreChain(ctx context.Context, chain [][]byte) ([]byte, error) {
	sct, err := s.add(ctx, chain, true)
	if err != nil {
		return nil, err
	}
	return encodeSCT(sct)
}

// Vouched returns the way into the log for an authority in the same process, which reads its precertificates
// back before it submits them, and verifies two signatures itself: that of a precertificate, before it submits
// it, and that of the promise, before anybody else sees it. AddPreChainEarly does not do it a second time;
// everything else it checks.
func (s *Server) Vouched() ca.EarlySCTSource { return vouched{s} }

type vouched struct{ *Server }

// AddPreChainEarly implements [ca.EarlySCTSource].
func (v vouched) AddPreChainEarly(ctx context.Context, chain []*x509.Certificate) (sct []byte, shown func(context.Context) error, err error) {
	accepted, err := v.roots.Load().verifyParsed(chain, v.clock.Now())
	if err != nil {
		return nil, nil, err
	}
	e, err := entryOf(accepted, true)
	if err != nil {
		return nil, nil, err
	}
	receipt, wait, err := v.append(ctx, e)
	if err != nil {
		return nil, nil, appending(err)
	}
	promise, err := v.promise(e, receipt, v.signer.signUnchecked)
	if err != nil {
		return nil, nil, err
	}
	sct, err = encodeSCT(promise)
	return sct, func(ctx context.Context) error { return appending(wait(ctx)) }, err
}

func (v vouched) append(ctx context.Context, e tlog.Entry) (r tlog.Receipt, shown func(context.Context) error, err error) {
	if early, ok := v.log.(tlog.Early); ok {
		return early.AppendEarly(ctx, e)
	}
	r, err = v.log.Append(ctx, e)
	return r, func(context.Context) error { return nil }, err
}

// appending says what failed, in the words of an authority if the log has ended.
func appending(err error) error {
	switch {
	case errors.Is(err, tlog.ErrFrozen):
		return fmt.Errorf("append to the log: %w: %w", ca.ErrLogEnded, err)
	case err != nil:
		return fmt.Errorf("append to the log: %w", err)
	}
	return nil
}

// add checks a chain, appends its leaf and has the promise signed over what the log then holds.
func (s *Server) add(ctx context.Context, raw [][]byte, precert bool) (ct.SignedCertificateTimestamp, error) {
	e, err := s.parse(raw, precert)
	if err != nil {
		return ct.SignedCertificateTimestamp{}, err
	}
	receipt, err := s.log.Append(ctx, e)
	if err != nil {
		return ct.SignedCertificateTimestamp{}, appending(err)
	}
	return s.promise(e, receipt, s.signer.sign)
}

// Promise returns the TLS encoding of the SCT for an entry that [Server.Parse] returned and that was
// appended since.
func (s *Server) Promise(e tlog.Entry, r tlog.Receipt) ([]byte, error) {
	own, ok := e.(*certificate.Entry)
	if !ok {
		return nil, fmt.Errorf("SCT for a %T: want an entry that Parse has made", e)
	}
	sct, err := s.promise(own, r, s.signer.sign)
	if err != nil {
		return nil, err
	}
	return encodeSCT(sct)
}

func (s *Server) promise(e *certificate.Entry, r tlog.Receipt, sign signing) (ct.SignedCertificateTimestamp, error) {
	leaf, err := s.logged(e, r)
	if err != nil {
		return ct.SignedCertificateTimestamp{}, err
	}
	return s.signer.sct(leaf, r.Leaf.TimeMS, sign)
}

// Parse checks a chain of DER certificates as add-chain does, or as add-pre-chain if precert, and
// returns the entry of its leaf. Errors are fit for the client.
func (s *Server) Parse(chain [][]byte, precert bool) (tlog.Entry, error) {
	e, err := s.parse(chain, precert)
	if err != nil {
		return nil, err // not e: a nil *Entry is not a nil tlog.Entry
	}
	return e, nil
}

// parse checks a chain and returns the entry of its leaf. Errors are refusals.
func (s *Server) parse(raw [][]byte, precert bool) (*certificate.Entry, error) {
	chain, err := s.roots.Load().verify(raw, precert, s.clock.Now())
	if err != nil {
		return nil, err
	}
	return entryOf(chain, precert)
}

// entryOf returns the entry of an accepted chain's leaf. Errors are refusals.
func entryOf(chain []*x509.Certificate, precert bool) (e *certificate.Entry, err error) {
	if precert {
		e, err = certificate.NewPrecert(chain[0], chain[1:])
	} else {
		e, err = certificate.NewX509(chain[0], chain[1:])
	}
	if err != nil {
		return nil, refusef("%v", err)
	}
	return e, nil
}

// logged returns the MerkleTreeLeaf of an entry, once it is sure that the log holds this very
// certificate under the head that the receipt carries.
func (s *Server) logged(e *certificate.Entry, r tlog.Receipt) ([]byte, error) {
	leaf, _, err := certificate.Parse(r.Leaf.Data)
	if err != nil {
		return nil, fmt.Errorf("logged entry %d: %w: %w", r.Leaf.Index, tlog.ErrCorrupt, err)
	}
	if !bytes.Equal(leaf, e.MerkleLeaf(r.Leaf.TimeMS)) {
		return nil, fmt.Errorf("logged entry %d is not the one submitted: %w", r.Leaf.Index, tlog.ErrCorrupt)
	}
	h := rfc6962.DefaultHasher
	if err := proof.VerifyInclusion(h, uint64(r.Leaf.Index), uint64(r.Checkpoint.Size), h.HashLeaf(leaf), r.Proof, r.Checkpoint.Root[:]); err != nil {
		return nil, fmt.Errorf("logged entry %d: %w: %w", r.Leaf.Index, tlog.ErrCorrupt, err)
	}
	return leaf, nil
}

// treeHead returns the signed head of the log, signed once per head.
func (s *Server) treeHead(ctx context.Context) (ct.SignedTreeHead, error) {
	cp, timeMS, err := s.log.Latest(ctx)
	if err != nil {
		return ct.SignedTreeHead{}, fmt.Errorf("head of the log: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sth.TreeHeadSignature.Signature != nil && s.sth.TreeSize == uint64(cp.Size) &&
		s.sth.Timestamp == uint64(timeMS) && s.sth.SHA256RootHash == ct.SHA256Hash(cp.Root) {
		return s.sth, nil
	}
	sth, err := s.signer.treeHead(uint64(cp.Size), uint64(timeMS), cp.Root)
	if err != nil {
		return ct.SignedTreeHead{}, err
	}
	s.sth = sth
	return sth, nil
}

// Seeds returns the first entries of a new log: the certificates of the authority that it will
// serve, chain the intermediates from the issuing one up and the root.
func Seeds(chain []*x509.Certificate) ([]tlog.Entry, error) {
	var out []tlog.Entry
	for i := len(chain) - 1; i >= 0; i-- {
		e, err := certificate.NewX509(chain[i], chain[i+1:])
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}
