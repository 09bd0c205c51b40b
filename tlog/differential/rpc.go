package differential

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	pb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// call sends a request over gRPC. The status of the answer is the code of gRPC.
func (p *Player) call(ctx context.Context, r Request) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	a := r.Unanswered()
	var header metadata.MD
	client := pb.NewRekorClient(p.RPC)
	var req, resp proto.Message
	var err error
	read := func(m proto.Message) error { // the body is the JSON of the message
		req = m
		return protojson.Unmarshal([]byte(r.Body), m)
	}
	switch r.Target {
	case "CreateEntry":
		if err := read(&pb.CreateEntryRequest{}); err != nil {
			return a, err
		}
		resp, err = client.CreateEntry(ctx, req.(*pb.CreateEntryRequest), grpc.Header(&header))
	case "GetTile":
		if err := read(&pb.TileRequest{}); err != nil {
			return a, err
		}
		resp, err = client.GetTile(ctx, req.(*pb.TileRequest), grpc.Header(&header))
	case "GetEntryBundle":
		if err := read(&pb.EntryBundleRequest{}); err != nil {
			return a, err
		}
		resp, err = client.GetEntryBundle(ctx, req.(*pb.EntryBundleRequest), grpc.Header(&header))
	case "GetCheckpoint":
		resp, err = client.GetCheckpoint(ctx, &emptypb.Empty{}, grpc.Header(&header))
	default:
		return a, fmt.Errorf("no such method: %s", r.Target)
	}
	for k, v := range header {
		if k != "content-type" && k != "trailer" { // those of the transport
			a.Header[k] = p.header(k, v)
		}
	}
	st := status.Convert(err)
	a.Status = int(st.Code())
	if err != nil {
		a.Body = map[string]any{"message": p.text(st.Message()), "code": json.Number(fmt.Sprint(a.Status))}
		return a, nil
	}
	raw, err := protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(resp)
	if err != nil {
		return a, err
	}
	v, err := decodeJSON(raw)
	if err != nil {
		return a, err
	}
	p.learn(r.Name, v)
	a.Body = p.value("", v)
	return a, nil
}
