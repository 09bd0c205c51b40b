package profile

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sigbox/sigbox/oidc"
)

// claim returns a claim that must be a fit, non-empty string.
func claim(t *oidc.Token, name string) (string, error) {
	s, err := optional(t, name)
	if err == nil && s == "" {
		err = oidc.Refuse(oidc.ReasonClaim, "claim %s is missing or empty", name)
	}
	return s, err
}

// optional returns a claim that, if it is there, must be a fit string.
func optional(t *oidc.Token, name string) (string, error) {
	v := t.Claims[name]
	if v == nil {
		return "", nil
	}
	s, ok := v.(string)
	if !ok {
		return "", oidc.Refuse(oidc.ReasonClaim, "claim %s is not a string", name)
	}
	if err := printable(name, s); err != nil {
		return "", oidc.Refuse(oidc.ReasonClaim, "%w", err)
	}
	return s, nil
}

// claims reads several required claims at once.
func claims(t *oidc.Token, names ...string) (map[string]string, error) {
	out := make(map[string]string, len(names))
	for _, n := range names {
		s, err := claim(t, n)
		if err != nil {
			return nil, err
		}
		out[n] = s
	}
	return out, nil
}

// shaped refuses an object with members that are neither text nor null: those that are named, or all where none
// is. Certificates say nothing of them. Upstream reads them all the same, and so refuses such a token.
func shaped(what string, v any, members ...string) error {
	if v == nil {
		return nil
	}
	obj, ok := v.(map[string]any)
	if !ok {
		return oidc.Refuse(oidc.ReasonClaim, "%s is not an object", what)
	}
	if len(members) == 0 {
		members = slices.Collect(maps.Keys(obj))
	}
	for _, m := range members {
		if v := obj[m]; v != nil {
			if _, ok := v.(string); !ok {
				return oidc.Refuse(oidc.ReasonClaim, "%s: %s is not a string", what, clip(m))
			}
		}
	}
	return nil
}

// scalar returns a claim's text for a template; ok is false for a missing or null one.
func scalar(t *oidc.Token, name string) (text string, ok bool, err error) {
	switch v := t.Claims[name].(type) {
	case nil:
		return "", false, nil
	case string:
		if err := printable(name, v); err != nil {
			return "", false, oidc.Refuse(oidc.ReasonClaim, "%w", err)
		}
		return v, true, nil
	case bool:
		return strconv.FormatBool(v), true, nil
	case json.Number:
		s, err := number(v)
		if err != nil {
			return "", false, oidc.Refuse(oidc.ReasonClaim, "claim %s: %w", clip(name), err)
		}
		return s, true, nil
	}
	return "", false, oidc.Refuse(oidc.ReasonClaim, "claim %s is an object or an array", clip(name))
}

// number prints an integer in full and a fraction as short as it can be. Beyond 2^53 other readers
// of the token see another number, so it names nothing.
func number(n json.Number) (string, error) {
	f, _, err := big.ParseFloat(n.String(), 10, 256, big.ToNearestEven)
	if err != nil || f.IsInf() || f.MantExp(nil) > 53 {
		return "", fmt.Errorf("number %q is out of range", clip(n.String()))
	}
	if f.IsInt() {
		return f.Text('f', 0), nil
	}
	v, err := strconv.ParseFloat(n.String(), 64)
	if err != nil {
		return "", fmt.Errorf("number %q is out of range", clip(n.String()))
	}
	return strconv.FormatFloat(v, 'f', -1, 64), nil
}

// printable refuses text that is too long or that a reader could not see: control and format
// characters (bidirectional overrides, zero-width spaces), line breaks, what was not Unicode. The
// joiner that emoji are built with is the one exception: workflow names hold it.
func printable(name, s string) error {
	if len(s) > oidc.MaxClaimBytes {
		return fmt.Errorf("claim %s is longer than %d bytes", clip(name), oidc.MaxClaimBytes)
	}
	for _, r := range s {
		if r == utf8.RuneError || r != '\u200d' && !unicode.IsPrint(r) {
			return fmt.Errorf("claim %s holds the unprintable character %U", clip(name), r)
		}
	}
	return nil
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r <= 0x20 || r >= 0x7f }) < 0
}

func clip(s string) string {
	if len(s) > 128 {
		return s[:128] + "..."
	}
	return s
}
