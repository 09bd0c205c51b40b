package record

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/tuf/statement"
)

// MaxSize bounds an encoded record.
const MaxSize = 1 << 20

// The versions of the layout. A record has the oldest that can say it, so that an older sigbox reads what it can.
const (
	format        = 1
	formatAdopted = 2 // with keys that are adopted
	formatNewest  = formatAdopted
)

// wire is the JSON of a record.
type wire struct {
	Format   int          `json:"format"`
	Instance string       `json:"instance"`
	Operator string       `json:"operator"`
	Keys     []wireKey    `json:"keys"`
	Issuers  []wireIssuer `json:"issuers"`
	// Foreign is left out where there is none, so that a sigbox that knows no foreign roots reads the record.
	Foreign []wireForeign `json:"foreign,omitempty"`
}

type wireKey struct {
	Role    string   `json:"role"`
	URL     string   `json:"url"`
	Origin  string   `json:"origin,omitempty"`
	Key     []byte   `json:"key,omitempty"`   // SPKI, DER
	Chain   [][]byte `json:"chain,omitempty"` // DER
	Issuers []string `json:"issuers,omitempty"`
	From    string   `json:"valid_from"` // RFC 3339, UTC, whole seconds
	Until   string   `json:"valid_until,omitempty"`
	Stated  string   `json:"stated"`
	Adopted bool     `json:"adopted,omitempty"`
}

type wireIssuer struct {
	URL   string `json:"url"`
	From  string `json:"valid_from"`
	Until string `json:"valid_until,omitempty"`
}

// Encode writes a record as indented JSON; equal records have equal bytes.
func (r Record) Encode() ([]byte, error) {
	w := wire{Format: format, Instance: r.Instance, Operator: r.Operator, Keys: []wireKey{}, Issuers: []wireIssuer{}}
	for _, k := range r.Keys {
		out := wireKey{
			Role: string(k.Role), URL: k.URL, Origin: k.Origin, Issuers: k.Issuers, From: statement.Stamp(k.Start), Until: statement.Stamp(k.End), Stated: statement.Stamp(k.Stated),
			Adopted: k.Adopted,
		}
		if k.Adopted {
			w.Format = formatAdopted
		}
		if k.Public != nil {
			der, err := x509.MarshalPKIXPublicKey(k.Public)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrRecord, err)
			}
			out.Key = der
		}
		for _, c := range k.Chain {
			out.Chain = append(out.Chain, c.Raw)
		}
		w.Keys = append(w.Keys, out)
	}
	for _, s := range r.Issuers {
		w.Issuers = append(w.Issuers, wireIssuer{URL: s.URL, From: statement.Stamp(s.Start), Until: statement.Stamp(s.End)})
	}
	for _, f := range r.Foreign {
		w.Foreign = append(w.Foreign, foreignOut(f))
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if b.Len() > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, want at most %d", ErrRecord, b.Len(), MaxSize)
	}
	return b.Bytes(), nil
}

// Parse reads what Encode wrote, and nothing else. It does not ask whether the record can be
// published: Edition does.
func Parse(raw []byte) (Record, error) {
	r, err := parse(raw)
	if err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return r, nil
}

func parse(raw []byte) (r Record, err error) {
	if len(raw) > MaxSize {
		return Record{}, fmt.Errorf("%d bytes, want at most %d", len(raw), MaxSize)
	}
	var w wire
	if err := httpx.DecodeJSON(raw, &w, true); err != nil {
		return Record{}, err
	}
	if w.Format < format || w.Format > formatNewest {
		return Record{}, fmt.Errorf("format %d: this sigbox knows %d to %d: use the version that wrote it, or a newer one", w.Format, format, formatNewest)
	}
	r = Record{Instance: w.Instance, Operator: w.Operator}
	for i, in := range w.Keys {
		k, err := in.key()
		if err != nil {
			return Record{}, fmt.Errorf("key %d: %w", i+1, err)
		}
		r.Keys = append(r.Keys, k)
	}
	for i, in := range w.Issuers {
		s := Issuer{URL: in.URL}
		if s.Start, s.End, err = window(in.From, in.Until); err != nil {
			return Record{}, fmt.Errorf("issuer %d: %w", i+1, err)
		}
		r.Issuers = append(r.Issuers, s)
	}
	for i, in := range w.Foreign {
		f, err := in.root()
		if err != nil {
			return Record{}, fmt.Errorf("foreign root %d: %w", i+1, err)
		}
		r.Foreign = append(r.Foreign, f)
	}
	if again, err := r.Encode(); err != nil || !bytes.Equal(again, raw) {
		return Record{}, errors.New("not in the form that sigbox writes")
	}
	return r, nil
}

func (in wireKey) key() (k Key, err error) {
	k = Key{Role: statement.Role(in.Role), URL: in.URL, Origin: in.Origin, Issuers: in.Issuers, Adopted: in.Adopted}
	if k.Role.Service() == "" || k.Role.Log() == (in.Key == nil) || k.Role.Log() == (in.Chain != nil) {
		return Key{}, fmt.Errorf("role %.70q: unknown, or without its key or chain", in.Role)
	}
	if in.Key != nil {
		if k.Public, err = x509.ParsePKIXPublicKey(in.Key); err != nil {
			return Key{}, errors.New("key: not a SubjectPublicKeyInfo in DER")
		}
	}
	for _, der := range in.Chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return Key{}, errors.New("chain: not X.509 certificates")
		}
		k.Chain = append(k.Chain, c)
	}
	if k.Start, k.End, err = window(in.From, in.Until); err != nil {
		return Key{}, err
	}
	if k.Adopted && k.End.IsZero() {
		return Key{}, errors.New("it is of another instance, and has no end")
	}
	if k.Stated, err = time.Parse(statement.TimeForm, in.Stated); err != nil {
		return Key{}, errors.New("stated: not a time")
	}
	return k, nil
}

func window(from, until string) (start, end time.Time, err error) {
	if start, err = time.Parse(statement.TimeForm, from); err == nil && until != "" {
		end, err = time.Parse(statement.TimeForm, until)
	}
	if err != nil {
		err = errors.New("validity: not times of the form YYYY-MM-DDTHH:MM:SSZ")
	}
	return start, end, err
}
