package pgstore_test

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sigbox/sigbox/internal/pgtest"
	pb "github.com/sigbox/sigbox/proto/sigbox/tlog/v1"
	"github.com/sigbox/sigbox/tlog/follow"
	"github.com/sigbox/sigbox/tlog/logrpc"
	"github.com/sigbox/sigbox/tlog/logtest"
)

// TestFollowAReplicaThatDoesNotWrite follows one of two replicas while the other one appends, and
// PostgreSQL is killed in between.
func TestFollowAReplicaThatDoesNotWrite(t *testing.T) {
	server := pgtest.Start(t)
	o, _, cfg := newReplicated(t, server)
	cfg.Guard = openGuard(t, o.Guard)
	writer := logtest.Open(t, openStore(t, openDB(t, o.URL), "test"), cfg)
	cfg.Guard, cfg.Poll = openGuard(t, o.Guard), 20*time.Millisecond
	reader := logtest.Open(t, openStore(t, openDB(t, o.URL), "test"), cfg)

	service, err := logrpc.New(logrpc.Config{
		Logs:   []logrpc.Log{{Name: "test", Origin: logtest.Origin, Engine: reader}},
		Logger: slog.New(slog.DiscardHandler), Pace: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	service.RegisterGRPC(s)
	go func() { _ = s.Serve(ln) }() // ends with Stop
	defer s.Stop()
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	ctx, cancel := context.WithCancel(t.Context())
	batches, ended := make(chan follow.Batch, 1000), make(chan error, 1)
	go func() {
		ended <- follow.Run(ctx, follow.Config{
			Client: pb.NewLogsClient(conn), Log: "test", Verifier: cfg.Signer.Verifier(),
			Save: func(_ context.Context, b follow.Batch) error { batches <- b; return nil },
		}, follow.State{})
	}()
	var next int64
	for round := range 5 {
		logtest.Fill(t, writer, 300*round, 300*(round+1))
		for want := int64(1 + 300*(round+1)); next < want; { // with the seed
			select {
			case b := <-batches:
				for _, e := range b.Entries {
					l, err := writer.Leaf(t.Context(), next)
					if err != nil || e.Index != next || string(e.Leaf) != string(l.Data) {
						t.Fatalf("entry %d: %v, the log has %+v, %v", next, e, l, err)
					}
					next++
				}
			case err := <-ended:
				t.Fatal(err)
			case <-time.After(time.Minute):
				t.Fatalf("the follower has %d entries after a minute, want %d", next, want)
			}
		}
		if round == 2 {
			server.Kill(t)
			server.Restart(t)
		}
	}
	cancel()
	<-ended
}
