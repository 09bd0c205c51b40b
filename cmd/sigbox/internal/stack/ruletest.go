package stack

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"gopkg.in/yaml.v3"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/ca/profile"
	"github.com/sigbox/sigbox/ca/rules"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
)

// RuleCase is claims with what the rules should make of them.
type RuleCase struct {
	Name   string         `yaml:"name"`
	Claims map[string]any `yaml:"claims"` // of a token, iss and sub among them
	Want   string         `yaml:"want"`   // allowed or denied
	Rule   string         `yaml:"rule"`   // with denied: the rule that decides
}

func (c RuleCase) wanted() string { return verdictOf(c.Want, c.Rule) }

// RuleResult is what came of a case.
type RuleResult struct {
	Name, Want, Got string // Got is Want where the case holds
}

// ParseRuleCases reads a file of cases: a YAML list.
func ParseRuleCases(file string, data []byte) (cases []RuleCase, err error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&cases); err != nil {
		return nil, fmt.Errorf("%s: want a list of cases with name, claims, want and rule: %w", file, err)
	}
	if len(cases) == 0 {
		return nil, fmt.Errorf("%s: has no case", file)
	}
	for i, c := range cases {
		switch {
		case c.Name == "" || c.Claims == nil:
			return nil, fmt.Errorf("%s: case %d has no name or no claims", file, i+1)
		case c.Want != "allowed" && c.Want != "denied":
			return nil, fmt.Errorf("%s: case %q: want is allowed or denied, not %q", file, c.Name, c.Want)
		case (c.Want == "denied") != (c.Rule != ""):
			return nil, fmt.Errorf("%s: case %q: rule names the rule that denies, and goes with denied only", file, c.Name)
		}
	}
	return cases, nil
}

// TestRules decides cases as the authority of a configuration would. Nothing of a token but its
// claims is looked at: no times, no audience, no signature. sums are what goes on record for each issuer
// that has rules.
func TestRules(cfg *config.Config, cases []RuleCase) (out []RuleResult, sums map[string]ca.Grant, err error) {
	known, err := Issuers(cfg)
	if err != nil {
		return nil, nil, err
	}
	set, err := readRules(cfg.CA, known)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range cases {
		payload, err := json.Marshal(c.Claims)
		if err != nil {
			return nil, nil, fmt.Errorf("case %q: claims are no JSON: %w", c.Name, err)
		}
		got := "allowed"
		t, err := known.Unverified(payload)
		if err == nil {
			var id profile.Identity
			if id, err = profile.FromToken(t); err == nil {
				_, err = set.Decide(t, id)
			}
		}
		var denied *rules.DeniedError
		switch {
		case errors.As(err, &denied):
			got = verdictOf("denied", denied.Rule)
		case err != nil:
			got = "refused before the rules: " + err.Error()
		}
		out = append(out, RuleResult{Name: c.Name, Want: c.wanted(), Got: got})
	}
	return out, set.Issuers(), nil
}

func verdictOf(word, rule string) string {
	if rule != "" {
		return word + " by " + rule
	}
	return word
}
