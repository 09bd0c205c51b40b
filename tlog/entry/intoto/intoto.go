package intoto

import (
	"encoding/base64"
	"time"

	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/envelope"
)

// "kind" and "apiVersion" of such entries.
var (
	KindV001 = entry.Kind{Name: "intoto", Version: "0.0.1"}
	KindV002 = entry.Kind{Name: "intoto", Version: "0.0.2"}
)

// MaxAttestation is the size in bytes up to which the payload of an envelope is kept beside its entry;
// a larger one is logged and not kept. It is upstream's default.
const MaxAttestation = 100 << 10

// Entry is an envelope whose signatures hold.
type Entry struct {
	entry.Base
	missing     string // what it lacks to be appended: it is for looking an entry up
	told        int    // how many of its search keys the body tells; the others are digests of the statement
	attestation []byte
	signed      []*entry.Key // none for a look-up
}

// Verifiers returns the key or certificate of each signature that the body has. Of version 0.0.1 that is
// one, whatever else is in the envelope.
func (e *Entry) Verifiers() ([]entry.Verifier, error) { return entry.Verifiers(e.signed) }

// Encode returns the body, and to be stored the body with the search keys that it does not tell.
func (e *Entry) Encode(_, _ int64) (leaf, stored []byte, err error) {
	return e.Body(), entry.AppendKeys(e.Body(), e.Keys()[e.told:]), nil
}

// Insertable refuses an entry without envelope, which was read from its canonical form.
func (e *Entry) Insertable() error {
	if e.missing != "" {
		return entry.Invalidf("entry not insertable into log: %s", e.missing)
	}
	return nil
}

// Attestation returns the payload, nil where it is larger than MaxAttestation.
func (e *Entry) Attestation() []byte { return e.attestation }

// newEntry puts an entry together: its body, the search keys that the body tells, and what the envelope adds.
func newEntry(body []byte, keys []string, env *envelope.Envelope, signed ...*entry.Key) (*Entry, error) {
	digests, err := env.Digests(materials)
	if err != nil {
		return nil, err
	}
	e := &Entry{signed: signed}
	e.Base, e.told = entry.NewToldBase(body, keys, digests)
	if base64.StdEncoding.DecodedLen(len(env.Payload)) <= MaxAttestation {
		e.attestation = env.Body()
	}
	return e, nil
}

// digest is a hash in a body.
type digest struct{ set, value string } // set is its JSON, "" where there is none

func sum(b []byte) digest {
	return newDigest(entry.HexSum(b))
}

func newDigest(value string) digest {
	return digest{set: string(append(entry.AppendString([]byte(`{"algorithm":"sha256","value":`), value), '}')), value: value}
}

// readDigest reads an optional hash from a spec.
func readDigest(m map[string]any, name string) (digest, error) {
	o, ok := m[name].(map[string]any)
	if !ok {
		return digest{}, nil
	}
	value, ok := o["value"].(string)
	if !ok || entry.Text(o, "algorithm") != "sha256" {
		return digest{}, entry.Invalidf("content.%s should have the algorithm sha256 and a value", name)
	}
	return newDigest(value), nil
}

// provenance is an in-toto statement with a SLSA 0.2 predicate (slsa.dev/spec/v0.2/provenance). Where a
// field has another type than here, upstream takes no search keys from the predicate, so they are all here.
type provenance struct {
	Type          string `json:"_type"`
	PredicateType string `json:"predicateType"`
	Subject       envelope.List[struct {
		Name   string    `json:"name"`
		Digest digestSet `json:"digest"`
	}] `json:"subject"`
	Predicate struct {
		Builder struct {
			ID string `json:"id"`
		} `json:"builder"`
		BuildType  string `json:"buildType"`
		Invocation struct {
			ConfigSource struct {
				URI        string    `json:"uri"`
				Digest     digestSet `json:"digest"`
				EntryPoint string    `json:"entryPoint"`
			} `json:"configSource"`
		} `json:"invocation"`
		Metadata *struct {
			BuildInvocationID string     `json:"buildInvocationID"`
			BuildStartedOn    *time.Time `json:"buildStartedOn"`
			BuildFinishedOn   *time.Time `json:"buildFinishedOn"`
			Completeness      struct {
				Parameters  bool `json:"parameters"`
				Environment bool `json:"environment"`
				Materials   bool `json:"materials"`
			} `json:"completeness"`
			Reproducible bool `json:"reproducible"`
		} `json:"metadata"`
		Materials envelope.List[struct {
			URI    string    `json:"uri"`
			Digest digestSet `json:"digest"`
		}] `json:"materials"`
	} `json:"predicate"`
}

type digestSet = map[string]string

func materials(statement []byte) (out []string, err error) {
	var p provenance
	if ok, err := envelope.Unmarshal(statement, &p); !ok {
		return nil, err
	}
	for _, m := range p.Predicate.Materials {
		out = envelope.AppendDigests(out, m.Digest)
	}
	return out, nil
}
