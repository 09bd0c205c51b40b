package handover_test

import (
	"bytes"
	"context"
	"net"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sigbox/sigbox/tuf/handover"
)

// serve returns a connection to a server of these envelopes.
func serve(t *testing.T, list [][]byte) *grpc.ClientConn {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	handover.NewServer(func() [][]byte { return list }).RegisterGRPC(g)
	done := make(chan error, 1)
	go func() { done <- g.Serve(ln) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient("passthrough:///"+ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func many(n, size int) (list [][]byte) {
	for range n {
		list = append(list, bytes.Repeat([]byte("x"), size))
	}
	return list
}

func TestFetch(t *testing.T) {
	for _, tc := range []struct {
		name string
		list [][]byte
		want string // "" for no error
	}{
		{"none", nil, ""},
		{"three", many(3, 100), ""},
		{"as many and as large as may be", many(64, 64<<10), ""},
		{"one too many", many(65, 1), "sent 65"},
		{"one too large", many(1, 64<<10+1), "number 1 has 65537 bytes"},
		{"more than a message may hold", many(66, 64<<10), "ResourceExhausted"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			from, got, err := handover.Fetch(t.Context(), serve(t, tc.list))
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v, want one that says %q", err, tc.want)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, tc.list) {
				t.Errorf("%d statements, %v, want %d", len(got), err, len(tc.list))
			}
			if from == nil || from.Addr == nil {
				t.Error("it is not said who answered")
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := handover.Fetch(ctx, serve(t, nil)); err == nil {
			t.Error("fetched")
		}
	})
}
