package stack

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/peertest"
	"github.com/sigbox/sigbox/tuf/handover"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/statement"
)

// TestSenderOf: the one who brings statements is the one that its certificate names, and no two.
func TestSenderOf(t *testing.T) {
	for _, tc := range []struct{ names, want string }{
		{"ca.sigbox.internal host.example.com", "ca"},
		{"tlog.sigbox.internal", "tlog"},
		{"ca.sigbox.internal tlog.sigbox.internal", ""},
		{"tuf.sigbox.internal", ""},
		{"ca.sigbox.internal.example.com", ""},
		{"x.ca.sigbox.internal", ""},
		{"*.sigbox.internal", ""},
		{"", ""},
	} {
		got, err := senderOf(&x509.Certificate{DNSNames: strings.Fields(tc.names)})
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%q: %q, %v, want %q", tc.names, got, err, tc.want)
		}
	}
}

// TestSenderOfACall: statements are of the service that a call has reached, although its connection has
// others at the other end too, and whatever the DNS says of balancing.
func TestSenderOfACall(t *testing.T) {
	dir := t.TempDir()
	authority := peertest.New(t, "peers")
	authority.Write(t, filepath.Join(dir, "peers.pem"))
	identityOf := func(service string) *identity {
		authority.Issue(t, dir, service, service)
		id := &identity{}
		if err := id.load(config.File(filepath.Join(dir, service+".crt")), config.KeyFile(filepath.Join(dir, service+".key")), config.File(filepath.Join(dir, "peers.pem"))); err != nil {
			t.Fatal(err)
		}
		return id
	}
	var at []resolver.Address
	for _, service := range []string{"ca", "tlog"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		g := grpc.NewServer(grpc.Creds(credentials.NewTLS(identityOf(service).peerServer())))
		handover.NewServer(func() [][]byte { return [][]byte{[]byte(service)} }).RegisterGRPC(g)
		go func() { _ = g.Serve(ln) }() // until it is stopped
		t.Cleanup(g.Stop)
		at = append(at, resolver.Address{Addr: ln.Addr().String(), ServerName: "localhost"})
	}
	names := manual.NewBuilderWithScheme("dns")
	names.BuildCallback = func(_ resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) {
		names.InitialState(resolver.State{Addresses: at, ServiceConfig: cc.ParseServiceConfig(`{"loadBalancingConfig": [{"pick_first": {}}]}`)})
	}
	conn, err := dialSource(identityOf("tuf"), "peers.example.com:9443", grpc.WithResolvers(names))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	seen := map[string]bool{}
	for end := time.Now().Add(10 * time.Second); len(seen) < 2 && time.Now().Before(end); {
		sender, list, err := fetchFrom(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != 1 || string(list[0]) != sender {
			t.Fatalf("%s is said to have brought %q", sender, list)
		}
		seen[sender] = true
	}
	if len(seen) < 2 {
		t.Errorf("only these were asked: %v", seen)
	}
}

// TestSays: what a record says already is no news, whenever it was said; anything else is.
func TestSays(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	said := statement.Statement{
		Instance: "00112233", Role: statement.CT, URL: "https://log.example.com", Origin: "log.example.com/ct", Key: key.Public(),
		ValidFrom: start, Made: start.Add(time.Hour),
	}
	rec, changed, err := record.New("00112233", "example.com").Take(said, "tlog", start.Add(2*time.Hour))
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	for _, tc := range []struct {
		name   string
		change func(*statement.Statement)
		want   bool
	}{
		{"the same", func(*statement.Statement) {}, true},
		{"earlier", func(s *statement.Statement) { s.Made = start }, true},
		{"later", func(s *statement.Statement) { s.Made = start.Add(48 * time.Hour) }, true},
		{"another URL", func(s *statement.Statement) { s.URL += ".org" }, false},
		{"another role", func(s *statement.Statement) { s.Role = statement.RekorV2 }, false},
		{"another instance", func(s *statement.Statement) { s.Instance = "44556677" }, false},
		{"another start", func(s *statement.Statement) { s.ValidFrom = start.Add(time.Second) }, false},
	} {
		s := said
		tc.change(&s)
		if got := says(rec, s); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
	rec.Keys[0].End = start.Add(time.Hour)
	if says(rec, said) {
		t.Error("a key that was retired is said to be in use")
	}
}
