package rekorv2_test

import (
	"bytes"
	"errors"
	"testing"

	pb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// rawCodec sends bytes as they are, as no client of ours would.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) ([]byte, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, errors.New("no bytes")
	}
	return *b, nil
}

func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = bytes.Clone(data)
	return nil
}

// TestWire: messages that promise more than they hold, nest without end or are none are refused over gRPC, and
// the log does not grow (B-171).
func TestWire(t *testing.T) {
	s := newServer(t)
	client := s.grpc() // starts the server
	if _, err := client.CreateEntry(t.Context(), request(artifact(t, "seed"))); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(s.grpcAddr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	good, err := proto.Marshal(request(artifact(t, "x")))
	if err != nil {
		t.Fatal(err)
	}
	const bytesField = protowire.BytesType
	nested := func(n int) (b []byte) {
		for range n {
			b = append(protowire.AppendVarint(protowire.AppendTag(nil, 1, bytesField), uint64(len(b))), b...)
		}
		return b
	}
	groups := bytes.Repeat(protowire.AppendTag(nil, 100, protowire.StartGroupType), 100_000)
	for name, row := range map[string]struct {
		body []byte
		code codes.Code
	}{
		"length of 2^63":                 {append(protowire.AppendTag(nil, 1, bytesField), "\xff\xff\xff\xff\xff\xff\xff\xff\x7f"...), codes.Internal},
		"length of 11 bytes":             {append(protowire.AppendTag(nil, 1, bytesField), "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"...), codes.Internal},
		"length of 4 GiB inside":         {append(protowire.AppendTag(nil, 1, bytesField), "\x06\x0a\xff\xff\xff\xff\x0f"...), codes.Internal},
		"field 0":                        {[]byte{0, 0}, codes.Internal},
		"wire type 7":                    {[]byte{0x0f}, codes.Internal},
		"end of no group":                {protowire.AppendTag(nil, 1, protowire.EndGroupType), codes.Internal},
		"100,000 groups, none ends":      {groups, codes.Internal},
		"100,000 groups":                 {append(bytes.Clone(groups), bytes.Repeat(protowire.AppendTag(nil, 100, protowire.EndGroupType), 100_000)...), codes.Internal},
		"10,000 levels":                  {nested(10_000), codes.InvalidArgument},
		"cut off":                        {good[:len(good)-1], codes.Internal},
		"text that is no UTF-8, unknown": {append(protowire.AppendTag(nil, 900, bytesField), "\x02\xff\xfe"...), codes.InvalidArgument},
		"nothing":                        {nil, codes.InvalidArgument},
		"random":                         {[]byte("\x8f\x1e\xc0\x00\x13\x37"), codes.Internal},
		"5 MiB":                          {append(protowire.AppendTag(nil, 1, bytesField), protowire.AppendBytes(nil, make([]byte, 5<<20))...), codes.ResourceExhausted},
	} {
		var answer []byte
		err := conn.Invoke(t.Context(), pb.Rekor_CreateEntry_FullMethodName, &row.body, &answer)
		if status.Code(err) != row.code {
			t.Errorf("%s: %v, %d bytes", name, err, len(answer))
		}
	}
	if s.size() != 1 {
		t.Errorf("%d entries: a refused message left a trace", s.size())
	}
	var answer []byte
	if err := conn.Invoke(t.Context(), pb.Rekor_CreateEntry_FullMethodName, &good, &answer); err != nil || s.size() != 2 {
		t.Errorf("the good one: %v, %d entries", err, s.size())
	}
}
