//go:build postgres

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/peertest"
	tlogpb "github.com/sigbox/sigbox/proto/sigbox/tlog/v1"
	trustpb "github.com/sigbox/sigbox/proto/sigbox/trust/v1"
	"github.com/sigbox/sigbox/tuf/statement"
)

// dialPeer connects to a peers listener with a certificate of the site's directory, "" for none.
func (s *trio) dialPeer(t *testing.T, service, name string) *grpc.ClientConn {
	t.Helper()
	cfg := &tls.Config{InsecureSkipVerify: true}
	if name != "" && name != "plain" {
		pair, err := tls.LoadX509KeyPair(filepath.Join(s.dir, name+".crt"), filepath.Join(s.dir, name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		// Not Certificates, of which the client would choose one that the server says it takes.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	creds := credentials.NewTLS(cfg)
	if name == "plain" {
		creds = insecure.NewCredentials()
	}
	conn, err := grpc.NewClient("passthrough:///"+s.at[service+".peers"], grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// TestPeers runs three services that talk to each other over mutual TLS, and knocks at their listeners
// with every certificate that is not the right one.
func TestPeers(t *testing.T) {
	s := newTrio(t)
	s.peers.Issue(t, s.dir, "expired", "ca", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	s.peers.Issue(t, s.dir, "nobody", "nobody")
	s.peers.Issue(t, s.dir, "server", "ca", func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] })
	peertest.New(t, "others").Issue(t, s.dir, "stranger", "ca")
	peertest.New(t, "peers").Issue(t, s.dir, "namesake", "ca") // an authority of the same name
	file := s.config(t)
	runs := map[string]*instanceRun{}
	for _, service := range []string{"issuer", "tlog", "ca", "tuf"} {
		runs[service] = s.serve(t, file, service)
	}
	s.certified(t)

	getLogAs := func(ctx context.Context, c *grpc.ClientConn) error {
		_, err := tlogpb.NewLogsClient(c).GetLog(ctx, &tlogpb.GetLogRequest{Log: "ct"})
		return err
	}
	getLog := func(c *grpc.ClientConn) error { return getLogAs(t.Context(), c) }
	claims := func(c *grpc.ClientConn) error {
		return getLogAs(metadata.AppendToOutgoingContext(t.Context(), "x-ssl-client-verify", "SUCCESS", "x-ssl-client", "CN=ca",
			"x-ssl-client-s-dn", "CN=ca", "x-forwarded-client-cert", "Subject=\"CN=ca\"", "x-client-cert", "CN=ca"), c)
	}
	appendTo := func(log string) func(*grpc.ClientConn) error {
		return func(c *grpc.ClientConn) error {
			_, err := tlogpb.NewLogsClient(c).Append(t.Context(), &tlogpb.AppendRequest{Log: log, Entry: &tlogpb.AppendRequest_Precertificate{}})
			return err
		}
	}
	list := func(c *grpc.ClientConn) error {
		_, err := trustpb.NewStatementsClient(c).List(t.Context(), &trustpb.ListRequest{})
		return err
	}
	follow := func(c *grpc.ClientConn) error {
		stream, err := tlogpb.NewLogsClient(c).Follow(t.Context(), &tlogpb.FollowRequest{Log: "ct"})
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	listLogs := func(c *grpc.ClientConn) error {
		_, err := tlogpb.NewLogsClient(c).ListLogs(t.Context(), &tlogpb.ListLogsRequest{})
		return err
	}
	for _, tc := range []struct {
		name, service, certificate string
		call                       func(*grpc.ClientConn) error
		code                       codes.Code
		want                       string
	}{
		{"the CA asks for the log", "tlog", "ca", getLog, codes.OK, ""},
		{"the CA appends nothing", "tlog", "ca", appendTo("ct"), codes.InvalidArgument, "chain"},
		{"the CA appends to another log", "tlog", "ca", appendTo("rekor-v2"), codes.NotFound, "rekor-v2"},
		{"tuf lists the CA's statements", "ca", "tuf", list, codes.OK, ""},
		{"tuf lists the logs' statements", "tlog", "tuf", list, codes.OK, ""},
		{"in the clear", "tlog", "plain", getLog, codes.Unavailable, ""},
		{"no certificate", "tlog", "", getLog, codes.Unavailable, ""},
		{"no certificate at the CA", "ca", "", list, codes.Unavailable, ""},
		{"an expired certificate", "tlog", "expired", getLog, codes.Unavailable, ""},
		{"a certificate of another authority", "tlog", "stranger", getLog, codes.Unavailable, ""},
		{"a certificate of another authority of the same name", "tlog", "namesake", getLog, codes.Unavailable, ""},
		{"a certificate that is for servers", "tlog", "server", getLog, codes.Unavailable, ""},
		{"a certificate without a service", "tlog", "nobody", getLog, codes.PermissionDenied, "is for ca"},
		{"tuf asks for the log", "tlog", "tuf", getLog, codes.PermissionDenied, "is for ca"},
		{"tuf says that it is the CA, in the headers of proxies", "tlog", "tuf", claims, codes.PermissionDenied, "is for ca"},
		{"nobody says that it is the CA", "tlog", "", claims, codes.Unavailable, ""},
		{"tuf appends", "tlog", "tuf", appendTo("ct"), codes.PermissionDenied, "is for ca"},
		{"the log appends to itself", "tlog", "tlog", appendTo("ct"), codes.PermissionDenied, "is for ca"},
		{"the CA lists the logs' statements", "tlog", "ca", list, codes.PermissionDenied, "is for tuf"},
		{"the log lists the CA's statements", "ca", "tlog", list, codes.PermissionDenied, "is for tuf"},
		{"the CA lists logs", "tlog", "ca", listLogs, codes.PermissionDenied, "is not for other services"},
		{"the CA follows the log", "tlog", "ca", follow, codes.PermissionDenied, "is not for other services"},
		{"the CA appends to the CA", "ca", "ca", appendTo("ct"), codes.Unimplemented, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.call(s.dialPeer(t, tc.service, tc.certificate))
			if status.Code(err) != tc.code || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %s %q", err, tc.code, tc.want)
			}
		})
	}
	t.Run("what they say opens", s.statementsOpen)
	t.Run("a line for each call", func(t *testing.T) {
		for _, want := range []string{
			`"method":"gRPC","route":"/sigbox.tlog.v1.Logs/Append","status":"OK","bytes":`, `"route":"/sigbox.tlog.v1.Logs/Append","status":"PermissionDenied"`,
			`"route":"/sigbox.tlog.v1.Logs/Follow","status":"PermissionDenied"`,
		} {
			await(t, want, 5*time.Second, func() bool { return strings.Contains(runs["tlog"].stderr.String(), want) })
		}
	})
}

// statementsOpen fetches all statements.
func (s *trio) statementsOpen(t *testing.T) {
	var got []string
	for _, service := range []string{"ca", "tlog"} {
		answer, err := trustpb.NewStatementsClient(s.dialPeer(t, service, "tuf")).List(t.Context(), &trustpb.ListRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range answer.GetStatements() {
			st, err := statement.Open(raw)
			if err != nil {
				t.Errorf("%s: %v", service, err)
			}
			got = append(got, string(st.Role)+" "+st.URL+" "+st.Origin+" "+strings.Join(st.Issuers, ","))
		}
	}
	want := []string{
		"ca http://" + s.at["ca"] + "  http://" + s.at["issuer"], "tsa http://" + s.at["ca"] + "/api/v1/timestamp  ",
		"rekor-v1 http://" + s.at["tlog"] + " 127.0.0.1 - 1193046 ", "rekor-v2 http://" + s.at["tlog"] + " 127.0.0.1 ", "ct http://" + s.at["tlog"] + " 127.0.0.1/ct ",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("statements:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestWrongServer: the CA takes promises of nobody but a tlog with the right key.
func TestWrongServer(t *testing.T) {
	s := newTrio(t)
	s.peers.Issue(t, s.dir, "false", "ca")
	s.peers.Issue(t, s.dir, "elsewhere", "tlog", func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, c.DNSNames[:1] })
	peertest.New(t, "others").Issue(t, s.dir, "stranger", "tlog")
	for _, tc := range []struct{ name, certificate, want string }{
		{"a log that shows the certificate of a CA", "false", "is no tlog"},
		{"a log of another host", "elsewhere", "127.0.0.1"},
		{"a log of another authority", "stranger", "unknown authority"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, ext := range []string{".crt", ".key"} { // not what config check would let through
				raw, err := os.ReadFile(filepath.Join(s.dir, tc.certificate+ext))
				if err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(s.dir, "shown"+ext), string(raw))
			}
			ln, err := tls.Listen("tcp", s.at["tlog.peers"], falseServer(t, s.dir))
			if err != nil {
				t.Fatal(err)
			}
			g := grpc.NewServer()
			go func() { _ = g.Serve(ln) }() // until it is stopped
			defer g.Stop()
			r := s.serve(t, s.config(t), "ca")
			await(t, "it says at start: "+tc.want, 5*time.Second, func() bool { return strings.Contains(r.stderr.String(), tc.want) })
			if code := r.stop(t, syscall.SIGTERM); code != 0 {
				t.Errorf("exit code %d:\n%s", code, r.stderr)
			}
		})
	}
	t.Run("another key", func(t *testing.T) {
		s.serve(t, s.config(t), "tlog")
		_, stderr, code := run(t, "serve", "--config", s.config(t, "key: ct.pub", "key: other-ct.pub"), "--only", "ca")
		if code != 1 || !strings.Contains(stderr, "the log has another key") {
			t.Errorf("exit code %d:\n%s", code, stderr)
		}
	})
}

// falseServer shows DIR/shown.crt to everybody.
func falseServer(t *testing.T, dir string) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "shown.crt"), filepath.Join(dir, "shown.key"))
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}, ClientAuth: tls.RequireAnyClientCert}
}

// TestCTLogFails: what the CA answers while its CT log is away, slow, and ended, and how fast.
func TestCTLogFails(t *testing.T) {
	s := newTrio(t, "guard: {file: guard}", "guard: none")
	file := s.config(t)
	s.serve(t, file, "issuer")
	r := s.serve(t, file, "ca")
	await(t, "it says that there is no CT log", 5*time.Second, func() bool {
		return strings.Contains(r.stderr.String(), "no certificate is issued before it answers")
	})
	degraded := func() {
		t.Helper()
		if code, body := readyz(t, "http://"+s.at["ca"]); code != 200 || body.Status != "degraded" || !strings.Contains(body.Checks["ca ct log"], "has taken no precertificate since") {
			t.Errorf("/readyz: %d %+v", code, body)
		}
	}
	degraded()
	f := s.client(t, 6)
	wantRefusal := func(what string, i, code int, text string, limit time.Duration) {
		t.Helper()
		status, body, took := s.sign(t, f, i)
		if status != code || !strings.Contains(body, text) || took > limit {
			t.Errorf("%s: %d %s after %s, want %d %q within %s", what, status, body, took, code, text, limit)
		}
	}
	wantRefusal("down from the start", 0, http.StatusInternalServerError, "Error entering certificate in CTL", 5*time.Second)
	degraded()
	log := s.serve(t, file, "tlog")
	await(t, "a certificate, once the log is there", 10*time.Second, func() bool {
		status, _, _ := s.sign(t, f, 1)
		return status == http.StatusOK
	})
	if _, body := readyz(t, "http://"+s.at["ca"]); body.Status != "ok" {
		t.Errorf("/readyz: %+v", body)
	}
	if err := log.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	wantRefusal("stalled", 2, http.StatusInternalServerError, "Error entering certificate in CTL", 10*time.Second)
	if err := log.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	await(t, "a certificate, once the log goes on", 20*time.Second, func() bool {
		status, _, _ := s.sign(t, f, 3)
		return status == http.StatusOK
	})
	if stdout, stderr, code := run(t, "log", "freeze", "ct", "--config", file, "--yes"); code != 0 {
		t.Fatalf("log freeze: %d\n%s%s", code, stdout, stderr)
	}
	wantRefusal("ended", 4, http.StatusServiceUnavailable, "transparency log is frozen", 5*time.Second)
	if _, body := readyz(t, "http://"+s.at["ca"]); !strings.Contains(body.Checks["ca ct log"], "is frozen") {
		t.Errorf("/readyz: %+v", body)
	}
}

// TestCTReplicas: with two replicas of the log, one that is killed or stalls costs no request more than
// a moment.
func TestCTReplicas(t *testing.T) {
	s := newTrio(t, "guard: {file: guard}", "guard: none")
	second, secondPeers := freeAddr(t), freeAddr(t)
	file := s.config(t, `address: "`+s.at["tlog.peers"]+`"`, `address: ["`+s.at["tlog.peers"]+`", "`+secondPeers+`"]`)
	s.serve(t, file, "issuer")
	s.serve(t, file, "tlog")
	other := s.serve(t, s.config(t, "tlog:\n  listen: "+s.at["tlog"], "tlog:\n  listen: "+second,
		`peers: {listen: "`+s.at["tlog.peers"]+`", certificate: tlog.crt`, `peers: {listen: "`+secondPeers+`", certificate: tlog.crt`), "tlog")
	s.serve(t, file, "ca")
	f := s.client(t, 200)
	next, slowest := 0, time.Duration(0)
	signSome := func(what string, n int) (slow int) {
		t.Helper()
		slowest = 0
		for range n {
			status, text, took := s.sign(t, f, next)
			next++
			if status != http.StatusOK {
				t.Errorf("%s: %d %s", what, status, text)
			}
			if took > 900*time.Millisecond { // the next replica is asked after a second
				slow++
			}
			slowest = max(slowest, took)
		}
		t.Logf("%s: %d certificates, the slowest after %s", what, n, slowest.Round(time.Millisecond))
		return slow
	}
	if slow := signSome("both", 20); slow > 1 {
		t.Errorf("%d were slow", slow)
	}
	if err := other.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if slow := signSome("one stalls", 40); slow > 2 || slowest > 3*time.Second {
		t.Errorf("%d were slow, want little more than the one that finds out", slow)
	}
	if err := other.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if slow := signSome("one is dead", 40); slow > 1 {
		t.Errorf("%d were slow", slow)
	}
}

// TestDatabaseUsersApart: the user of one service can read nothing of another's schema, in the one
// database that they share.
func TestDatabaseUsersApart(t *testing.T) {
	s := newTrio(t)
	admin := s.server.Connect(t, s.database)
	services := []string{"ca", "tlog", "tuf"}
	for _, mine := range services {
		c, err := pgx.Connect(t.Context(), strings.Replace(s.server.URL(s.database), "user=postgres", "user="+s.users[mine], 1))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(context.Background())
		for _, other := range services {
			rows, err := admin.Query(t.Context(), "SELECT table_name::text FROM information_schema.tables WHERE table_schema = $1", other)
			if err != nil {
				t.Fatal(err)
			}
			tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil || len(tables) < 2 {
				t.Fatalf("schema %s: %v %v", other, tables, err)
			}
			for _, table := range tables {
				_, err := c.Exec(t.Context(), "SELECT FROM "+pgx.Identifier{other, table}.Sanitize()+" LIMIT 1")
				if (err == nil) != (mine == other) {
					t.Errorf("the user of %s reads %s.%s: %v", mine, other, table, err)
				}
			}
			if _, err := c.Exec(t.Context(), "SET ROLE sigbox_"+other+"_writer"); (err == nil) != (mine == other) {
				t.Errorf("the user of %s becomes a writer of %s: %v", mine, other, err)
			}
			if _, err := c.Exec(t.Context(), "RESET ROLE"); err != nil {
				t.Fatal(err)
			}
		}
	}
}
