package profile

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/fulcio/pkg/config"

	"github.com/sigbox/sigbox/oidc"
	"github.com/sigbox/sigbox/oidc/presets"
)

// presetFixture is a token as the issuer of a preset publishes it, and the certificate that it gets.
type presetFixture struct {
	Source struct {
		Document, URL, Version, Note string
		Read                         string // the day, YYYY-MM-DD
	}
	Recorded   bool // a real issuer made the token, and not somebody who read its documentation
	Parameters map[string]string
	Claims     map[string]any
	Required   []string // claims without which there is no certificate
	SAN        string
	Extensions map[string]string // text by the last number of the OID: all of them
}

func readFixture(t testing.TB, preset string) (f presetFixture) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "oidc", "presets", "testdata", preset+".json"))
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		t.Fatalf("%s: %v", preset, err)
	}
	return f
}

// presetConfigs reads a preset on both sides, from the same bytes.
func presetConfigs(t testing.TB, p presets.Preset, f presetFixture) (*oidc.Config, *config.FulcioConfig) {
	t.Helper()
	raw, err := p.Configuration(f.Parameters)
	if err != nil {
		t.Fatal(err)
	}
	return configs(t, raw)
}

// TestPresets: the token of each preset's fixture gets the name and the extensions that the fixture says,
// which are upstream's to the byte. Without a claim that the name is made of there is no certificate;
// any other may be missing, and upstream agrees with what is left.
func TestPresets(t *testing.T) {
	list, err := presets.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		t.Run(p.Name, func(t *testing.T) {
			f := readFixture(t, p.Name)
			if day, err := time.Parse(time.DateOnly, f.Source.Read); err != nil || day.Year() < 2026 || f.Source.Document == "" || f.Source.URL == "" || f.Source.Version == "" {
				t.Errorf("the fixture does not say what it was written from: %+v", f.Source)
			}
			cfg, up := presetConfigs(t, p, f)
			iss := fmt.Sprint(f.Claims["iss"])
			got, err := ours(t, cfg, iss, f.Claims)
			if err != nil {
				t.Fatal(err)
			}
			want, err := upstream(t, up, typeOf(t, cfg, iss), f.Claims)
			if err != nil {
				t.Fatalf("upstream refuses: %v", err)
			}
			compare(t, got, want)
			if got.SANText != f.SAN {
				t.Errorf("name %s, want %s", got.SANText, f.SAN)
			}
			texts := map[string]string{}
			for _, x := range got.Texts() {
				texts[x.OID[strings.LastIndexByte(x.OID, '.')+1:]] = x.Value
			}
			if !maps.Equal(texts, f.Extensions) {
				t.Errorf("extensions\n%q, want\n%q", texts, f.Extensions)
			}
			for claim := range f.Claims {
				without(t, cfg, up, f, claim)
			}
		})
	}
}

// without leaves a claim out of a fixture.
func without(t *testing.T, cfg *oidc.Config, up *config.FulcioConfig, f presetFixture, claim string) {
	if claim == "iss" || claim == "sub" && !slices.Contains(f.Required, "sub") {
		return // the verifier wants them
	}
	iss := fmt.Sprint(f.Claims["iss"])
	claims := with(f.Claims, map[string]any{claim: gone})
	if claim == "sub" {
		claims["sub"] = "x"
	}
	got, err := ours(t, cfg, iss, claims)
	if slices.Contains(f.Required, claim) {
		if !errors.Is(err, oidc.ErrToken) {
			t.Errorf("without %s: %v, want it refused", claim, err)
		}
		return
	}
	if err != nil {
		t.Errorf("without %s: %v", claim, err)
		return
	}
	want, err := upstream(t, up, typeOf(t, cfg, iss), claims)
	if err != nil {
		t.Errorf("without %s upstream refuses: %v", claim, err)
		return
	}
	compare(t, got, want)
}

// TestPresetsHostileClaims puts what does not belong there into each claim of each fixture. What is
// accepted all the same, upstream certifies with the same bytes, under the same scheme and host.
func TestPresetsHostileClaims(t *testing.T) {
	list, err := presets.All()
	if err != nil {
		t.Fatal(err)
	}
	values := []any{7, true, []any{}, map[string]any{}, "", "..", "../..", "//evil.example/x", "@evil.example/x", "evil.example", "a b", "?x", "#y", "%zz", "{{.url}}",
		"a\nb", "\u202e", strings.Repeat("a", 1025)}
	for _, p := range list {
		t.Run(p.Name, func(t *testing.T) {
			f := readFixture(t, p.Name)
			cfg, up := presetConfigs(t, p, f)
			iss := fmt.Sprint(f.Claims["iss"])
			refused := 0
			for _, claim := range used(cfg.Issuers[0], f) {
				for _, v := range values {
					claims := with(f.Claims, map[string]any{claim: v})
					got, err := ours(t, cfg, iss, claims)
					if err != nil {
						if !errors.Is(err, oidc.ErrToken) {
							t.Fatalf("%s %q: error of another class: %v", claim, v, err)
						}
						refused++
						continue
					}
					want, err := upstream(t, up, typeOf(t, cfg, iss), claims)
					if err != nil {
						t.Fatalf("%s %q: we accept, upstream refuses: %v", claim, v, err)
					}
					compare(t, got, want)
					if claim != "ci_config_ref_uri" && !strings.Contains(f.SAN, "@") && host(got.SANText) != host(f.SAN) {
						t.Errorf("%s %q: certified %s, elsewhere than %s", claim, v, got.SANText, f.SAN)
					}
				}
			}
			if refused == 0 && len(f.Required) > 1 {
				t.Error("nothing was refused")
			}
		})
	}
}

// used lists the claims that go into a certificate, without sub, which the verifier looks at.
func used(i *oidc.Issuer, f presetFixture) (names []string) {
	names = slices.Clone(f.Required)
	if i.Provider != nil {
		names = append(names, i.Provider.SAN.Names()...)
		for _, tmpl := range i.Provider.Extensions {
			names = append(names, tmpl.Names()...)
		}
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(n string) bool { return n == "sub" || f.Claims[n] == nil })
}

// host is a URL without its path.
func host(url string) string {
	scheme, rest, _ := strings.Cut(url, "://")
	name, _, _ := strings.Cut(rest, "/")
	return scheme + "://" + name
}
