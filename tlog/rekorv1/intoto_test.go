package rekorv1_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/sigstore/rekor/pkg/generated/models"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/dsse"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/entry/intoto"
	"github.com/sigbox/sigbox/tlog/rekorv1"
)

// TestOneEnvelopeTwoKinds: slsa-verifier asks for an envelope as intoto and as dsse at once and wants the one
// entry that there is; later, when both are there, both are answered, the attestation with intoto only.
func TestOneEnvelopeTwoKinds(t *testing.T) {
	s := newServer(t, func(c *rekorv1.Config, _ *tlog.Config) {
		c.Kinds = entry.Kinds{dsse.Kind: dsse.Parse, intoto.KindV001: intoto.ParseV001}
	})
	key := entrytest.P256(t)
	pem := entrytest.PEM(t, key.Public())
	payload := []byte(`{"_type":"https://in-toto.io/Statement/v0.1"}`)
	env := entrytest.Envelope(t, "application/vnd.in-toto+json", payload, key)
	asDSSE := entrytest.DSSE(t, env, pem)
	asIntoto := entrytest.JSON(t, map[string]any{"apiVersion": "0.0.1", "kind": "intoto", "spec": map[string]any{
		"content": map[string]any{"envelope": string(env)}, "publicKey": base64.StdEncoding.EncodeToString(pem),
	}})
	query := entrytest.JSON(t, map[string]any{"entries": []json.RawMessage{asIntoto, asDSSE}})
	for i, proposed := range [][]byte{asDSSE, asIntoto} {
		s.add(proposed)
		a := s.post(entriesPath+"/retrieve", query)
		var found []models.LogEntry
		if err := json.Unmarshal(a.body, &found); err != nil || a.StatusCode != http.StatusOK || len(found) != i+1 {
			t.Fatalf("%d entries are there, answered %d %s (%v)", i+1, a.StatusCode, a.body, err)
		}
		attestations := 0
		for _, one := range found {
			for _, e := range one {
				s.verify(e)
				if e.Attestation != nil && string(e.Attestation.Data) == string(payload) {
					attestations++
				}
			}
		}
		if attestations != i {
			t.Errorf("%d attestations, want %d", attestations, i)
		}
	}
}
