package stack

import (
	"context"
	"crypto"
	"errors"
	"log/slog"
	"slices"
	"testing"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
)

// shardOf is a Rekor v2 log with a new key.
func shardOf(t *testing.T, name string) ServedLog {
	t.Helper()
	key, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := checkpoint.NewSigner("localhost", "localhost", key)
	if err != nil {
		t.Fatal(err)
	}
	return ServedLog{
		LogSpec: config.LogSpec{Name: config.Name(name), Face: config.FaceRekorV2, Origin: "localhost", Host: "localhost", Active: true},
		Config:  tlog.Config{Name: name, Signer: signer}, Signer: key,
	}
}

// described is what the database says of it.
func (l ServedLog) described(follows string) tlog.Description {
	return tlog.Description{Name: string(l.Name), Face: l.Face, Origin: l.Origin, KeySHA256: l.Config.Signer.Verifier().KeyID(), Follows: follows}
}

// TestShardThatIsListed: who writes the shard that a rotation made into the configuration has it once.
func TestShardThatIsListed(t *testing.T) {
	one, two := shardOf(t, "one"), shardOf(t, "two")
	list := func(context.Context) ([]tlog.Description, error) {
		return []tlog.Description{one.described(""), two.described("one")}, nil
	}
	t.Run("served", func(t *testing.T) {
		s := newShards(&shards{
			list: list, log: slog.New(slog.DiscardHandler),
			key: func(ServedLog, string) (crypto.Signer, error) { return two.Signer, nil },
			open: func(_ context.Context, l ServedLog) (*tlog.Engine, error) {
				t.Errorf("%s is opened again", l.Name)
				return nil, errors.New("again")
			},
		})
		s.begin(one, nil)
		s.begin(two, nil)
		s.openAll(t.Context())
		all := s.all()
		if err := s.check(t.Context()); err != nil || len(all) != 2 || !all[0].Displaced || all[1].Displaced {
			t.Errorf("%v: %+v", err, all)
		}
	})
	t.Run("looked at", func(t *testing.T) {
		logs := &Logs{list: list, known: func() ([]ServedLog, error) { return []ServedLog{one, two}, nil }}
		logs.keyPath = func(ServedLog, string) (string, error) { return "", errors.New("its key is asked for") }
		all, err := logs.Served(t.Context())
		if err != nil || len(all) != 2 || !all[0].Displaced || all[1].Displaced {
			t.Errorf("%v: %+v", err, all)
		}
	})
}

// TestShardWithoutKey: a process that cannot open the next shard knows all the same that there is one. It
// would tell tuf otherwise that the one before it is read where it was.
func TestShardWithoutKey(t *testing.T) {
	one, two := shardOf(t, "one"), shardOf(t, "two")
	var told []int // how many logs there were
	here := false  // the key
	s := newShards(&shards{
		list: func(context.Context) ([]tlog.Description, error) {
			return []tlog.Description{one.described(""), two.described("one")}, nil
		},
		key: func(ServedLog, string) (crypto.Signer, error) {
			if here {
				return two.Signer, nil
			}
			return nil, errors.New("no key")
		},
		open:  func(context.Context, ServedLog) (*tlog.Engine, error) { return nil, nil },
		added: func(ServedLog, *tlog.Engine) error { return nil },
		log:   slog.New(slog.DiscardHandler),
	})
	s.changed = func(context.Context) { told = append(told, len(s.all())) }
	s.begin(one, nil)
	for range 3 {
		s.openAll(t.Context())
	}
	if all := s.all(); s.check(t.Context()) == nil || len(all) != 1 || !all[0].Displaced {
		t.Errorf("without the key: %v, %+v", s.check(t.Context()), all)
	}
	here = true
	for range 3 {
		s.openAll(t.Context())
	}
	if all := s.all(); s.check(t.Context()) != nil || len(all) != 2 || !all[0].Displaced {
		t.Errorf("with the key: %v, %+v", s.check(t.Context()), all)
	}
	if !slices.Equal(told, []int{1, 2}) {
		t.Errorf("told when there were %v logs, want once for the news and once for the key", told)
	}
}

// TestShardWithoutKeyKeepsItsHost: the tree of another name is not read at the host of a shard that a process
// cannot open, nor at one that the configuration lists.
func TestShardWithoutKeyKeepsItsHost(t *testing.T) {
	one, two := shardOf(t, "one"), shardOf(t, "two")
	two, err := one.shard("two", "log2.localhost", two.Signer)
	if err != nil {
		t.Fatal(err)
	}
	here := false
	s := newShards(&shards{
		list: func(context.Context) ([]tlog.Description, error) {
			return []tlog.Description{one.described(""), two.described("one")}, nil
		},
		key: func(ServedLog, string) (crypto.Signer, error) {
			if here {
				return two.Signer, nil
			}
			return nil, errors.New("no key")
		},
		open:  func(context.Context, ServedLog) (*tlog.Engine, error) { return &tlog.Engine{}, nil },
		added: func(ServedLog, *tlog.Engine) error { return nil },
		log:   slog.New(slog.DiscardHandler),
	})
	s.keep([]config.RekorV2Shard{{Name: "three", Host: "log3.localhost"}})
	s.begin(one, nil)
	for range 2 {
		s.openAll(t.Context())
		for host, want := range map[string]struct{ kept, open bool }{
			"log2.localhost": {true, here}, "log3.localhost": {true, false}, "nobody.localhost": {false, false},
		} {
			if _, tiles, kept := s.waitingV2(host); kept != want.kept || (tiles != nil) != want.open {
				t.Errorf("key %v: %s is kept: %v, %v", here, host, kept, tiles)
			}
		}
		here = true
	}
	if s.all()[0].Displaced {
		t.Error("the one before it is moved")
	}
}

// TestShardNotWaitedFor: a request that waits while another one opens the next shard can give up, and that it
// did says nothing of the shard.
func TestShardNotWaitedFor(t *testing.T) {
	one := shardOf(t, "one")
	asked, answered := make(chan struct{}), make(chan struct{})
	s := newShards(&shards{log: slog.New(slog.DiscardHandler), list: func(ctx context.Context) ([]tlog.Description, error) {
		if ctx.Err() == nil {
			close(asked) // a second look would panic
			<-answered
		}
		return nil, ctx.Err()
	}})
	s.begin(one, nil)
	first := make(chan error, 1)
	go func() {
		_, err := s.after(context.WithoutCancel(t.Context()), one)
		first <- err
	}()
	<-asked
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := s.after(gone, one); !errors.Is(err, context.Canceled) {
		t.Errorf("while another one looks: %v", err)
	}
	close(answered)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if _, err := s.after(gone, one); !errors.Is(err, context.Canceled) || s.check(t.Context()) != nil {
		t.Errorf("alone: %v; and the process says %v", err, s.check(t.Context()))
	}
}
