//go:build postgres

package main

import (
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/oidc/devidp"
)

// reloadTime is how long a running serve may take to notice a file.
const reloadTime = 10 * time.Second

// editFile replaces text in a file, in one step.
func editFile(t *testing.T, path, old, new string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(raw), old) {
		t.Fatalf("%s has no %q: %v", path, old, err)
	}
	replaceFile(t, path, strings.Replace(string(raw), old, new, 1))
}

// reloading is a serve whose files a test changes.
type reloading struct {
	*trio
	run    *instanceRun
	file   string
	inside string // URL of operations
}

func newReloading(t *testing.T, top string, only ...string) *reloading {
	t.Helper()
	inside := freeAddr(t)
	s := &reloading{trio: newTrio(t, "level: debug", "level: info", "logging:", top+"operations: {listen: \""+inside+"\"}\nlogging:"), inside: "http://" + inside}
	s.peers.Issue(t, s.dir, "web", "web")
	s.file = s.config(t)
	s.run = s.serve(t, s.file, only...)
	if !s.good(t) {
		t.Fatal("at start the configuration is not good")
	}
	return s
}

func (s *reloading) good(t *testing.T) bool {
	t.Helper()
	return strings.Contains(get(t, s.inside+"/metrics"), "\nsigbox_config_reload_success 1\n")
}

func (s *reloading) says(text string) bool { return strings.Contains(s.run.stderr.String(), text) }

// note is what /readyz says of the configuration.
func (s *reloading) note(t *testing.T) string {
	t.Helper()
	_, body := readyz(t, s.inside)
	return body.Notes["configuration"]
}

// TestReloadCertificate: a certificate that is renewed is shown to those that connect; one that is
// broken changes nothing.
func TestReloadCertificate(t *testing.T) {
	s := newReloading(t, "tls: {certificate: web.crt, key: web.key}\n", "tlog")
	shown := func() string {
		conn, err := tls.Dial("tcp", s.at["tlog"], &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if shown() != "web" {
		t.Fatalf("at start %s is shown", shown())
	}
	s.peers.Issue(t, s.dir, "renewed", "web")
	for _, ext := range []string{".key", ".crt"} {
		if err := os.Rename(filepath.Join(s.dir, "renewed"+ext), filepath.Join(s.dir, "web"+ext)); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the renewed certificate is shown", reloadTime, func() bool { return shown() == "renewed" })
	path := filepath.Join(s.dir, "web.crt")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	replaceFile(t, path, "nonsense")
	await(t, "metrics say that a file is wrong", reloadTime, func() bool { return !s.good(t) })
	if shown() != "renewed" || !s.says("configuration refused") || !s.says("tls.certificate") || !strings.Contains(s.note(t), "is wrong") {
		t.Errorf("%s is shown; /readyz: %q; the log:\n%s", shown(), s.note(t), s.run.stderr)
	}
	replaceFile(t, path, string(before))
	await(t, "metrics say that all is well again", reloadTime, func() bool { return s.good(t) })
	if note := s.note(t); note != "" {
		t.Errorf("/readyz: %q", note)
	}
}

// TestReload changes one thing after the other in a configuration, and in the files that it names, while
// everything runs: what is right counts soon, what is wrong changes nothing and is said.
func TestReload(t *testing.T) {
	s := newReloading(t, "")
	t.Run("at SIGHUP, without a change", func(t *testing.T) {
		if err := s.run.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		await(t, "the log says that it was the signal", reloadTime, func() bool { return s.says(`"because":"SIGHUP"`) })
	})
	t.Run("the log level", func(t *testing.T) {
		editFile(t, s.file, "level: info", "level: warn")
		await(t, "no more lines of requests", reloadTime, func() bool {
			before := strings.Count(s.run.stderr.String(), `"msg":"request"`)
			s.ask(t, "/api/v2/checkpoint", nil)
			return strings.Count(s.run.stderr.String(), `"msg":"request"`) == before
		})
	})
	t.Run("proxies, and a line for each request", func(t *testing.T) {
		editFile(t, s.file, "level: warn", "level: info")
		editFile(t, s.file, "logging:", "trusted_proxies: [127.0.0.1]\nlogging:")
		await(t, "the address that the proxy says is in the log", reloadTime, func() bool {
			s.ask(t, "/api/v2/checkpoint", http.Header{"X-Forwarded-For": {"192.0.2.99"}})
			return s.says(`"client":"192.0.2.99"`)
		})
	})
	t.Run("issuers", func(t *testing.T) {
		other := otherIssuer(t, filepath.Join(s.dir, "other-issuer.pem"))
		token := func() int {
			f := s.client(t, 1)
			var err error
			if f.Token, err = devidp.FetchToken(t.Context(), other, map[string]any{"email": "dev@example.com"}); err != nil {
				t.Fatal(err)
			}
			status, _, _ := s.sign(t, f, 0)
			return status
		}
		if got := token(); got != http.StatusBadRequest {
			t.Errorf("a token of an issuer that is not there: %d", got)
		}
		s.writeIssuers(t, "http://"+s.at["issuer"], other)
		await(t, "the new issuer's token is taken", reloadTime, func() bool { return token() == http.StatusOK })
		replaceFile(t, filepath.Join(s.dir, "issuers.yaml"), "oidc-issuers: [nonsense]\n")
		await(t, "metrics say that the issuers are wrong", reloadTime, func() bool { return !s.good(t) })
		if got := token(); got != http.StatusOK {
			t.Errorf("with broken issuers: %d", got)
		}
		s.writeIssuers(t, "http://"+s.at["issuer"])
		await(t, "the issuer that went is refused", reloadTime, func() bool { return token() == http.StatusBadRequest })
	})
	t.Run("rules", func(t *testing.T) {
		rules := filepath.Join(s.dir, "rules.yaml")
		write := func(allow string) {
			replaceFile(t, rules, "http://"+s.at["issuer"]+":\n  - {name: nobody else, allow: '"+allow+"', reason: ask us}\n")
		}
		sign := func() int {
			status, _, _ := s.sign(t, s.client(t, 1), 0)
			return status
		}
		editFile(t, s.file, "  issuers: issuers.yaml", "  issuers: issuers.yaml\n  rules: rules.yaml")
		await(t, "metrics say that there is no such file", reloadTime, func() bool { return !s.good(t) })
		if got := sign(); got != http.StatusOK {
			t.Errorf("with rules that are not there: %d", got)
		}
		write("false") // the file comes after its name
		await(t, "who is not allowed is refused", reloadTime, func() bool { return sign() == http.StatusForbidden })
		await(t, "the log names the rule", reloadTime, func() bool { return s.says(`"rule":"nobody else"`) })
		write("nonsense")
		await(t, "metrics say that the rules are wrong", reloadTime, func() bool { return !s.good(t) })
		if got := sign(); got != http.StatusForbidden {
			t.Errorf("with broken rules: %d", got)
		}
		write("true")
		await(t, "who is allowed signs", reloadTime, func() bool { return sign() == http.StatusOK })
	})
	t.Run("a configuration that is broken", func(t *testing.T) {
		editFile(t, s.file, "poll: 100ms", "poll: often")
		await(t, "the log names the key", reloadTime, func() bool { return s.says("tlog.poll") })
		await(t, "metrics say that it is wrong", reloadTime, func() bool { return !s.good(t) })
		editFile(t, s.file, "poll: often", "poll: 100ms")
		await(t, "metrics say that all is well again", reloadTime, func() bool { return s.good(t) })
	})
	t.Run("what needs a restart", func(t *testing.T) {
		editFile(t, s.file, "poll: 100ms", "poll: 250ms")
		await(t, "/readyz names it", reloadTime, func() bool {
			return s.note(t) == "a restart is needed for tlog.poll"
		})
		editFile(t, s.file, "poll: 250ms", "poll: 100ms")
		await(t, "/readyz names it no more", reloadTime, func() bool {
			return s.note(t) == ""
		})
	})
	s.certified(t)
	if code := s.run.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d:\n%s", code, s.run.stderr)
	}
}

// ask gets a path of the logs.
func (s *reloading) ask(t *testing.T, path string, header http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.at["tlog"]+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
}

// otherIssuer runs another issuer.
func otherIssuer(t *testing.T, keyFile string) (url string) {
	t.Helper()
	key, err := keys.Load(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url = "http://" + ln.Addr().String()
	idp, err := devidp.New(devidp.Config{Issuer: url, Key: key, Clock: clock.System{}})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	idp.Register(mux)
	srv := &http.Server{Handler: mux}
	go func() { _ = srv.Serve(ln) }() // until it is closed
	t.Cleanup(func() { _ = srv.Close() })
	return url
}
