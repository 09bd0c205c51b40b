package rekorv2

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
)

// Shard is one tree of a log. It has a key of its own; its origin may be that of the one before it.
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

func last(list *[]*shard) *shard { return (*list)[len(*list)-1] }

// Active returns the shard that takes entries, for reading.
func (s *Server) Active(*http.Request) (tlog.Log, *tlog.Tiles) {
	sh := last(s.list.Load())
	return sh.log, sh.tiles
}

// Named returns the shard that the path value "shard" of a request names by its log id in hex, nil where
// there is none, for reading.
func (s *Server) Named(r *http.Request) (tlog.Log, *tlog.Tiles) {
	if sh := s.named(r); sh != nil {
		return sh.log, sh.tiles
	}
	return nil, nil
}

func (s *Server) named(r *http.Request) *shard {
	for _, sh := range *s.list.Load() {
		if sh.id == r.PathValue("shard") {
			return sh
		}
	}
	return nil
}

// Advance takes over the shard that goes on for a last one that was frozen, if there is one. Requests
// that append do so by themselves; it is for a server that is only read.
func (s *Server) Advance(ctx context.Context) error {
	for {
		if longer, err := s.grow(ctx, s.list.Load()); err != nil || !longer {
			return err
		}
	}
}

// grow adds the shard that goes on for the last one of the list. It returns false where there is none or
// the last one takes entries, and true too where another request was faster.
func (s *Server) grow(ctx context.Context, list *[]*shard) (longer bool, err error) {
	if s.next == nil {
		return false, nil
	}
	frozen := last(list)
	if state, err := frozen.log.State(ctx); err != nil || !state.Frozen {
		return false, err
	}
	s.growing.Lock()
	defer s.growing.Unlock()
	if s.list.Load() != list {
		return true, nil
	}
	next, err := s.next(ctx, frozen.log)
	if err != nil {
		return false, fmt.Errorf("%w: the next shard: %w", tlog.ErrUnavailable, err)
	}
	if next == nil {
		return false, nil
	}
	sh, err := newShard(*next)
	if err != nil {
		return false, fmt.Errorf("rekor v2: %w", err)
	}
	more := append(slices.Clone(*list), sh)
	s.list.Store(&more)
	s.logger.InfoContext(ctx, "rekor v2: a shard is frozen, and the next one takes entries", "frozen", frozen.id, "next", sh.id)
	return true, nil
}
