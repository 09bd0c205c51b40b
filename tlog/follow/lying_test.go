package follow_test

import (
	"context"
	"crypto"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/sigbox/sigbox/keys"
	pb "github.com/sigbox/sigbox/proto/sigbox/tlog/v1"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/follow"
	"github.com/sigbox/sigbox/tlog/logtest"
)

// liar is the real service, whose messages are changed on their way out.
type liar struct {
	pb.LogsServer
	lie func(n int, m *pb.FollowResponse) // n counts the messages of a stream
}

type lyingStream struct {
	pb.Logs_FollowServer
	lie func(int, *pb.FollowResponse)
	n   int
}

func (l *liar) Follow(req *pb.FollowRequest, s pb.Logs_FollowServer) error {
	return l.LogsServer.Follow(req, &lyingStream{Logs_FollowServer: s, lie: l.lie})
}

func (s *lyingStream) Send(m *pb.FollowResponse) error {
	m = proto.CloneOf(m) // entries are shared with other streams
	s.lie(s.n, m)
	s.n++
	return s.Logs_FollowServer.Send(m)
}

// newSigner signs as an origin, with a new key if key is nil.
func newSigner(t testing.TB, key crypto.Signer, origin string) (crypto.Signer, *checkpoint.Signer) {
	t.Helper()
	if key == nil {
		var err error
		if key, err = keys.NewECDSA(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := checkpoint.NewSigner(origin, origin, key)
	if err != nil {
		t.Fatal(err)
	}
	return key, s
}

// The honest stream of TestLies: message 0 has entries [0, 1024) and message 1 the rest of lieSize,
// both under the checkpoint of lieSize; message 2 has ten more.
const lieSize = 2000

func renumber(m *pb.FollowResponse) {
	for i, e := range m.Entries {
		e.Index = m.First + int64(i)
	}
}

func TestLies(t *testing.T) {
	key, signer := newSigner(t, nil, logtest.Origin)
	withKey := func(c *tlog.Config) { c.Signer = signer }
	log := logtest.New(t, withKey)
	logtest.Fill(t, log, 0, lieSize)
	fork := logtest.New(t, withKey) // other entries under the same key
	for i := range 3 {
		logtest.Fill(t, fork, 10_000+1000*i, 10_000+1000*i+900)
	}
	other := logtest.Signer(t, logtest.Origin, logtest.Origin)
	_, renamed := newSigner(t, nil, "other.test")
	_, reused := newSigner(t, key, "other.test")
	ctx := t.Context()
	must := func(v [][]byte, err error) [][]byte {
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	root := func(l tlog.Log, size int64) [32]byte {
		r, err := l.Root(ctx, size)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	sign := func(s *checkpoint.Signer, size int64, root [32]byte) []byte {
		signed, err := s.Sign(size, root)
		if err != nil {
			t.Fatal(err)
		}
		return signed.Note
	}
	type change = func(log tlog.Log, m *pb.FollowResponse)
	for _, c := range []struct {
		name string
		from int64
		at   int // message
		lie  change
		want error
	}{
		{"an entry is left out", 0, 1, func(_ tlog.Log, m *pb.FollowResponse) { m.Entries = slices.Delete(m.Entries, 5, 6) }, follow.ErrSequence},
		{"an entry is left out, the others renumbered", 0, 0, func(_ tlog.Log, m *pb.FollowResponse) {
			m.Entries = slices.Delete(m.Entries, 5, 6)
			renumber(m)
		}, follow.ErrLeaves},
		{"the first entry is left out", 0, 1, func(_ tlog.Log, m *pb.FollowResponse) { m.First, m.Entries = m.First+1, m.Entries[1:] }, follow.ErrSequence},
		{"a batch is left out", 0, 1, func(_ tlog.Log, m *pb.FollowResponse) { m.First, m.Entries = lieSize, nil }, follow.ErrSequence},
		{"the stream begins later than asked", 0, 0, func(_ tlog.Log, m *pb.FollowResponse) { m.First, m.Entries = m.First+1, m.Entries[1:] }, follow.ErrSequence},
		{"an entry is sent twice", 0, 0, func(_ tlog.Log, m *pb.FollowResponse) {
			m.Entries = slices.Insert(m.Entries, 5, proto.CloneOf(m.Entries[4]))
		}, follow.ErrSequence},
		{"an entry is sent twice, renumbered", 0, 0, func(_ tlog.Log, m *pb.FollowResponse) {
			m.Entries = slices.Insert(m.Entries, 5, proto.CloneOf(m.Entries[4]))
			renumber(m)
		}, follow.ErrLeaves},
		{"a batch is sent twice", 0, 1, func(_ tlog.Log, m *pb.FollowResponse) { m.First -= 1024; renumber(m) }, follow.ErrSequence},
		{"entries change places", 0, 1, func(_ tlog.Log, m *pb.FollowResponse) {
			m.Entries[3], m.Entries[4] = m.Entries[4], m.Entries[3]
			renumber(m)
		}, follow.ErrLeaves},
		{"a leaf is changed", 0, 1, func(_ tlog.Log, m *pb.FollowResponse) { m.Entries[7].Leaf[0] ^= 1 }, follow.ErrLeaves},
		{"a leaf is cut short", 0, 0, func(_ tlog.Log, m *pb.FollowResponse) { m.Entries[7].Leaf = m.Entries[7].Leaf[:3] }, follow.ErrLeaves},
		{"entries beyond the checkpoint", 0, 0, func(l tlog.Log, m *pb.FollowResponse) { m.Checkpoint = sign(signer, 500, root(l, 500)) }, follow.ErrBeyond},
		{"entries of a size that was signed otherwise", 0, 1, func(l tlog.Log, m *pb.FollowResponse) {
			m.Checkpoint = sign(signer, 2500, root(fork, 2500))
			m.Consistency, m.Prefix = must(fork.Consistency(ctx, lieSize, 2500)), must(fork.Consistency(ctx, lieSize, 2500))
		}, follow.ErrInconsistent},
		{"a fork of the same size", 0, 1, func(_ tlog.Log, m *pb.FollowResponse) { m.Checkpoint = sign(signer, lieSize, root(fork, lieSize)) }, follow.ErrFork},
		{"a greater fork, with its own proofs", 0, 2, func(_ tlog.Log, m *pb.FollowResponse) {
			m.Checkpoint = sign(signer, lieSize+10, root(fork, lieSize+10))
			m.Consistency = must(fork.Consistency(ctx, lieSize, lieSize+10))
		}, follow.ErrInconsistent},
		{"a fork from the beginning", 0, 0, func(_ tlog.Log, m *pb.FollowResponse) {
			m.Checkpoint = sign(signer, lieSize, root(fork, lieSize))
			m.Prefix = must(fork.Consistency(ctx, 1024, lieSize))
		}, follow.ErrLeaves},
		{"an old checkpoint", 0, 2, func(l tlog.Log, m *pb.FollowResponse) { m.Checkpoint = sign(signer, 1500, root(l, 1500)) }, follow.ErrOld},
		{"an old checkpoint in a heartbeat", 0, 1, func(l tlog.Log, m *pb.FollowResponse) {
			m.Checkpoint, m.Entries = sign(signer, 1500, root(l, 1500)), nil
		}, follow.ErrOld},
		{"another key under the same name", 0, 0, func(l tlog.Log, m *pb.FollowResponse) { m.Checkpoint = sign(other, lieSize, root(l, lieSize)) }, follow.ErrCheckpoint},
		{"another origin", 0, 0, func(l tlog.Log, m *pb.FollowResponse) { m.Checkpoint = sign(renamed, lieSize, root(l, lieSize)) }, follow.ErrCheckpoint},
		{"another origin under the same key", 0, 1, func(l tlog.Log, m *pb.FollowResponse) { m.Checkpoint = sign(reused, lieSize, root(l, lieSize)) }, follow.ErrCheckpoint},
		{"a checkpoint that was changed", 0, 1, func(_ tlog.Log, m *pb.FollowResponse) { m.Checkpoint[len(logtest.Origin)+1] ^= 1 }, follow.ErrCheckpoint},
		{"no checkpoint", 0, 1, func(_ tlog.Log, m *pb.FollowResponse) { m.Checkpoint = nil }, follow.ErrCheckpoint},
		{"no proof of the prefix", 0, 0, func(_ tlog.Log, m *pb.FollowResponse) { m.Prefix = nil }, follow.ErrLeaves},
		{"no proof of consistency", 0, 2, func(_ tlog.Log, m *pb.FollowResponse) { m.Consistency = nil }, follow.ErrInconsistent},
		{"a proof too many", 0, 1, func(_ tlog.Log, m *pb.FollowResponse) { m.Consistency = [][]byte{make([]byte, 32)} }, follow.ErrInconsistent},
		{"the range of another tree", 1000, 0, func(_ tlog.Log, m *pb.FollowResponse) { m.Range[0][0] ^= 1 }, follow.ErrLeaves},
		{"no range", 1000, 0, func(_ tlog.Log, m *pb.FollowResponse) { m.Range = nil }, follow.ErrLeaves},
		{"a range with a hash cut short", 1000, 0, func(_ tlog.Log, m *pb.FollowResponse) { m.Range[0] = m.Range[0][:31] }, follow.ErrLeaves},
		{"an end that is none", 0, 0, func(_ tlog.Log, m *pb.FollowResponse) { m.Final = true }, follow.ErrSequence},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := log
			if c.at == 2 { // it will be appended to
				log = logtest.New(t, withKey)
				logtest.Fill(t, log, 0, lieSize)
			}
			ln := listen(t, "127.0.0.1:0")
			told := false
			l := &liar{newService(t, log), func(n int, m *pb.FollowResponse) {
				if n == c.at && !told {
					told = true
					c.lie(log, m)
				}
			}}
			serve(t, ln, func(r grpc.ServiceRegistrar) { pb.RegisterLogsServer(r, l) })
			b := newBook(follow.From(c.from))
			ended := b.run(t.Context(), follow.Config{Client: dial(t, ln.Addr().String()), Verifier: signer.Verifier()})
			if c.at == 2 {
				b.await(t, lieSize, ended)
				logtest.Fill(t, log, lieSize, lieSize+10)
			}
			var err error
			select {
			case err = <-ended:
			case <-time.After(20 * time.Second):
				t.Fatal("the follower believes it")
			}
			var refusal *follow.Refusal
			if !errors.Is(err, c.want) || !errors.As(err, &refusal) {
				t.Fatalf("ended with %v, want %v", err, c.want)
			}
			if (refusal.Have != nil) != (c.at > 0) || (refusal.Got == nil) != (c.name == "no checkpoint") {
				t.Errorf("evidence: %q and %q", refusal.Have, refusal.Got)
			}
			b.check(t, log, c.from) // what was saved before the lie is true
		})
	}
}

// mute is a service whose first streams are of no use.
type mute struct {
	pb.LogsServer
	streams atomic.Int32
}

func (m *mute) Follow(req *pb.FollowRequest, s pb.Logs_FollowServer) error {
	switch m.streams.Add(1) {
	case 1: // never says a word
		<-s.Context().Done()
		return s.Context().Err()
	case 2: // ends without one
		return nil
	}
	return m.LogsServer.Follow(req, s)
}

func TestSilentServerIsLeft(t *testing.T) {
	log, v := newLog(t)
	logtest.Fill(t, log, 0, 10)
	ln := listen(t, "127.0.0.1:0")
	service := &mute{LogsServer: newService(t, log)}
	serve(t, ln, func(r grpc.ServiceRegistrar) { pb.RegisterLogsServer(r, service) })
	b := newBook(follow.State{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := b.run(ctx, follow.Config{Client: dial(t, ln.Addr().String()), Verifier: v, Silence: 200 * time.Millisecond})
	b.await(t, 10, ended)
	cancel()
	<-ended
	if n := service.streams.Load(); n < 3 {
		t.Errorf("%d streams, want at least 3", n)
	}
	b.check(t, log, 0)
}
