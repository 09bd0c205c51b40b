package ceremony

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/statement"
)

// The reasons for which a request is refused. Every error of the package wraps one of them, but for
// those of a key that cannot sign.
var (
	ErrRequest    = errors.New("ceremony request")                          // does not fit together: damaged, or somebody changed it
	ErrExpired    = errors.New("ceremony request is not good at this time") // too late, or from the future
	ErrInstance   = errors.New("ceremony request is for another instance")
	ErrUnknownKey = errors.New("key has no part in this request")
	ErrSigned     = errors.New("key has signed this request already")
	ErrThreshold  = errors.New("ceremony request has too few signatures")
	ErrOther      = errors.New("not a copy of the same ceremony request")
	ErrNothing    = errors.New("there is nothing to sign")
)

// Base is the set that a request follows.
type Base struct {
	Root, Targets []byte // as they are served
	Contents      []tuf.Blob
	Record        []byte
}

// Approval is one signer's word for the whole request.
type Approval struct {
	KeyID string   // the TUF id of the key
	Roles []string // what it signed: "root", "targets" or both
	At    time.Time
	Sig   []byte // ASN.1 ECDSA over the approval and the request's ID
}

// Request is what the signers pass on. It is not safe for concurrent use.
type Request struct {
	Instance        string
	Made, GoodUntil time.Time // whole seconds, UTC
	Base            *Base     // nil for the first set

	Root     []byte // TUF metadata with the signatures so far; nil: the root stays
	Targets  []byte // likewise
	Contents []tuf.Blob
	Record   []byte // record.Record, of Targets; nil with Targets

	Statements [][]byte // that back what is new in Record
	Approvals  []Approval

	parsed parsed
}

// parsed is what the bytes of a request say; check fills it.
type parsed struct {
	baseRoot    *metadata.Metadata[metadata.RootType]
	baseTargets *metadata.Metadata[metadata.TargetsType]
	root        *metadata.Metadata[metadata.RootType] // nil: stays
	targets     *metadata.Metadata[metadata.TargetsType]
	statements  []statement.Statement
}

// Options say what is to be signed.
type Options struct {
	Instance string
	Current  tuf.Release // the set to follow; the zero Release for the first
	Record   record.Record
	// Envelopes of the statements that were taken into Record since the current set.
	Statements [][]byte
	// Root names the signers of a new version of root; nil leaves the root as it is. The first set
	// needs it.
	Root *tuf.RootSigners
	// RenewTargets makes a new version of targets though nothing changed, before they expire.
	RenewTargets bool

	Lifetimes tuf.Lifetimes // of root and targets, from now
	GoodFor   time.Duration // how long signing may take; 0 is 30 days
	Now       time.Time
}

// New makes a request that nobody has signed.
func New(o Options) (*Request, error) {
	now := o.Now.UTC().Truncate(time.Second)
	if o.GoodFor == 0 {
		o.GoodFor = 30 * 24 * time.Hour
	}
	r := &Request{Instance: o.Instance, Made: now, GoodUntil: now.Add(o.GoodFor), Base: baseOf(o.Current)}
	v := o.Current.Versions()
	if err := r.addRoot(o, v.Root+1, now); err != nil {
		return nil, err
	}
	if err := r.addTargets(o, v.Targets+1, now); err != nil {
		return nil, err
	}
	if r.Root == nil && r.Targets == nil {
		return nil, fmt.Errorf("%w: the current set says all of it already", ErrNothing)
	}
	return r, r.check()
}

func baseOf(cur tuf.Release) *Base {
	if !cur.Created() {
		return nil
	}
	return &Base{Root: cur.Roots[len(cur.Roots)-1].Bytes, Targets: cur.Targets.Bytes, Contents: cur.Contents, Record: cur.Record}
}

func (r *Request) addRoot(o Options, version int64, now time.Time) (err error) {
	if o.Root == nil {
		if !o.Current.Created() {
			return fmt.Errorf("%w: a first set needs a root: name its signers", ErrRequest)
		}
		return nil
	}
	r.Root, err = tuf.UnsignedRoot(*o.Root, version, now.Add(o.Lifetimes.Root))
	return err
}

// addTargets adds the next targets where they differ, are to be renewed, or have other signers.
func (r *Request) addTargets(o Options, version int64, now time.Time) error {
	e, err := o.Record.Edition()
	if err != nil {
		return err
	}
	if o.Current.Created() && !o.RenewTargets && bytes.Equal(e.Record, o.Current.Record) {
		same, err := r.sameTargetsSigners(o)
		if err != nil || same {
			return err
		}
	}
	r.Targets, r.Contents, err = tuf.UnsignedTargets(e.Targets, version, now.Add(o.Lifetimes.Targets))
	r.Record, r.Statements = e.Record, o.Statements
	return err
}

// sameTargetsSigners says whether the signatures of the current targets count under the next root.
func (r *Request) sameTargetsSigners(o Options) (bool, error) {
	if r.Root == nil {
		return true, nil
	}
	next, err := metadata.Root().FromBytes(r.Root)
	if err != nil {
		return false, fmt.Errorf("%w: root: %w", ErrRequest, err)
	}
	cur, err := metadata.Targets().FromBytes(o.Current.Targets.Bytes)
	if err != nil {
		return false, fmt.Errorf("%w: targets: %w", ErrRequest, err)
	}
	return next.VerifyDelegate(tuf.Targets, cur) == nil, nil
}

// Follows refuses a request that does not follow this root, the root.json that a signer knows. Parse
// cannot tell: a base that somebody made up signs itself as well as the true one. Under the true root,
// the targets before are true too.
func (r *Request) Follows(root []byte) error {
	if r.Base == nil {
		return fmt.Errorf("%w: it follows no set, and you know a root already: clients would not take a second first one", ErrRequest)
	}
	if !bytes.Equal(r.Base.Root, root) {
		return fmt.Errorf("%w: it follows another root than the one that you know (SHA-256 %x, not %x): either you know an older one, or somebody made this one up",
			ErrRequest, sha256.Sum256(r.Base.Root), sha256.Sum256(root))
	}
	return nil
}

// ID identifies a request whatever was signed of it: SHA-256 over everything but the signatures and
// approvals.
func (r *Request) ID() [32]byte {
	f := r.file()
	f.Approvals = nil
	f.Root, f.Targets = payloadOf(r.parsed.root), payloadOf(r.parsed.targets)
	raw, err := json.Marshal(f)
	if err != nil { // texts and bytes
		panic(err)
	}
	return sha256.Sum256(raw)
}
