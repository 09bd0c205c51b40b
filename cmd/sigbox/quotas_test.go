//go:build postgres

package main

import (
	"crypto"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/digitorus/timestamp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/sigbox/sigbox/oidc/devidp"
	tsapb "github.com/sigbox/sigbox/proto/sigbox/tsa/v1"
)

// used checks that a request was refused by a quota, with the status, text and Retry-After of that.
func used(t *testing.T, name string, got said, quota string) {
	t.Helper()
	if got.status != http.StatusTooManyRequests || !strings.HasPrefix(got.text, "the quota of this "+quota+" is used up (") || got.retry < 1 || got.retry > 3600 {
		t.Errorf("%s: %+v, want 429 by the quota of the %s", name, got, quota)
	}
}

// TestQuotas: each quota refuses over every way into the logs, with its own text, and what is refused
// leaves no trace. The proxy's word counts for the address.
func TestQuotas(t *testing.T) {
	s := newTrio(t)
	file := s.config(t, "logging:", "trusted_proxies: [127.0.0.1]\nlogging:", "  poll: 100ms\n", "  poll: 100ms\n  quotas: {address: 2/1h, identity: 3/1h}\n")
	r := s.serve(t, file)
	url := "http://" + s.at["tlog"]
	dev, ops := s.certifiedSigner(t, "dev@example.com"), s.certifiedSigner(t, "ops@example.com")
	for i, way := range ways(t, s.at["tlog"]) {
		from := func(n int) string { return fmt.Sprintf("2001:db8:%x:%x::1", i+1, n) }
		text := func(n int) string { return fmt.Sprint(way.name, n) }
		for n := range 2 {
			if got := way.write(t, newSigner(t), text(n), from(0)); got.status != 201 {
				t.Errorf("%s: %+v", way.name, got)
			}
		}
		before := heads(t, url)
		used(t, way.name, way.write(t, newSigner(t), text(2), from(0)), "client address")
		if after := heads(t, url); after != before {
			t.Errorf("%s: a log has moved", way.name)
		}
		if got := way.write(t, newSigner(t), text(3), from(1)); got.status != 201 {
			t.Errorf("%s, another network: %+v", way.name, got)
		}
	}

	// One identity over all ways, from one address: its quota ends, and the address is not touched.
	all := ways(t, s.at["tlog"])
	const office = "192.0.2.1"
	for n := range 3 {
		if got := all[n].write(t, dev, fmt.Sprint("dev", n), office); got.status != 201 {
			t.Errorf("dev, %d: %+v", n, got)
		}
	}
	before := heads(t, url)
	for _, way := range all {
		for n := range 3 {
			used(t, way.name, way.write(t, dev, fmt.Sprint("dev", way.name, n), office), "identity")
		}
	}
	if after := heads(t, url); after != before {
		t.Error("a log has moved")
	}
	for n := range 3 {
		if got := all[n+3].write(t, ops, fmt.Sprint("ops", n), office); got.status != 201 {
			t.Errorf("ops starves: %+v", got)
		}
	}
	used(t, "ops", all[0].write(t, ops, "ops, once more", office), "identity")

	// What the log has already is paid by the address of the one who sends it.
	again := ops.v1(t, "sent again")
	post := func(from string) said { return postFrom(t, url+"/api/v1/log/entries", again, from) }
	editFile(t, file, "identity: 3/1h", "identity: 2/1h")
	await(t, "the new quota counts, from the beginning", reloadTime, func() bool { return post("192.0.2.2").status == 201 })
	for range 2 {
		if got := post("192.0.2.3"); got.status != http.StatusConflict {
			t.Errorf("a duplicate: %+v", got)
		}
	}
	used(t, "a third duplicate", post("192.0.2.3"), "client address")
	if got := all[0].write(t, ops, "ops, the second of two", office); got.status != 201 {
		t.Errorf("others have sent what ops had signed: %+v", got)
	}
	if !strings.Contains(get(t, url+"/metrics"), `sigbox_quota_refused_total{quota="client address",service="tlog"} 7`) {
		t.Error("the metrics do not count what was refused")
	}
	if text := r.stderr.String(); !strings.Contains(text, "the quota of this identity is used up (3/1h)") {
		t.Error("the log does not say what was refused")
	}
}

// TestAuthorityQuotas: the certificate authority and the timestamp authority have quotas of their own.
func TestAuthorityQuotas(t *testing.T) {
	s := newTrio(t)
	other := otherIssuer(t, s.dir+"/other-issuer.pem")
	s.writeIssuers(t, "http://"+s.at["issuer"], other)
	s.serve(t, s.config(t, "logging:", "trusted_proxies: [127.0.0.1]\nlogging:", "  issuers: issuers.yaml\n", "  issuers: issuers.yaml\n  quotas: {address: 2/1h, identity: 3/1h, issuer: 5/1h}\n",
		"tsa: {key: tsa.pem, ", "tsa: {quotas: {address: 2/1h}, key: tsa.pem, "))
	tlog, authority := "http://"+s.at["tlog"], "http://"+s.at["ca"]
	token := func(issuer, email string) string {
		text, err := devidp.FetchToken(t.Context(), issuer, map[string]any{"email": email})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	home := "http://" + s.at["issuer"]
	ask := func(issuer, email, from string) said {
		return postFrom(t, authority+"/api/v2/signingCert", signingRequest(t, newSigner(t), token(issuer, email), email), from)
	}
	granted := func(name string, got said) {
		t.Helper()
		if got.status != http.StatusOK {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for range 3 {
		granted("dev", ask(home, "dev@example.com", "192.0.2.1"))
	}
	before := heads(t, tlog)
	for range 3 {
		used(t, "dev", ask(home, "dev@example.com", "192.0.2.1"), "identity")
	}
	if after := heads(t, tlog); after != before {
		t.Error("the CT log has moved")
	}
	granted("ops, at the same address", ask(home, "ops@example.com", "192.0.2.1"))
	granted("another, at the same address", ask(home, "another@example.com", "192.0.2.1"))
	used(t, "the sixth of the issuer", ask(home, "sixth@example.com", "192.0.2.1"), "issuer")
	granted("another issuer, at the same address", ask(other, "dev@example.com", "192.0.2.1"))
	bad := func(from string) said {
		return postFrom(t, authority+"/api/v2/signingCert", signingRequest(t, newSigner(t), "x.y.z", "dev@example.com"), from)
	}
	for range 2 {
		if got := bad("192.0.2.2"); got.status != http.StatusBadRequest {
			t.Errorf("a bad token: %+v", got)
		}
	}
	used(t, "the third bad token", bad("192.0.2.2"), "client address")
	if got := postFrom(t, authority+"/api/v1/signingCert", []byte("{}"), "192.0.2.2"); got.status != http.StatusTooManyRequests {
		t.Errorf("v1: %+v", got)
	}
	stamp := func(from string) said {
		return postFrom(t, authority+"/api/v1/timestamp", []byte(`{"artifactHash":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=","hashAlgorithm":"sha256"}`), from)
	}
	for range 2 {
		if got := stamp("192.0.2.2"); got.status != http.StatusCreated {
			t.Errorf("timestamp: %+v", got)
		}
	}
	used(t, "the third timestamp", stamp("192.0.2.2"), "client address")
	for _, path := range []string{"/ct/checkpoint", "/ct/tile/entries/000.p/2"} { // beside RFC 6962
		if status, text, _, err := answer(t.Context(), http.MethodGet, tlog+path, nil); err != nil || status != http.StatusOK {
			t.Errorf("%s: %d %q %v", path, status, text, err)
		}
	}
	overGRPC := timestamps(t, authority)
	used(t, "another one, over gRPC", overGRPC("192.0.2.2"), "client address")
	if got := overGRPC("192.0.2.4"); got.status != http.StatusCreated {
		t.Errorf("over gRPC, for another address: %+v", got)
	}
	if got := stamp("192.0.2.3"); got.status != http.StatusCreated {
		t.Errorf("a timestamp for another address: %+v", got)
	}
	if got := postFrom(t, tlog+"/api/v1/log/entries", newSigner(t).v1(t, "x"), "192.0.2.2"); got.status != http.StatusCreated {
		t.Errorf("the logs have no quota: %+v", got)
	}
}

// timestamps returns what has a digest stamped over gRPC, for an address that a proxy says.
func timestamps(t *testing.T, url string) func(from string) said {
	t.Helper()
	conn, err := grpc.NewClient(strings.TrimPrefix(url, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	query, err := (&timestamp.Request{HashAlgorithm: crypto.SHA256, HashedMessage: make([]byte, 32)}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return func(from string) said {
		_, err := tsapb.NewTimestampsClient(conn).Stamp(metadata.AppendToOutgoingContext(t.Context(), "x-forwarded-for", from), &tsapb.StampRequest{TimeStampReq: query})
		return ofRPC(t, err)
	}
}
