package stack

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/ca/profile"
	"github.com/sigbox/sigbox/ca/rules"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/oidc/devidp"
)

const oneIssuer = `oidc-issuers: {%q: {issuer-url: %q, client-id: sigstore, type: email}}
`

// TestIssuers: an authority knows the issuers of the file and the development issuers, each once.
func TestIssuers(t *testing.T) {
	const file, own, other = "https://file.example.com", "http://127.0.0.1:1", "http://127.0.0.1:2"
	for _, tc := range []struct {
		name  string
		file  string // issuer
		own   string
		other []string
		want  string
	}{
		{"the file's", file, "", nil, file},
		{"without a file", "", own, nil, own},
		{"all", file, own, []string{other}, file + " " + other + " " + own},
		{"its own with its keys", "", own, []string{own}, own},
		{"its own in the file", own, own, nil, own},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			cfg := &config.Config{CA: &config.CA{}}
			if tc.file != "" {
				put(t, dir, "issuers.yaml", fmt.Sprintf(oneIssuer, tc.file, tc.file), 0o644)
				cfg.CA.Issuers = config.File(filepath.Join(dir, "issuers.yaml"))
			}
			if tc.own != "" {
				cfg.Issuer = &config.Issuer{PublicURL: config.Origin(tc.own)}
			}
			for _, url := range tc.other {
				cfg.CA.IssuerKeys = append(cfg.CA.IssuerKeys, config.IssuerKeys{Issuer: config.IssuerURL(url), Development: true})
			}
			known, err := Issuers(cfg)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, i := range known.Issuers {
				got = append(got, i.URL)
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

// TestIssuersReload: what a request is decided by stays together when the files change, and a development
// issuer is said where it is turned on.
func TestIssuersReload(t *testing.T) {
	const first, second, dev = "https://first.example.com", "https://second.example.com", "http://127.0.0.1:2"
	dir := t.TempDir()
	idp, err := devidp.New(devidp.Config{Issuer: dev, Key: newKey(t, keys.NewRSA), Clock: clock.System{}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := json.Marshal(idp.JWKS())
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "jwks.json", string(jwks), 0o644)
	cfg := &config.Config{CA: &config.CA{Issuers: config.File(filepath.Join(dir, "issuers.yaml")), Rules: config.File(filepath.Join(dir, "rules.yaml"))}}
	var log bytes.Buffer
	i := &issuers{clock: clock.System{}, log: slog.New(slog.NewTextHandler(&log, nil))}
	for _, tc := range []struct {
		name        string
		issuer      string // of both files
		development bool
		warned      bool
	}{
		{"at start", first, false, false},
		{"another issuer", second, false, false},
		{"a development issuer", second, true, true},
		{"the same again", second, true, false},
		{"no development issuer", second, false, false},
		{"it is back", second, true, true},
	} {
		before := i.now.Load()
		put(t, dir, "issuers.yaml", fmt.Sprintf(oneIssuer, tc.issuer, tc.issuer), 0o644)
		put(t, dir, "rules.yaml", tc.issuer+":\n  - {name: nobody, allow: 'false', reason: ask us}\n", 0o644)
		cfg.CA.IssuerKeys = nil
		if tc.development {
			cfg.CA.IssuerKeys = []config.IssuerKeys{{Issuer: dev, Keys: config.File(filepath.Join(dir, "jwks.json")), Development: true}}
		}
		log.Reset()
		if err := i.load(t.Context(), cfg); err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		now := i.now.Load()
		tok, err := now.config.Unverified([]byte(fmt.Sprintf(`{"iss":%q,"sub":"x","email":"dev@example.com"}`, tc.issuer)))
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		var denied *rules.DeniedError
		if _, err := i.trust().Rules.Decide(tok, profile.Identity{}); !errors.As(err, &denied) {
			t.Errorf("%s: the rule does not decide: %v", tc.name, err)
		}
		if got := strings.Contains(log.String(), "FOR DEVELOPMENT") && strings.Contains(log.String(), dev); got != tc.warned {
			t.Errorf("%s: warned %v: %s", tc.name, got, log.String())
		}
		if before != nil && before.config.Issuers[0].URL != tc.issuer {
			if _, err := before.rules.Decide(tok, profile.Identity{}); err == nil {
				t.Errorf("%s: the rules before it allow an issuer that they do not know", tc.name)
			}
		}
		if kept := before != nil && before.verifier == now.verifier; kept != (tc.name == "the same again") {
			t.Errorf("%s: the verifier is kept: %v", tc.name, kept)
		}
	}
}
