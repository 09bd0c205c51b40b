package stack

import (
	"context"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rekorpb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/clock"
	pb "github.com/sigbox/sigbox/proto/sigbox/tlog/v1"
	tsapb "github.com/sigbox/sigbox/proto/sigbox/tsa/v1"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/follow"
)

// TestLogService asks a whole instance, over its one port: it describes, takes and refuses entries of
// every face, is followed by a verifying client, and ends streams when it is told to stop.
func TestLogService(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	err := instance.Create(path, "127.0.0.1", instance.SQLite, time.Now(), func(d *instance.Dir) error {
		return Create(t.Context(), d, "http://127.0.0.1:1", "", clock.System{}, slog.New(slog.DiscardHandler))
	})
	if err != nil {
		t.Fatal(err)
	}
	verifiers := map[string]*checkpoint.Verifier{}
	url, stop := serve(t, path, "")
	d, err := ReadInstance(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := loadMaterial(d)
	if err != nil {
		t.Fatal(err)
	}
	configs, err := logConfigs(d.Info, m)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range configs {
		verifiers[name] = c.Signer.Verifier()
	}
	conn, err := grpc.NewClient(strings.TrimPrefix(url, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := pb.NewLogsClient(conn)

	for _, path := range []string{"/ct/checkpoint", "/ct/tile/0/000.p/2", "/ct/tile/entries/000.p/2"} { // the CT log's first entries are the authority's
		res, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		if _ = res.Body.Close(); res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
	if chain, err := tsapb.NewTimestampsClient(conn).GetChain(t.Context(), &tsapb.GetChainRequest{}); err != nil || len(chain.GetCertificates()) < 2 {
		t.Errorf("timestamps over gRPC: %v, %v", chain, err)
	}
	list, err := client.ListLogs(t.Context(), &pb.ListLogsRequest{})
	if err != nil || len(list.Logs) != 3 {
		t.Fatal(list, err)
	}
	for _, l := range list.Logs {
		v := verifiers[l.Name]
		if id := v.KeyID(); l.Origin != v.Origin() || string(l.KeyId) != string(id[:]) || l.Face != l.Name || l.State != pb.Log_STATE_ACTIVE {
			t.Errorf("%v", l)
		}
	}
	appendToAll(t, client, post(t, url))
	for name, v := range verifiers {
		cp, err := client.GetCheckpoint(t.Context(), &pb.GetCheckpointRequest{Log: name})
		if err != nil {
			t.Fatal(err)
		}
		head, err := v.Open(cp.Checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		followTo(t, client, name, v, head.Size)
	}
	stream, err := client.Follow(t.Context(), &pb.FollowRequest{Log: logCT})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stream.Recv(); err != nil || len(m.Entries) == 0 || len(m.Entries[0].Extra) == 0 {
		t.Fatal(m, err)
	}
	stop()
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ended with %v", err)
	}
}

// appendToAll sends each log an entry of its form, or one that its face refuses.
func appendToAll(t *testing.T, client pb.LogsClient, location string) {
	t.Helper()
	// What was posted over HTTP is found again, so both ways read an entry alike.
	v1, err := client.GetEntry(t.Context(), &pb.GetEntryRequest{Log: logRekorV1, Index: 2})
	if err != nil || location == "" {
		t.Fatal(err)
	}
	again, err := client.Append(t.Context(), &pb.AppendRequest{Log: logRekorV1, Entry: &pb.AppendRequest_RekorV1{RekorV1: v1.Entry.Leaf}})
	if err != nil || !again.Duplicate || again.Entry.Index != 2 {
		t.Errorf("the same entry again: %v, %v", again, err)
	}
	for _, c := range []struct {
		req  *pb.AppendRequest
		want string
	}{
		{&pb.AppendRequest{Log: logRekorV1, Entry: &pb.AppendRequest_RekorV1{}}, "proposedEntry in body is required"},
		{&pb.AppendRequest{Log: logRekorV1, Entry: &pb.AppendRequest_RekorV1{RekorV1: []byte(`{"kind":"hashedrekord"}`)}}, "apiVersion in body is required"},
		{&pb.AppendRequest{Log: logRekorV1, Entry: &pb.AppendRequest_RekorV1{RekorV1: []byte(strings.Replace(string(v1.Entry.Leaf), `"content":"`, `"content":"AA`, 1))}}, "error processing entry"},
		{&pb.AppendRequest{Log: logRekorV2, Entry: &pb.AppendRequest_RekorV2{RekorV2: &rekorpb.CreateEntryRequest{}}}, "must be hashedrekord"},
		{&pb.AppendRequest{Log: logCT, Entry: &pb.AppendRequest_Certificate{}}, "cert chain was empty"},
		{&pb.AppendRequest{Log: logCT, Entry: &pb.AppendRequest_Precertificate{Precertificate: &pb.CertificateChain{Certificates: [][]byte{{1}}}}}, "chain[0] is not a valid certificate"},
	} {
		if _, err := client.Append(t.Context(), c.req); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// followTo follows a log from its beginning to a size.
func followTo(t *testing.T, client pb.LogsClient, name string, v *checkpoint.Verifier, size int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got int64
	err := follow.Run(ctx, follow.Config{Client: client, Log: name, Verifier: v, Save: func(_ context.Context, b follow.Batch) error {
		if got += int64(len(b.Entries)); got == size {
			cancel()
		}
		return nil
	}}, follow.State{})
	if got != size {
		t.Errorf("log %s: %d entries of %d, then %v", name, got, size, err)
	}
}
