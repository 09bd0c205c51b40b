package stack

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/rekorv1"
	"github.com/sigbox/sigbox/tlog/rekorv2"
)

// next returns the log that goes on for this one, as the database describes it. key loads the key of a
// log that has one of its own.
func (l ServedLog) next(d tlog.Description, key func(after ServedLog, name string) (crypto.Signer, error)) (n ServedLog, err error) {
	n = l
	origin := originOf(d)
	n.Name, n.Origin, n.Config.Name, n.Config.Register, n.Active = config.Name(d.Name), origin, d.Name, d.Origin, true
	n.Created, n.Displaced = time.UnixMilli(d.CreatedMS), false
	if d.Face != l.Face {
		return n, fmt.Errorf("it is %s, and the log that it goes on for is %s", d.Face, l.Face)
	}
	if d.KeySHA256 != l.Config.Signer.Verifier().KeyID() {
		if n.Signer, err = key(l, d.Name); err != nil {
			return n, err
		}
	}
	host := origin
	if l.Face == config.FaceRekorV1 {
		var tree string
		if host, tree, _ = strings.Cut(origin, " - "); tree == "" {
			return n, fmt.Errorf("its origin %q has no tree id", d.Origin)
		}
		if n.TreeID, err = strconv.ParseInt(tree, 10, 64); err != nil {
			return n, fmt.Errorf("its origin %q has no tree id", d.Origin)
		}
	}
	n.Host = config.Host(host)
	if n.Config.Signer, err = checkpoint.NewSigner(host, n.Origin, n.Signer); err != nil {
		return n, err
	}
	if id := n.Config.Signer.Verifier().KeyID(); id != d.KeySHA256 {
		return n, fmt.Errorf("its key is %x, and the key file of that name holds %x", d.KeySHA256[:8], id[:8])
	}
	return n, nil
}

// successorOf returns the description of the log that goes on for one, nil if there is none.
func successorOf(name string, all []tlog.Description) *tlog.Description {
	for i, d := range all {
		if d.Follows == name {
			return &all[i]
		}
	}
	return nil
}

// openShard is a log that is open.
type openShard struct {
	ServedLog
	engine *tlog.Engine
	tiles  *tlog.Tiles
}

func newOpenShard(l ServedLog, engine *tlog.Engine) openShard {
	return openShard{l, engine, tlog.NewTiles(engine)}
}

// shards are how a process comes by the logs that go on for its own: shards that "sigbox log rotate"
// makes while it runs. They are found in the database; nothing needs to be configured.
type shards struct {
	list  func(context.Context) ([]tlog.Description, error)
	key   func(after ServedLog, name string) (crypto.Signer, error)
	open  func(context.Context, ServedLog) (*tlog.Engine, error)
	added func(ServedLog, *tlog.Engine) error // takes a log that was found among those that are served
	log   *slog.Logger
	// changed is told when there is a new one; nil for nobody.
	changed func(context.Context)

	opening chan struct{} // holds a token of who looks for one: a request can give up waiting for it

	mu        sync.Mutex
	known     []openShard
	displaced map[config.Name]bool      // the logs that leave their host to a next one, whether it can be opened or not
	kept      map[string]bool           // the hosts of shards of Rekor v2 that are not made yet, or cannot be opened
	next      map[config.Name]openShard // by the name of the log that it goes on for
	failed    map[config.Name]error     // why the next one could not be had
	faces     []func(context.Context) error
}

// newShards returns s, which knows no log yet.
func newShards(s *shards) *shards {
	s.opening = make(chan struct{}, 1)
	s.displaced, s.kept, s.next, s.failed = map[config.Name]bool{}, map[string]bool{}, map[config.Name]openShard{}, map[config.Name]error{}
	return s
}

// begin notes a log that the process begins with.
func (s *shards) begin(l ServedLog, engine *tlog.Engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = append(s.known, newOpenShard(l, engine))
}

// after returns the log that goes on for another one, nil if there is none.
func (s *shards) after(ctx context.Context, l ServedLog) (*openShard, error) {
	select {
	case s.opening <- struct{}{}:
		defer func() { <-s.opening }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	n, there := s.next[l.Name]
	s.mu.Unlock()
	if there {
		return &n, nil
	}
	d, err := s.successor(ctx, l)
	var found *openShard
	if err == nil && d != nil {
		found, err = s.found(ctx, l, *d)
	}
	if err != nil && ctx.Err() != nil {
		return nil, err // who asked is gone: that says nothing of the shard
	}
	if s.take(ctx, l, d, found, err) && s.changed != nil {
		s.changed(ctx)
	}
	return found, err
}

// take notes what was found, and tells whether it is news: that there is a next log at this one's host, or
// that it is open.
func (s *shards) take(ctx context.Context, l ServedLog, next *tlog.Description, found *openShard, err error) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case next == nil:
	case !l.displacedBy(*next):
		s.kept[originOf(*next)] = true
	case !s.displaced[l.Name]:
		s.displaced[l.Name], news = true, true
	}
	if err != nil {
		if before := s.failed[l.Name]; before == nil || before.Error() != err.Error() {
			s.log.ErrorContext(ctx, "the next shard cannot be opened", "log", l.Name, "error", err)
		}
		s.failed[l.Name] = err
		return news
	}
	delete(s.failed, l.Name)
	if found == nil {
		return news
	}
	s.next[l.Name] = *found
	if s.named(found.Name) == nil {
		s.known = append(s.known, *found)
		s.log.InfoContext(ctx, "the next shard is open", "log", l.Name, "next", found.Name, "origin", found.Origin)
	}
	return true
}

// named returns the log of a name that is open, nil if there is none. It is called with the lock held.
func (s *shards) named(name config.Name) *openShard {
	for _, k := range s.known {
		if k.Name == name {
			return &k
		}
	}
	return nil
}

// all returns the logs that are open, each with what goes on for it behind it.
func (s *shards) all() (list []ServedLog) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.known {
		l := k.ServedLog
		l.Displaced = s.displaced[l.Name]
		list = append(list, l)
	}
	return list
}

// successor returns what the database says of the log that goes on for another one, nil if there is none.
func (s *shards) successor(ctx context.Context, l ServedLog) (*tlog.Description, error) {
	all, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	return successorOf(string(l.Name), all), nil
}

// found returns the log that goes on for another one. It is open already where the configuration names it.
func (s *shards) found(ctx context.Context, l ServedLog, d tlog.Description) (*openShard, error) {
	s.mu.Lock()
	k := s.named(config.Name(d.Name))
	s.mu.Unlock()
	if k != nil {
		return k, nil
	}
	n, err := l.next(d, s.key)
	if err != nil {
		return nil, fmt.Errorf("log %s: %w", d.Name, err)
	}
	engine, err := s.open(ctx, n)
	if err != nil {
		return nil, err
	}
	if err := s.added(n, engine); err != nil {
		return nil, err
	}
	open := newOpenShard(n, engine)
	return &open, nil
}

// of returns the log with an engine.
func (s *shards) of(log tlog.Log) (ServedLog, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.known {
		if tlog.Log(k.engine) == log {
			return k.ServedLog, nil
		}
	}
	return ServedLog{}, errors.New("a log that is not open")
}

// afterV1 is [rekorv1.Config.Next].
func (s *shards) afterV1(ctx context.Context, last rekorv1.Shard) (*rekorv1.Shard, error) {
	l, err := s.of(last.Log)
	if err != nil {
		return nil, err
	}
	n, err := s.after(ctx, l)
	if n == nil || err != nil {
		return nil, err
	}
	return &rekorv1.Shard{Log: n.engine, TreeID: n.TreeID, Signer: n.Signer}, nil
}

// afterV2 is [rekorv2.Config.Next].
func (s *shards) afterV2(ctx context.Context, last tlog.Log) (*rekorv2.Shard, error) {
	l, err := s.of(last)
	if err != nil {
		return nil, err
	}
	n, err := s.after(ctx, l)
	if n == nil || err != nil {
		return nil, err
	}
	return &rekorv2.Shard{Log: n.engine, Origin: n.Origin, PublicKey: n.Signer.Public()}, nil
}

// advance has the face of a log told of the next shard as soon as its last one is frozen.
func (s *shards) advance(face func(context.Context) error) { s.faces = append(s.faces, face) }

// lookForShards is how often a process looks for shards that are made for later.
const lookForShards = time.Second

// run opens shards as soon as they are there, so that no request waits for it, until ctx ends; every is
// how often faces learn that their last shard is frozen.
func (s *shards) run(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var looked time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if now.Sub(looked) >= lookForShards {
				looked = now
				s.openAll(ctx)
			}
			s.advanceAll(ctx)
		}
	}
}

// advanceAll has the faces take over the shards that are there. A shard that cannot be had now is in the log and
// in [shards.check]; all else is served meanwhile, also where the process has only begun.
func (s *shards) advanceAll(ctx context.Context) {
	for _, face := range s.faces {
		_ = face(ctx)
	}
}

// openAll opens what there is; what cannot be opened is in the log and in [shards.check].
func (s *shards) openAll(ctx context.Context) {
	for i := 0; ; i++ { // the list grows meanwhile
		s.mu.Lock()
		if i >= len(s.known) {
			s.mu.Unlock()
			return
		}
		l := s.known[i].ServedLog
		s.mu.Unlock()
		if l.Face != config.FaceCT {
			_, _ = s.after(ctx, l)
		}
	}
}

// check says why a shard that is there cannot be opened.
func (s *shards) check(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.failed {
		return fmt.Errorf("the shard that goes on for %s cannot be opened; the log says why", name)
	}
	return nil
}

// group runs what is added to it, before it starts or while it runs.
type group struct {
	mu      sync.Mutex
	waiting []func(context.Context) error
	running *errgroup.Group
	ctx     context.Context
}

func (g *group) add(run func(context.Context) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running == nil {
		g.waiting = append(g.waiting, run)
		return
	}
	ctx := g.ctx
	g.running.Go(func() error { return run(ctx) })
}

// start starts all that waits, in a group that lasts until ctx ends.
func (g *group) start(ctx context.Context, running *errgroup.Group) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running, g.ctx = running, ctx
	for _, run := range g.waiting {
		running.Go(func() error { return run(ctx) })
	}
	g.waiting = nil
}

// sequencer runs a log. One that has halted said so then, and serves reads until it is told to end.
func sequencer(l *tlog.Engine) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := l.Run(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		return nil
	}
}
