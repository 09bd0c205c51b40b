package upstream

import (
	"bytes"
	"context"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/types"
	alpine "github.com/sigstore/rekor/pkg/types/alpine/v0.0.1"
	cose "github.com/sigstore/rekor/pkg/types/cose/v0.0.1"
	helm "github.com/sigstore/rekor/pkg/types/helm/v0.0.1"
	jar "github.com/sigstore/rekor/pkg/types/jar/v0.0.1"
	rekord "github.com/sigstore/rekor/pkg/types/rekord/v0.0.1"
	rfc3161 "github.com/sigstore/rekor/pkg/types/rfc3161/v0.0.1"
	rpm "github.com/sigstore/rekor/pkg/types/rpm/v0.0.1"
	tuf "github.com/sigstore/rekor/pkg/types/tuf/v0.0.1"

	"github.com/sigbox/sigbox/tlog/entry"
)

const version = "0.0.1"

// kind is one of upstream's kinds.
type kind struct {
	name  string
	check func(spec map[string]any) error // before upstream's code sees it
	wrap  func(version *string, spec any) models.ProposedEntry
	make  func() types.EntryImpl
}

func kinds() []kind {
	return []kind{
		{"rekord", checkRekord, func(v *string, s any) models.ProposedEntry { return &models.Rekord{APIVersion: v, Spec: s} }, rekord.NewEntry},
		{"helm", checkHelm, func(v *string, s any) models.ProposedEntry { return &models.Helm{APIVersion: v, Spec: s} }, helm.NewEntry},
		{"jar", checkJar, func(v *string, s any) models.ProposedEntry { return &models.Jar{APIVersion: v, Spec: s} }, jar.NewEntry},
		{"alpine", checkAlpine, func(v *string, s any) models.ProposedEntry { return &models.Alpine{APIVersion: v, Spec: s} }, alpine.NewEntry},
		{"rpm", checkRPM, func(v *string, s any) models.ProposedEntry { return &models.Rpm{APIVersion: v, Spec: s} }, rpm.NewEntry},
		{"cose", checkCOSE, func(v *string, s any) models.ProposedEntry { return &models.Cose{APIVersion: v, Spec: s} }, cose.NewEntry},
		{"tuf", checkTUF, func(v *string, s any) models.ProposedEntry { return &models.TUF{APIVersion: v, Spec: s} }, tuf.NewEntry},
		{"rfc3161", checkRFC3161, func(v *string, s any) models.ProposedEntry { return &models.Rfc3161{APIVersion: v, Spec: s} }, rfc3161.NewEntry},
	}
}

// Kinds returns the kinds of this package.
func Kinds() entry.Kinds {
	out := entry.Kinds{}
	for _, k := range kinds() {
		out[entry.Kind{Name: k.name, Version: version}] = k.parse
	}
	return out
}

// Entry is an entry that upstream's code has read and verified. It keeps nothing of what upstream's holds: an artifact
// as large as a request may be.
type Entry struct {
	entry.Base
	signed      []entry.Verifier
	untold      error // why it does not tell who has signed it
	missing     error // why it cannot be appended
	attestation []byte
}

// Encode returns the body, and to be stored the body with all search keys.
func (e *Entry) Encode(_, _ int64) (leaf, stored []byte, err error) {
	return e.Body(), entry.AppendKeys(e.Body(), e.Keys()), nil
}

// Insertable refuses an entry that lacks what its signature is over.
func (e *Entry) Insertable() error { return e.missing }

// Attestation returns what is kept beside the entry, which only the kind cose has: the message, nil
// where it is larger than 100 KiB.
func (e *Entry) Attestation() []byte { return e.attestation }

// parse is an [entry.Parser].
func (k kind) parse(spec any) (_ entry.Proposed, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = entry.Invalid("the "+k.name+" entry cannot be read", panicked(r))
		}
	}()
	m, ok := spec.(map[string]any)
	if !ok {
		return nil, entry.Invalidf("spec should be an object")
	}
	if err := refuseURLs(m, "spec"); err != nil {
		return nil, err
	}
	if err := k.check(m); err != nil {
		return nil, err
	}
	return k.run(m)
}

func panicked(r any) error { return fmt.Errorf("panic: %v\n%s", r, debug.Stack()) }

// run has upstream's code read, verify and canonicalise, in the order of its server.
func (k kind) run(spec map[string]any) (*Entry, error) {
	impl, v := k.make(), version
	if err := impl.Unmarshal(k.wrap(&v, spec)); err != nil {
		return nil, refuse(k.name, err)
	}
	e := &Entry{}
	if ok, err := impl.Insertable(); !ok {
		e.missing = entry.Invalid("entry not insertable into log: its content is missing", err)
	}
	body, err := types.CanonicalizeEntry(context.Background(), impl)
	if err != nil {
		return nil, refuse(k.name, err)
	}
	keys, err := impl.IndexKeys() // after canonicalisation, from what it has found
	if err != nil && e.missing == nil {
		return nil, refuse(k.name, err)
	}
	e.Base = entry.NewBase(body, keys)
	if e.missing == nil {
		e.signed, e.untold = k.verifiers(impl)
	}
	if a, ok := impl.(types.EntryWithAttestationImpl); ok && e.missing == nil {
		_, e.attestation = a.AttestationKeyValue()
	}
	return e, nil
}

// refuse passes on what upstream's code says about an entry, which is meant for its sender, in a
// form that is safe to print and to log.
func refuse(kind string, err error) error {
	clean := func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return ' '
		}
		return r
	}
	return entry.Invalid(fmt.Sprintf("%s: %.300s", kind, strings.Map(clean, err.Error())), err)
}

// refuseURLs refuses every object that names something to fetch. What a package says of itself is no such
// object.
func refuseURLs(m map[string]any, field string) error {
	if err := entry.RefuseURL(m, field); err != nil {
		return err
	}
	for name, v := range m {
		if o, ok := v.(map[string]any); ok && name != "pkginfo" && name != "headers" && !(name == "content" && (field == "spec.metadata" || field == "spec.root")) {
			if err := refuseURLs(o, field+"."+name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Keys returns the search keys of an entry from its stored form, as the parsers have them. Errors:
// entry.ErrUnknownKind where the body is of no kind of this package, entry.ErrInvalid where it is
// none that a parser has made.
func Keys(stored []byte) ([][]byte, error) {
	body, keys, err := entry.Stored(stored)
	if err != nil {
		return nil, entry.Invalid("not a stored entry", err)
	}
	for _, k := range kinds() {
		if bytes.HasPrefix(body, []byte(`{"apiVersion":"`+version+`","kind":"`+k.name+`","spec":{`)) {
			return entry.SearchKeys(keys), nil
		}
	}
	return nil, entry.ErrUnknownKind
}
