package rekorv2_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	pb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/rekorv2"
)

// shardAt is a shard with a host and a size that no other one here has.
func shardAt(t *testing.T, host string, size int, frozen bool) *rekorv2.Shard {
	t.Helper()
	key, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := checkpoint.NewSigner(host, host, key)
	if err != nil {
		t.Fatal(err)
	}
	log := logtest.New(t, func(c *tlog.Config) { c.Signer = signer })
	for i := range size {
		if _, err := log.Append(t.Context(), logtest.Numbered(i)); err != nil {
			t.Fatal(err)
		}
	}
	if frozen {
		if err := log.Freeze(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return &rekorv2.Shard{Log: log, Origin: host, PublicKey: key.Public()}
}

// TestHosts: what is read at a host name is the last shard that has it, one that waits too, and never the
// tree of another name. Entries go to the shard that takes them, whatever they are posted to.
func TestHosts(t *testing.T) {
	chain := []*rekorv2.Shard{
		shardAt(t, "a.example.com", 1, true), shardAt(t, "a.example.com", 2, true), shardAt(t, "b.example.com", 3, true), shardAt(t, "c.example.com", 4, false),
	}
	waiting := shardAt(t, "d.example.com", 5, false)
	s := &server{t: t}
	first := chain[0]
	options := func(c *rekorv2.Config) {
		c.Origin, c.PublicKey = first.Origin, first.PublicKey
		c.Next = func(_ context.Context, last tlog.Log) (*rekorv2.Shard, error) {
			for i, sh := range chain[:len(chain)-1] {
				if sh.Log == last {
					return chain[i+1], nil
				}
			}
			return nil, nil
		}
		c.Waiting = func(host string) (tlog.Log, *tlog.Tiles, bool) {
			if host == waiting.Origin {
				return waiting.Log, tlog.NewTiles(waiting.Log), true
			}
			return nil, nil, host == "kept.example.com"
		}
	}
	key, err := keys.NewECDSA() // of the harness, which options replaces
	if err != nil {
		t.Fatal(err)
	}
	s.key = key
	s.serve(first.Log, options)
	if err := s.face.Advance(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.grpc()
	for host, want := range map[string]string{
		"a.example.com": "a.example.com\n2\n", "b.example.com": "b.example.com\n3\n", "c.example.com": "c.example.com\n4\n", "d.example.com": "d.example.com\n5\n",
		"kept.example.com": "", "C.Example.com.:8443": "c.example.com\n4\n", "127.0.0.1:3000": "a.example.com\n2\n", "[::1]:80": "a.example.com\n2\n", "": "a.example.com\n2\n",
	} {
		r := httptest.NewRequest(http.MethodGet, "/api/v2/checkpoint", nil)
		r.Host = host
		if log, tiles := s.face.AtHost(r); (log == nil) != (want == "") || (tiles == nil) != (want == "") || log != nil && !strings.HasPrefix(noteOf(t, log), want) {
			t.Errorf("HTTP at %q: %v, want %q", host, log, want)
		}
		if host == "" { // gRPC has always one
			continue
		}
		client := s.grpcAt(host)
		got, err := client.GetCheckpoint(t.Context(), &emptypb.Empty{})
		if want == "" && status.Code(err) != codes.NotFound || want != "" && (err != nil || !strings.HasPrefix(string(got.GetData()), want)) {
			t.Errorf("gRPC at %q: %s, %v, want %q", host, got.GetData(), err, want)
		}
		var size int
		if want != "" {
			_, _ = fmt.Sscanf(strings.Split(want, "\n")[1], "%d", &size)
		}
		tile, err := client.GetTile(t.Context(), &pb.TileRequest{L: 0, N: fmt.Sprintf("000.p/%d", max(size, 1))})
		if want == "" && status.Code(err) != codes.NotFound || want != "" && (err != nil || len(tile.GetData()) != 32*size) {
			t.Errorf("tile over gRPC at %q: %d bytes, %v", host, len(tile.GetData()), err)
		}
	}
	for i, host := range []string{"a.example.com", "d.example.com", "127.0.0.1"} {
		entry, err := s.grpcAt(host).CreateEntry(t.Context(), request(artifact(t, host)))
		if err != nil || entry.GetLogIndex() != int64(4+i) || !strings.HasPrefix(entry.GetInclusionProof().GetCheckpoint().GetEnvelope(), "c.example.com\n") {
			t.Errorf("entry at %s: %v, %v", host, entry, err)
		}
	}
}

func noteOf(t *testing.T, log tlog.Log) string {
	t.Helper()
	cp, err := log.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(cp.Note)
}

// grpcAt is a client that calls the server by a host name.
func (s *server) grpcAt(host string) pb.RekorClient {
	s.t.Helper()
	conn, err := grpc.NewClient(s.grpcAddr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(host))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return pb.NewRekorClient(conn)
}
