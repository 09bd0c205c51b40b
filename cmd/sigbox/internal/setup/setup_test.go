package setup

import (
	"strings"
	"testing"
)

// TestWithoutUser: what is kept of a connection string has no secret in it, however it was written.
func TestWithoutUser(t *testing.T) {
	for in, want := range map[string]string{
		"":                                 "",
		"postgres://db.example.com/sigbox": "postgres://db.example.com/sigbox",
		"postgres://admin:hunter2@db.example.com:5432/sigbox?sslmode=verify-full": "postgres://db.example.com:5432/sigbox?sslmode=verify-full",
		"postgresql:///sigbox?host=/run/postgresql&user=admin&password=hunter2":   "postgresql:///sigbox?host=%2Frun%2Fpostgresql",
	} {
		if got, err := WithoutUser(in); err != nil || got != want {
			t.Errorf("%s: %s %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"host=db password=hunter2", "mysql://a:hunter2@db/x", "postgres://a:hunter2%@db/x", "hunter2"} {
		if _, err := WithoutUser(in); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", in, err)
		}
	}
	if got, err := withUser("postgres://admin:hunter2@db/x?user=admin", "sigbox_ca"); err != nil || got != "postgres://sigbox_ca@db/x" {
		t.Errorf("%s %v", got, err)
	}
}

// TestListen: where services listen if nobody says so.
func TestListen(t *testing.T) {
	for in, want := range map[string]string{
		"http://127.0.0.1:8099":        "127.0.0.1:8099",
		"http://localhost:8099":        "localhost:8099",
		"http://[::1]:8099":            "[::1]:8099",
		"http://127.0.0.1":             "127.0.0.1:3000",
		"https://sigstore.example.com": "127.0.0.1:3000",
		"http://192.0.2.7:8099":        "127.0.0.1:3000",
	} {
		if got := listenFor(in, "3000"); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]string{"127.0.0.1:9443": "127.0.0.1:9443", "localhost:9443": "localhost:9443", "tlog:9443": "0.0.0.0:9443", "192.0.2.7:9443": "0.0.0.0:9443"} {
		if got := peerListen(in); got != want {
			t.Errorf("peers at %s: %s, want %s", in, got, want)
		}
	}
}

// TestYAMLText: what comes from flags is one text in the configuration, whatever it looks like.
func TestYAMLText(t *testing.T) {
	for in, want := range map[string]string{
		"a b": `"a b"`, `a"b\`: `"a\"b\\"`, "": `""`, "- x": `"- x"`, "a#b": `"a#b"`, "a: b": `"a: b"`, "/srv/x.pem": "/srv/x.pem",
		"postgres://u@h:5432/d?sslmode=disable": "postgres://u@h:5432/d?sslmode=disable",
	} {
		if got := yamlText(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// TestDifferent: a choice that is not said is as it is; one that is said otherwise is named.
func TestDifferent(t *testing.T) {
	have := Plan{Choices: Choices{URLs: Services{CA: "http://a"}, Guard: "none", PeerNames: []string{"tlog=x"}}}
	for name, row := range map[string]struct {
		say  Choices
		want string
	}{
		"nothing":    {Choices{}, ""},
		"the same":   {have.Choices, ""},
		"a URL":      {Choices{URLs: Services{CA: "http://b"}}, "urls.ca: http://a there, http://b asked for"},
		"a new URL":  {Choices{URLs: Services{TUF: "http://b"}}, "urls.tuf: "},
		"a list":     {Choices{PeerNames: []string{"tlog=y"}}, "peer_names: "},
		"production": {Choices{Production: true}, "production: "},
	} {
		err := have.agree(row.say)
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", name, err, row.want)
		}
	}
}
