package rekorv1_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry/upstream"
	"github.com/sigbox/sigbox/tlog/rekorv1"
)

// TestSearchByFormat: an entry of each kind that names a key is found by that key, in its format, and by no
// other.
func TestSearchByFormat(t *testing.T) {
	s := newServer(t, func(c *rekorv1.Config, _ *tlog.Config) {
		c.Kinds, c.Fingerprints = upstream.Kinds(), upstream.Fingerprints()
	})
	files, err := filepath.Glob("../entry/upstream/testdata/*.json")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	found := map[string]int{}
	for _, f := range files {
		proposed, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		id, e := s.add(proposed)
		s.verify(e)
		format, key := keyOf(t, proposed)
		if format == "" {
			continue
		}
		found[format]++
		a := s.post("/api/v1/index/retrieve", search(t, format, key))
		if a.StatusCode != http.StatusOK || !strings.Contains(string(a.body), id) {
			t.Errorf("%s: %d %s does not hold %s", filepath.Base(f), a.StatusCode, a.body, id)
		}
		for _, other := range []string{"pgp", "x509", "minisign", "ssh", "tuf"} {
			if other == format {
				continue
			}
			if a := s.post("/api/v1/index/retrieve", search(t, other, key)); a.StatusCode == http.StatusOK && strings.Contains(string(a.body), id) {
				t.Errorf("%s: found as %s", filepath.Base(f), other)
			}
		}
	}
	for _, format := range []string{"pgp", "x509", "minisign", "ssh", "tuf"} {
		if found[format] == 0 {
			t.Errorf("no entry with a key of format %s", format)
		}
		if a := s.post("/api/v1/index/retrieve", search(t, format, []byte("garbage"))); a.StatusCode != http.StatusBadRequest {
			t.Errorf("garbage as %s: %d %s", format, a.StatusCode, a.body)
		}
	}
}

func search(t *testing.T, format string, key []byte) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{"publicKey": map[string]any{"format": format, "content": key}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// keyOf returns the public key of a proposed entry, and its format; none for kinds without one.
func keyOf(t *testing.T, proposed []byte) (format string, key []byte) {
	t.Helper()
	var v struct {
		Kind string
		Spec struct {
			PublicKey json.RawMessage
			Signature struct {
				Format    string
				PublicKey struct{ Content []byte }
			}
			Root struct{ Content json.RawMessage }
		}
	}
	if err := json.Unmarshal(proposed, &v); err != nil {
		t.Fatal(err)
	}
	var object struct{ Content []byte }
	switch v.Kind {
	case "rekord":
		return v.Spec.Signature.Format, v.Spec.Signature.PublicKey.Content
	case "tuf":
		return "tuf", v.Spec.Root.Content
	case "cose":
		var text string
		if err := json.Unmarshal(v.Spec.PublicKey, &text); err != nil {
			t.Fatal(err)
		}
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return "x509", key
	case "alpine", "helm", "rpm":
		if err := json.Unmarshal(v.Spec.PublicKey, &object); err != nil {
			t.Fatal(err)
		}
		return map[string]string{"alpine": "x509", "helm": "pgp", "rpm": "pgp"}[v.Kind], object.Content
	}
	return "", nil
}
