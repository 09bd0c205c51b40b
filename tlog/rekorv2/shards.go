package rekorv2

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/shardpath"
)

// Shard is one tree of a log. It has a key of its own; its origin may be that of the one before it, and
// is the host name that it is read at.
type Shard struct {
	Log       tlog.Log // as in Config
	Origin    string
	PublicKey crypto.PublicKey
}

// shard is a tree as it is served.
type shard struct {
	log    tlog.Log
	tiles  *tlog.Tiles
	origin string
	logID  []byte
	id     string // logID in hex
}

// v1Origin is the form by which sigstore-go takes a log for a v1 log.
var v1Origin = regexp.MustCompile(` - [0-9]+$`)

func newShard(c Shard) (*shard, error) {
	if c.Log == nil || c.PublicKey == nil {
		return nil, errors.New("Log and PublicKey are needed")
	}
	bad := func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || r == '+' || r == unicode.ReplacementChar
	}
	if c.Origin == "" || len(c.Origin) > 255 || strings.ContainsFunc(c.Origin, bad) || v1Origin.MatchString(c.Origin) {
		return nil, fmt.Errorf("origin %q: want a host name", c.Origin)
	}
	if _, ok := c.PublicKey.(*ecdsa.PublicKey); !ok {
		return nil, fmt.Errorf("the log key is a %T, policy-controller takes ECDSA only", c.PublicKey)
	}
	id, err := keys.ID(c.PublicKey)
	if err != nil {
		return nil, err
	}
	return &shard{log: c.Log, tiles: tlog.NewTiles(c.Log), origin: c.Origin, logID: id[:], id: hex.EncodeToString(id[:])}, nil
}

// AtHost returns the shard that is read at the host name of a request, nil where there is none: the last one
// of that name. A name that is no shard's, such as an address of a machine, is taken for that of the first
// one, so that what is read at a name is never the tree of another name, whatever is made and frozen.
func (s *Server) AtHost(r *http.Request) (tlog.Log, *tlog.Tiles) { return s.at(r.Host) }

// at is AtHost for HOST or HOST:PORT.
func (s *Server) at(address string) (tlog.Log, *tlog.Tiles) {
	host := hostname(address)
	list := s.chain.List()
	if sh := lastAt(list, host); sh != nil {
		return sh.log, sh.tiles
	}
	if s.waiting != nil {
		if log, tiles, kept := s.waiting(host); kept {
			return log, tiles
		}
	}
	sh := lastAt(list, list[0].origin)
	return sh.log, sh.tiles
}

// lastAt returns the last shard with an origin, nil where there is none.
func lastAt(list []*shard, origin string) *shard {
	for _, sh := range slices.Backward(list) {
		if sh.origin == origin {
			return sh
		}
	}
	return nil
}

// hostname returns the name in HOST or HOST:PORT as origins have it.
func hostname(address string) string {
	if u, err := url.Parse("//" + address); err == nil {
		address = u.Hostname()
	}
	return strings.TrimSuffix(strings.ToLower(address), ".")
}

// Named returns the shard whose path a request has (package shardpath), nil where there is none, for reading.
func (s *Server) Named(r *http.Request) (tlog.Log, *tlog.Tiles) {
	if sh := s.named(r); sh != nil {
		return sh.log, sh.tiles
	}
	return nil, nil
}

func (s *Server) named(r *http.Request) *shard {
	for _, sh := range s.chain.List() {
		if sh.id == shardpath.ID(r) {
			return sh
		}
	}
	return nil
}

// Advance takes over the shard that goes on for a last one that was frozen, if there is one. Requests
// that append do so by themselves; it is for a server that is only read.
func (s *Server) Advance(ctx context.Context) error { return s.chain.Advance(ctx) }

// after returns how the shards grow by what next says of the last one; nil where there is no next.
func (s *Server) after(next func(context.Context, tlog.Log) (*Shard, error)) func(context.Context, []*shard) ([]*shard, error) {
	if next == nil {
		return nil
	}
	return func(ctx context.Context, list []*shard) ([]*shard, error) {
		frozen := list[len(list)-1]
		found, err := next(ctx, frozen.log)
		if err != nil { // a client that tries again may find it
			return nil, fmt.Errorf("%w: the next shard: %w", tlog.ErrUnavailable, err)
		}
		if found == nil {
			return nil, nil
		}
		sh, err := newShard(*found)
		if err != nil {
			return nil, fmt.Errorf("rekor v2: %w", err)
		}
		s.logger.InfoContext(ctx, "rekor v2: a shard is frozen, and the next one takes entries", "frozen", frozen.id, "next", sh.id)
		return append(slices.Clone(list), sh), nil
	}
}
