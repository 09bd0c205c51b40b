package logrpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	rekor "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "github.com/sigbox/sigbox/proto/sigbox/tlog/v1"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logrpc"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/memstore"
)

const name = "test"

// parse takes what a test appends: the JSON field as the entry itself.
var parse = logrpc.RekorV1(func(text []byte) (tlog.Entry, error) {
	if len(text) == 0 {
		return nil, errors.New("an entry without text")
	}
	return logtest.Entry(text), nil
})

// start serves one log.
func start(t testing.TB, log logrpc.Engine, options ...func(*logrpc.Config)) (pb.LogsClient, *logrpc.Server) {
	t.Helper()
	c := logrpc.Config{
		Logs:   []logrpc.Log{{Name: name, Origin: logtest.Origin, Face: "rekor-v1", KeyID: [32]byte{1}, Engine: log, Parse: parse}},
		Logger: slog.New(slog.DiscardHandler), Pace: time.Millisecond,
	}
	for _, o := range options {
		o(&c)
	}
	s, err := logrpc.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	s.RegisterGRPC(server)
	done := make(chan error, 1)
	go func() { done <- server.Serve(ln) }()
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return pb.NewLogsClient(conn), s
}

func TestAppend(t *testing.T) {
	signer := logtest.Signer(t, logtest.Origin, logtest.Origin)
	client, _ := start(t, logtest.New(t, func(c *tlog.Config) { c.Signer = signer; c.MaxEntry = 1000 }))
	add := func(text string) (*pb.AppendResponse, error) {
		return client.Append(t.Context(), &pb.AppendRequest{Log: name, Entry: &pb.AppendRequest_RekorV1{RekorV1: []byte(text)}})
	}
	for i, want := range []struct {
		text      string
		index     int64
		duplicate bool
	}{{"a", 0, false}, {"b", 1, false}, {"a", 0, true}, {"c", 2, false}} {
		r, err := add(want.text)
		if err != nil {
			t.Fatal(err)
		}
		cp, err := signer.Verifier().Open(r.Checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		hash := rfc6962.DefaultHasher.HashLeaf(r.Entry.Leaf)
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(r.Entry.Index), uint64(cp.Size), hash, r.Inclusion, cp.Root[:]); err != nil {
			t.Error(err)
		}
		if r.Entry.Index != want.index || r.Duplicate != want.duplicate || string(r.Entry.Leaf) != want.text || r.Entry.TimeMs == 0 || string(r.LeafHash) != string(hash) {
			t.Errorf("append %d: %v", i, r)
		}
		got, err := client.GetEntry(t.Context(), &pb.GetEntryRequest{Log: name, Index: want.index})
		if err != nil || string(got.Entry.Leaf) != want.text {
			t.Errorf("get %d: %v, %v", i, got, err)
		}
		if cp, err = signer.Verifier().Open(got.GetCheckpoint()); err != nil {
			t.Error(err)
		} else if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(want.index), uint64(cp.Size), hash, got.Inclusion, cp.Root[:]); err != nil {
			t.Error(err)
		}
	}
	if _, err := add(strings.Repeat("x", 1001)); status.Code(err) != codes.InvalidArgument {
		t.Errorf("an entry that is too large: %v", err)
	}
	if _, err := add(""); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "an entry without text") {
		t.Errorf("an entry that is refused: %v", err)
	}
}

// TestForms gives each kind of log the entries of the others.
func TestForms(t *testing.T) {
	log := logtest.New(t)
	took := errors.New("took it")
	client, _ := start(t, log, func(c *logrpc.Config) {
		l := c.Logs[0]
		c.Logs = nil
		for name, p := range map[string]logrpc.Parser{
			"v1": logrpc.RekorV1(func([]byte) (tlog.Entry, error) { return nil, took }),
			"v2": logrpc.RekorV2(func(*rekor.CreateEntryRequest) (tlog.Entry, error) { return nil, took }),
			"ct": logrpc.CT(func(_ [][]byte, precert bool) (tlog.Entry, error) {
				return nil, fmt.Errorf("%w, precert %v", took, precert)
			}),
			"read-only": nil,
		} {
			l.Name, l.Parse = name, p
			c.Logs = append(c.Logs, l)
		}
	})
	chain := &pb.CertificateChain{Certificates: [][]byte{{1}}}
	for _, c := range []struct {
		form string
		req  *pb.AppendRequest
		want map[string]string // log to what it says
	}{
		{"nothing", &pb.AppendRequest{}, nil},
		{"v1", &pb.AppendRequest{Entry: &pb.AppendRequest_RekorV1{}}, map[string]string{"v1": "took it"}},
		{"v2", &pb.AppendRequest{Entry: &pb.AppendRequest_RekorV2{}}, map[string]string{"v2": "took it"}},
		{"certificate", &pb.AppendRequest{Entry: &pb.AppendRequest_Certificate{Certificate: chain}}, map[string]string{"ct": "took it, precert false"}},
		{"precertificate", &pb.AppendRequest{Entry: &pb.AppendRequest_Precertificate{Precertificate: chain}}, map[string]string{"ct": "took it, precert true"}},
	} {
		for _, log := range []string{"v1", "v2", "ct"} {
			c.req.Log = log
			_, err := client.Append(t.Context(), c.req)
			want := c.want[log]
			if want == "" {
				want = "log " + log + " takes"
			}
			if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), want) {
				t.Errorf("%s to %s: %v, want %q", c.form, log, err, want)
			}
		}
		c.req.Log = "read-only"
		if _, err := client.Append(t.Context(), c.req); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("%s to a log that is read only here: %v", c.form, err)
		}
	}
}

func TestDescribe(t *testing.T) {
	store, cfg := memstore.New(), logtest.Config(t)
	if err := tlog.Create(t.Context(), store, cfg, nil); err != nil {
		t.Fatal(err)
	}
	log := logtest.Open(t, store, cfg)
	sick := &unhealthy{Engine: log}
	client, _ := start(t, log, func(c *logrpc.Config) {
		l := c.Logs[0]
		l.Name, l.Engine = "another", sick
		c.Logs = append(c.Logs, l)
	})
	states := func() string {
		out, err := client.ListLogs(t.Context(), &pb.ListLogsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, l := range out.Logs {
			if l.Origin != logtest.Origin || l.Face != "rekor-v1" || len(l.KeyId) != 32 || l.KeyId[0] != 1 {
				t.Errorf("%v", l)
			}
			if _, err := cfg.Signer.Verifier().Open(l.Checkpoint); err != nil {
				t.Error(err)
			}
			all = append(all, l.Name+" "+l.State.String())
		}
		return strings.Join(all, ", ")
	}
	if got := states(); got != "another STATE_ACTIVE, test STATE_ACTIVE" {
		t.Error(got)
	}
	sick.err = tlog.ErrRollback
	if got := states(); got != "another STATE_HALTED, test STATE_ACTIVE" {
		t.Error(got)
	}
	if err := log.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	for state, err := log.State(t.Context()); err == nil && !state.Frozen; state, err = log.State(t.Context()) {
		time.Sleep(time.Millisecond)
	}
	if got := states(); got != "another STATE_HALTED, test STATE_FROZEN" {
		t.Error(got)
	}
	one, err := client.GetLog(t.Context(), &pb.GetLogRequest{Log: name})
	if err != nil || one.Name != name {
		t.Error(one, err)
	}
	_, err = client.Append(t.Context(), &pb.AppendRequest{Log: name, Entry: &pb.AppendRequest_RekorV1{RekorV1: []byte("late")}})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("append to a frozen log: %v", err)
	}
}

type unhealthy struct {
	logrpc.Engine
	err error
}

func (u *unhealthy) Health() error { return u.err }

// TestRefusedRequests asks a log of ten entries for what it cannot give.
func TestRefusedRequests(t *testing.T) {
	log := logtest.New(t)
	logtest.Fill(t, log, 0, 10)
	client, _ := start(t, log)
	ctx := t.Context()
	follow := func(log string, from, old int64) error {
		s, err := client.Follow(ctx, &pb.FollowRequest{Log: log, Start: from, OldSize: old})
		if err == nil {
			_, err = s.Recv()
		}
		return err
	}
	inclusion := func(index, size int64) error {
		_, err := client.GetInclusionProof(ctx, &pb.GetInclusionProofRequest{Log: name, Index: index, Size: size})
		return err
	}
	consistency := func(old, size int64) error {
		_, err := client.GetConsistencyProof(ctx, &pb.GetConsistencyProofRequest{Log: name, OldSize: old, Size: size})
		return err
	}
	entries := func(from, count int64) error {
		_, err := client.GetEntries(ctx, &pb.GetEntriesRequest{Log: name, Start: from, Count: count})
		return err
	}
	entry := func(log string, index int64) error {
		_, err := client.GetEntry(ctx, &pb.GetEntryRequest{Log: log, Index: index})
		return err
	}
	_, getLog := client.GetLog(ctx, &pb.GetLogRequest{})
	_, getCheckpoint := client.GetCheckpoint(ctx, &pb.GetCheckpointRequest{Log: "x"})
	_, appended := client.Append(ctx, &pb.AppendRequest{Log: strings.Repeat("x", 1000)})
	for what, c := range map[string]struct {
		err  error
		want codes.Code
	}{
		"follow: start is the head":           {follow(name, 10, 10), codes.OK},
		"follow: start beyond the head":       {follow(name, 11, 0), codes.OutOfRange},
		"follow: start far beyond the head":   {follow(name, math.MaxInt64, 0), codes.OutOfRange},
		"follow: negative start":              {follow(name, -1, 0), codes.InvalidArgument},
		"follow: lowest start":                {follow(name, math.MinInt64, 0), codes.InvalidArgument},
		"follow: old size beyond the head":    {follow(name, 0, 11), codes.OutOfRange},
		"follow: negative old size":           {follow(name, 0, -1), codes.InvalidArgument},
		"follow: no such log":                 {follow("x", 0, 0), codes.NotFound},
		"inclusion: index is size":            {inclusion(5, 5), codes.InvalidArgument},
		"inclusion: the empty tree":           {inclusion(0, 0), codes.InvalidArgument},
		"inclusion: size beyond the head":     {inclusion(5, 11), codes.OutOfRange},
		"inclusion: highest size":             {inclusion(5, math.MaxInt64), codes.OutOfRange},
		"inclusion: negative index":           {inclusion(-1, 5), codes.InvalidArgument},
		"inclusion: negative size":            {inclusion(0, -1), codes.InvalidArgument},
		"inclusion: last of the head":         {inclusion(9, 10), codes.OK},
		"consistency: old size above size":    {consistency(6, 5), codes.InvalidArgument},
		"consistency: equal sizes":            {consistency(5, 5), codes.OK},
		"consistency: from the empty tree":    {consistency(0, 5), codes.OK},
		"consistency: of empty trees":         {consistency(0, 0), codes.OK},
		"consistency: size beyond the head":   {consistency(5, 11), codes.OutOfRange},
		"consistency: negative old size":      {consistency(-1, 5), codes.InvalidArgument},
		"consistency: negative sizes":         {consistency(-2, -1), codes.InvalidArgument},
		"entries: start is the head":          {entries(10, 1), codes.OutOfRange},
		"entries: negative start":             {entries(-1, 1), codes.InvalidArgument},
		"entries: none":                       {entries(0, 0), codes.InvalidArgument},
		"entries: negative count":             {entries(0, -1), codes.InvalidArgument},
		"entries: highest count":              {entries(9, math.MaxInt64), codes.OK},
		"entry: index is the head":            {entry(name, 10), codes.OutOfRange},
		"entry: negative index":               {entry(name, -1), codes.InvalidArgument},
		"entry: no such log":                  {entry("x", 0), codes.NotFound},
		"log: no name":                        {getLog, codes.NotFound},
		"checkpoint: no such log":             {getCheckpoint, codes.NotFound},
		"append: no such log, and a long one": {appended, codes.NotFound},
	} {
		if got := status.Code(c.err); got != c.want {
			t.Errorf("%s: %v, want %v: %v", what, got, c.want, c.err)
		}
		if len(fmt.Sprint(c.err)) > 300 {
			t.Errorf("%s: a long message: %v", what, c.err)
		}
	}
}

// TestBatchesAreBounded follows and lists entries of many sizes.
func TestBatchesAreBounded(t *testing.T) {
	log := logtest.New(t)
	const maxBytes, large = 256 << 10, 1 << 20
	sizes := []int{large, 10, large, large, 300 << 10}
	for range 3000 {
		sizes = append(sizes, 12)
	}
	for range 40 {
		sizes = append(sizes, 60_000)
	}
	for i := range sizes {
		if i < 5 || i > 3000 { // in order
			if _, err := log.Append(t.Context(), text(i, sizes[i])); err != nil {
				t.Fatal(err)
			}
		} else if i == 5 {
			var wait []chan error
			for j := 5; j <= 3000; j++ {
				done := make(chan error, 1)
				go func() { _, err := log.Append(t.Context(), text(j, sizes[j])); done <- err }()
				wait = append(wait, done)
			}
			for _, w := range wait {
				if err := <-w; err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	client, _ := start(t, log)
	check := func(what string, entries []*pb.Entry) {
		bytes := 0
		for _, e := range entries {
			bytes += len(e.Leaf)
		}
		if len(entries) > 1024 || bytes > maxBytes && len(entries) > 1 {
			t.Errorf("%s: %d entries, %d bytes", what, len(entries), bytes)
		}
	}
	s, err := client.Follow(t.Context(), &pb.FollowRequest{Log: name})
	if err != nil {
		t.Fatal(err)
	}
	var next int64
	for next < int64(len(sizes)) {
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.First != next || len(m.Entries) == 0 {
			t.Fatalf("%d entries from %d, want some from %d", len(m.Entries), m.First, next)
		}
		check("follow", m.Entries)
		next += int64(len(m.Entries))
	}
	for next = 0; next < int64(len(sizes)); {
		r, err := client.GetEntries(t.Context(), &pb.GetEntriesRequest{Log: name, Start: next, Count: math.MaxInt64})
		if err != nil || len(r.Entries) == 0 || r.Entries[0].Index != next {
			t.Fatal(len(r.GetEntries()), err)
		}
		check("list", r.Entries)
		next += int64(len(r.Entries))
	}
	r, err := client.GetEntries(t.Context(), &pb.GetEntriesRequest{Log: name, Start: 10, Count: 7})
	if err != nil || len(r.Entries) != 7 {
		t.Errorf("asked for 7 entries, got %d, %v", len(r.GetEntries()), err)
	}
}

// text is entry i, so many bytes long.
func text(i, size int) logtest.Entry {
	return logtest.Entry(fmt.Sprintf("%-*s", size, fmt.Sprintf("entry %d", i)))
}

// reads counts what followers ask of a log.
type reads struct {
	logrpc.Engine
	asked chan [2]int64
}

func (r *reads) Leaves(ctx context.Context, from, to int64) ([]tlog.Leaf, error) {
	r.asked <- [2]int64{from, to}
	return r.Engine.Leaves(ctx, from, to)
}

// TestFollowersShareReads has many followers at the head, and one read of each new entry.
func TestFollowersShareReads(t *testing.T) {
	log := &reads{logtest.New(t), make(chan [2]int64, 10_000)}
	logtest.Fill(t, log, 0, 10)
	client, _ := start(t, log)
	const followers = 50
	var streams []pb.Logs_FollowClient
	for range followers {
		s, err := client.Follow(t.Context(), &pb.FollowRequest{Log: name, Start: 10})
		if err != nil {
			t.Fatal(err)
		}
		if m, err := s.Recv(); err != nil || len(m.Entries) != 0 {
			t.Fatal(m, err)
		}
		streams = append(streams, s)
	}
	for i := range 20 {
		if _, err := log.Append(t.Context(), logtest.Entry(fmt.Sprint("new ", i))); err != nil {
			t.Fatal(err)
		}
		for _, s := range streams {
			m, err := s.Recv()
			if err != nil || len(m.Entries) != 1 || m.Entries[0].Index != int64(10+i) {
				t.Fatal(m, err)
			}
		}
	}
	if n := len(log.asked); n != 20 {
		t.Errorf("%d reads of 20 entries for %d followers", n, followers)
	}
}

func TestHeartbeatAndDrain(t *testing.T) {
	signer := logtest.Signer(t, logtest.Origin, logtest.Origin)
	log := logtest.New(t, func(c *tlog.Config) { c.Signer = signer })
	client, server := start(t, log, func(c *logrpc.Config) { c.Heartbeat = 2 * time.Millisecond; c.MaxFollowers = 1 })
	s, err := client.Follow(t.Context(), &pb.FollowRequest{Log: name})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		m, err := s.Recv()
		if err != nil || len(m.Entries) != 0 || m.First != 0 || m.Final {
			t.Fatal(m, err)
		}
		if _, err := signer.Verifier().Open(m.Checkpoint); err != nil {
			t.Error(err)
		}
	}
	second, err := client.Follow(t.Context(), &pb.FollowRequest{Log: name})
	if err == nil {
		_, err = second.Recv()
	}
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one follower too many: %v", err)
	}
	server.Drain()
	for err = nil; err == nil; {
		_, err = s.Recv()
	}
	if status.Code(err) != codes.Unavailable || errors.Is(err, io.EOF) {
		t.Errorf("the stream of a server that shuts down ended with %v", err)
	}
	late, err := client.Follow(t.Context(), &pb.FollowRequest{Log: name})
	if err == nil {
		_, err = late.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("a stream that begins during shutdown: %v", err)
	}
	if _, err := client.GetCheckpoint(t.Context(), &pb.GetCheckpointRequest{Log: name}); err != nil {
		t.Errorf("another call during shutdown: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	log := logtest.New(t)
	good := logrpc.Log{Name: name, Origin: logtest.Origin, Engine: log}
	for what, logs := range map[string][]logrpc.Log{
		"no name":   {{Origin: logtest.Origin, Engine: log}},
		"no origin": {{Name: name, Engine: log}},
		"no engine": {{Name: name, Origin: logtest.Origin}},
		"twice":     {good, good},
	} {
		if _, err := logrpc.New(logrpc.Config{Logs: logs}); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	// A checkpoint of another log never leaves as this one's.
	other := good
	other.Origin, other.Parse = "other.test", parse
	client, _ := start(t, log, func(c *logrpc.Config) { c.Logs = []logrpc.Log{other} })
	_, err := client.Append(t.Context(), &pb.AppendRequest{Log: name, Entry: &pb.AppendRequest_RekorV1{RekorV1: []byte("x")}})
	if status.Code(err) != codes.DataLoss {
		t.Errorf("append to a log of another origin: %v", err)
	}
}
