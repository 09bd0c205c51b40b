//go:build postgres

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	tilespb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"

	tlogpb "github.com/sigbox/sigbox/proto/sigbox/tlog/v1"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
)

// TestHeadsNeverGoBack: a client that was answered by one replica asks the other one for the head, a millisecond
// later and in every way that there is, and sees its entry counted.
func TestHeadsNeverGoBack(t *testing.T) {
	s := runningSite(t)
	one, other := s.serve(t, s.config(t)), s.serve(t, s.config(t))
	w := s.newWriters(t, []*instanceRun{one})[0]
	conn, err := grpc.NewClient(strings.TrimPrefix(other.url, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	sizeOf := func(note []byte, err error) int64 {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		v := w.v2
		if strings.Contains(string(note), " - ") && !strings.HasPrefix(string(note), "sigstore.example.com\n") {
			v = w.v1
		}
		signed, err := v.Open(note)
		if err != nil {
			t.Fatal(err)
		}
		return signed.Size
	}
	logs := tlogpb.NewLogsClient(conn)
	for _, way := range []struct {
		name string
		face int
		size func() int64
	}{
		{"loginfo", 0, func() int64 {
			var v1 struct{ TreeSize int64 }
			if err := json.Unmarshal([]byte(get(t, other.url+"/api/v1/log")), &v1); err != nil {
				t.Fatal(err)
			}
			return v1.TreeSize
		}},
		{"checkpoint", 1, func() int64 { return sizeOf([]byte(get(t, other.url+"/api/v2/checkpoint")), nil) }},
		{"checkpoint of Rekor v2 over gRPC", 1, func() int64 {
			cp, err := tilespb.NewRekorClient(conn).GetCheckpoint(t.Context(), &emptypb.Empty{})
			return sizeOf(cp.GetData(), err)
		}},
		{"checkpoint of our own service", 0, func() int64 {
			cp, err := logs.GetCheckpoint(t.Context(), &tlogpb.GetCheckpointRequest{Log: "rekor-v1"})
			return sizeOf(cp.GetCheckpoint(), err)
		}},
		{"what our own service says of a log", 1, func() int64 {
			log, err := logs.GetLog(t.Context(), &tlogpb.GetLogRequest{Log: "rekor-v2"})
			return sizeOf(log.GetCheckpoint(), err)
		}},
	} {
		for i := range 10 {
			text := fmt.Sprint(way.name, i)
			body := entrytest.NewHashedRekord(t, []byte(text))
			if way.face == 1 {
				body = v2Entry(t, text)
			}
			a, err := w.post(t.Context(), t, way.face, body)
			if err != nil {
				t.Fatal(err)
			}
			if size := way.size(); size <= a.index {
				t.Errorf("%s, time %d: %d entries, and one replica has acknowledged index %d", way.name, i, size, a.index)
			}
		}
	}
}
