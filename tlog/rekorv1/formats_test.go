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
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/dsse"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/entry/intoto"
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

// TestSearchByKeyOfEnvelope: what a key or certificate has signed as an envelope is found by it, beside whoever else has
// signed, and so it is by its fingerprint as a hash.
func TestSearchByKeyOfEnvelope(t *testing.T) {
	s := newServer(t, func(c *rekorv1.Config, _ *tlog.Config) {
		c.Kinds = entry.Kinds{dsse.Kind: dsse.Parse, intoto.KindV001: intoto.ParseV001, intoto.KindV002: intoto.ParseV002}
		c.Fingerprints = upstream.Fingerprints()
	})
	a, b := entrytest.P256(t), entrytest.P256(t)
	pem, cert := entrytest.PEM(t, a.Public()), entrytest.CertPEM(entrytest.Cert(t, b, entrytest.SAN{URI: "https://a/b"}, nil, nil))
	one, two := entrytest.Envelope(t, inToto, []byte(`{}`), a), entrytest.Envelope(t, inToto, []byte(`{}`), b, a)
	for name, row := range map[string]struct {
		proposed []byte
		by       [][]byte
	}{
		"dsse":         {entrytest.DSSE(t, one, pem), [][]byte{pem}},
		"dsse, two":    {entrytest.DSSE(t, two, cert, pem), [][]byte{pem, cert}},
		"intoto 0.0.1": {asV001(t, one, pem), [][]byte{pem}},
		"intoto 0.0.2": {asV002(t, []byte(`{}`), b), [][]byte{entrytest.PEM(t, b.Public())}},
	} {
		id, _ := s.add(row.proposed)
		for _, key := range row.by {
			for _, query := range [][]byte{
				search(t, "x509", key), []byte(`{"hash":"` + entry.HexSum(key) + `"}`),
				[]byte(`{"operator":"and","hash":"` + entry.HexSum(key) + `",` + string(search(t, "x509", key)[1:])),
			} {
				if answer := s.post("/api/v1/index/retrieve", query); answer.StatusCode != http.StatusOK || !strings.Contains(string(answer.body), id) {
					t.Errorf("%s: %s: %d %s does not hold %s", name, query, answer.StatusCode, answer.body, id)
				}
			}
		}
		other := search(t, "x509", entrytest.PEM(t, entrytest.P256(t).Public()))
		if answer := s.post("/api/v1/index/retrieve", other); strings.TrimSpace(string(answer.body)) != "[]" {
			t.Errorf("%s: by another key: %s", name, answer.body)
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
