package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sigbox/sigbox/oidc/presets"
)

// Preset is an issuer that sigbox knows by name.
type Preset struct {
	// The issuer. "sigbox ca presets" says what each needs, and what to know before it is trusted.
	Name string `yaml:"name" required:"true" one:"bitbucket|buildkite|circleci|entra-id|github|github-enterprise-server|gitlab|gitlab-self-managed|google|jenkins|keycloak|kubernetes|okta|spiffe"`
	// The address of the issuer, or of the server that it belongs to, where that is your own.
	URL Text `yaml:"url"`
	// What is yours at an issuer that serves others too: the workspace at Bitbucket, the organization at
	// CircleCI, the tenant of Entra ID.
	ID Text `yaml:"id"`
	// The trust domain of SPIFFE.
	TrustDomain Text `yaml:"trust_domain"`
	// What aud of its tokens must be: the ID of the client that people sign in to, or what pipelines ask for
	// a token for. Most presets have one of their own, sigstore.
	Audience Text `yaml:"audience"`
	// PEM file with the roots of its TLS certificate, which count beside the system's.
	Certificates File `yaml:"certificates"`
}

// Values are the parameters of a preset as package presets takes them, but for certificates, which are
// in a file.
func (p Preset) Values() map[string]string {
	return map[string]string{"url": string(p.URL), "id": string(p.ID), "trust_domain": string(p.TrustDomain), "audience": string(p.Audience)}
}

// checkPresets wants each preset to have what it needs, and nothing else.
func checkPresets(p *problems, where func(string) position, list []Preset) {
	for i, preset := range list {
		section := fmt.Sprintf("ca.presets[%d]", i)
		known, err := presets.Find(preset.Name)
		if err != nil {
			continue // said already
		}
		for _, wrong := range known.Check(preset.Values()) {
			key := section + "." + wrong.Parameter
			at := where(key)
			if at == (position{}) {
				at = where(section)
			}
			p.add(at, key, "%s", wrong.Text)
		}
	}
}

func (t *Text) parse(text, _ string) error {
	switch {
	case text == "":
		return errors.New("is empty: write a value, or remove the line")
	case len(text) > 512 || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("%.40q: want up to 512 printable letters without spaces", text)
	}
	*t = Text(text)
	return nil
}
