package differential

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "github.com/sigstore/fulcio/pkg/generated/protobuf"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/sigbox/sigbox/tlog/differential"
)

// method is that of a [differential.Request] over gRPC. Its target is a method of the service, its headers are
// metadata, and its body is the JSON of the message.
const method = "gRPC"

// rpcRequests are the requests for certificates among list again, over gRPC, but for those whose body is no
// message, and what else the service has.
func rpcRequests(list []differential.Request) (out []differential.Request) {
	const call = "CreateSigningCertificate"
	for _, r := range list {
		if r.Method != "POST" || r.Target != "/api/v2/signingCert" || r.Header != nil || strings.HasPrefix(r.Name, "request/") {
			continue
		}
		if r.Name != "proof/no base64" {
			out = append(out, differential.Request{Name: "grpc/" + r.Name, Method: method, Target: call, Body: r.Body})
		}
	}
	key := `{"publicKeyRequest":{"publicKey":{"content":"{{key:p256}}"},"proofOfPossession":"{{proof:p256:dev@example.com}}"}}`
	add := func(name, target, body string, header map[string]string) {
		out = append(out, differential.Request{Name: "grpc/" + name, Method: method, Target: target, Header: header, Body: body})
	}
	add("nothing", call, `{}`, nil)
	add("no key", call, `{"credentials":{"oidcIdentityToken":"{{token:email}}"}}`, nil)
	add("no token", call, key, nil)
	add("token as metadata", call, key, map[string]string{"oidcidentitytoken": "{{token:email}}"})
	add("authorization", call, key, map[string]string{"authorization": "Bearer {{token:email}}"})
	add("key that is none", call, `{"credentials":{"oidcIdentityToken":"{{token:email}}"},"publicKeyRequest":{"publicKey":{"content":"none"},"proofOfPossession":"bm9uZQ=="}}`, nil)
	add("CSR that is none", call, `{"credentials":{"oidcIdentityToken":"{{token:email}}"},"certificateSigningRequest":"bm9uZQ=="}`, nil)
	add("token that is none", call, `{"credentials":{"oidcIdentityToken":"none"},"certificateSigningRequest":"{{csr:p256}}"}`, nil)
	add("trust bundle", "GetTrustBundle", `{}`, nil)
	add("configuration", "GetConfiguration", `{}`, nil)
	return out
}

// call sends a request over gRPC. The status of the answer is the code of gRPC; a trailer is a header whose name
// says so.
func (p *Player) call(ctx context.Context, r differential.Request) (differential.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	a := r.Unanswered()
	body, err := p.fill(r.Body)
	if err != nil {
		return a, err
	}
	for k, v := range r.Header {
		if v, err = p.fill(v); err != nil {
			return a, err
		}
		ctx = metadata.AppendToOutgoingContext(ctx, k, v)
	}
	var header, trailer metadata.MD
	resp, err := p.dispatch(ctx, r.Target, []byte(body), grpc.Header(&header), grpc.Trailer(&trailer))
	for prefix, md := range map[string]metadata.MD{"": header, "trailer ": trailer} {
		for k, v := range md {
			if !slices.Contains([]string{"content-type", "trailer", "x-request-id"}, k) { // those of the transport and of the request
				a.Header[prefix+k] = strings.Join(v, "\n")
			}
		}
	}
	st := status.Convert(err)
	a.Status = int(st.Code())
	if err != nil {
		a.Body = map[string]any{"message": p.text(st.Message()), "code": json.Number(fmt.Sprint(a.Status)), "details": len(st.Details())}
		return a, nil
	}
	raw, err := protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(resp)
	if err != nil {
		return a, err
	}
	p.seconds = ""
	a.Body = p.shape(raw)
	if p.seconds != "" {
		a.Header["(validity in seconds)"] = p.seconds
	}
	return a, nil
}

// dispatch calls a method with the message that body is the JSON of.
func (p *Player) dispatch(ctx context.Context, target string, body []byte, opts ...grpc.CallOption) (proto.Message, error) {
	client := pb.NewCAClient(p.RPC)
	switch target {
	case "CreateSigningCertificate":
		req := &pb.CreateSigningCertificateRequest{}
		if err := protojson.Unmarshal(body, req); err != nil {
			return nil, err
		}
		return client.CreateSigningCertificate(ctx, req, opts...)
	case "GetTrustBundle":
		return client.GetTrustBundle(ctx, &pb.GetTrustBundleRequest{}, opts...)
	case "GetConfiguration":
		return client.GetConfiguration(ctx, &pb.GetConfigurationRequest{}, opts...)
	}
	return nil, fmt.Errorf("no such method: %s", target)
}
