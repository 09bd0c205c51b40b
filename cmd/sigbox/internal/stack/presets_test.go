package stack

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/oidc/presets"
)

// TestPresets: a configuration with every preset, one line each, takes the token of each one's fixture,
// and says the name that the fixture says.
func TestPresets(t *testing.T) {
	list, err := presets.All()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	key := newKey(t, keys.NewRSA)
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1"}}})
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "jwks.json", string(jwks), 0o644)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	type fixture struct {
		Parameters map[string]string
		Claims     map[string]any
		SAN        string
	}
	fixtures := map[string]fixture{}
	var lines, pins strings.Builder
	for _, p := range list {
		raw, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "oidc", "presets", "testdata", p.Name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var f fixture
		if err := json.Unmarshal(raw, &f); err != nil {
			t.Fatal(err)
		}
		fixtures[p.Name] = f
		line := "name: " + p.Name
		for name, v := range f.Parameters {
			line += fmt.Sprintf(", %s: %q", name, v)
		}
		fmt.Fprintf(&lines, "    - {%s}\n", line)
		fmt.Fprintf(&pins, "    - {issuer: %q, keys: jwks.json}\n", f.Claims["iss"])
	}
	cfg, err := config.Parse(filepath.Join(dir, "sigbox.yaml"), []byte(`public_url: https://sigstore.example.com
ca:
  database: host=ca
  key: ca.key
  chain: ca.pem
  ct: {address: "tlog:9443", log: ct, key: ct.pub}
  peers: {certificate: p.crt, key: p.key, authorities: p.pem}
  presets:
`+lines.String()+"  issuer_keys:\n"+pins.String()))
	if err != nil {
		t.Fatal(err)
	}
	at := clock.NewManual(time.Unix(1795600010, 0)) // when the fixtures' tokens are valid
	for _, p := range list {
		f := fixtures[p.Name]
		payload, err := json.Marshal(f.Claims)
		if err != nil {
			t.Fatal(err)
		}
		jws, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := jws.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		report, err := ExplainToken(t.Context(), cfg, raw, at)
		if err != nil {
			t.Fatal(err)
		}
		if why := report.Refused(); len(why) > 0 || report.Identity == nil || report.Identity.SANText != f.SAN {
			t.Errorf("%s: refused for %q, %+v", p.Name, why, report.Identity)
		}
	}
}

// TestPresetFiles: each row is one thing about the files of presets, and of those beside them.
func TestPresetFiles(t *testing.T) {
	gitlab := config.Preset{Name: "gitlab-self-managed", URL: "https://gitlab.example.com"}
	for _, tc := range []struct {
		name    string
		file    string // the issuer of the file of issuers
		presets []config.Preset
		pem     string // of the first preset
		want    string // an error; "" for none
	}{
		{"beside the file", "https://sso.example.com", []config.Preset{gitlab, {Name: "github"}}, "", ""},
		{"in the file too", "https://gitlab.example.com", []config.Preset{gitlab}, "", `presets[0] (gitlab-self-managed): issuer "https://gitlab.example.com" is configured twice`},
		{"twice", "", []config.Preset{{Name: "github"}, {Name: "github"}}, "", "presets[1] (github): issuer"},
		{"roots that are none", "", []config.Preset{gitlab}, "no PEM", "ca-cert holds no PEM certificate"},
		{"plain HTTP", "", []config.Preset{{Name: "gitlab-self-managed", URL: "http://gitlab.example.com"}}, "", "uses http beyond loopback"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			c := &config.CA{Presets: tc.presets}
			if tc.file != "" {
				put(t, dir, "issuers.yaml", fmt.Sprintf(oneIssuer, tc.file, tc.file), 0o644)
				c.Issuers = config.File(filepath.Join(dir, "issuers.yaml"))
			}
			if tc.pem != "" {
				put(t, dir, "root.pem", tc.pem, 0o644)
				c.Presets[0].Certificates = config.File(filepath.Join(dir, "root.pem"))
			}
			known, err := Issuers(&config.Config{CA: c})
			if tc.want == "" {
				if err != nil || len(known.Issuers) != 3 {
					t.Errorf("%v %+v", err, known)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %s", err, tc.want)
			}
		})
	}
}
