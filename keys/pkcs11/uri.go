package pkcs11

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sigbox/sigbox/internal/tokenwire"
)

// Scheme begins every URI, and so tells a reference from a PEM file.
const Scheme = "pkcs11:"

// maxURI bounds a URI, in bytes.
const maxURI = 4 << 10

// URI says where a key is (RFC 7512): the token, the object on it, the module that reaches the token, and the file
// of the PIN. Attributes that are not here are refused rather than ignored: one that narrows what is meant would make
// another key sign.
type URI struct {
	Token, Serial, Manufacturer, Model string // of the token; "" for any
	Slot                               *uint  // slot-id; nil for any
	Object                             string // CKA_LABEL of the key; "" for any
	ID                                 []byte // CKA_ID of the key; nil for any
	Module                             string // module-path: an absolute path
	PINSource                          string // absolute path of a file; "" for a token that wants no PIN
}

// attributes that are texts, with how long PKCS #11 lets them be in bytes.
func (u *URI) texts() []text {
	return []text{
		{"token", &u.Token, 32}, {"serial", &u.Serial, 16}, {"manufacturer", &u.Manufacturer, 32}, {"model", &u.Model, 16}, {"object", &u.Object, 1024},
	}
}

type text struct {
	name string
	to   *string
	max  int
}

// ParseURI reads a URI. Its errors quote names of attributes and never a value, which may be a PIN in the wrong place.
func ParseURI(s string) (URI, error) {
	u, err := parseURI(s)
	if err != nil {
		return URI{}, fmt.Errorf("PKCS #11 URI: %w", err)
	}
	return u, nil
}

// ParseToken reads a URI of a token, which names no key.
func ParseToken(s string) (URI, error) {
	u, err := parse(s)
	if err == nil {
		err = u.complete()
	}
	if err == nil && (u.Object != "" || u.ID != nil) {
		err = errors.New("names a key: leave out object= and id=")
	}
	if err != nil {
		return URI{}, fmt.Errorf("PKCS #11 URI: %w", err)
	}
	return u, nil
}

func parseURI(s string) (URI, error) {
	u, err := parse(s)
	if err == nil && u.Object == "" && u.ID == nil {
		err = errors.New("names no key: want object=LABEL, id=%XX, or both")
	}
	if err == nil {
		err = u.complete()
	}
	return u, err
}

// complete wants the token and its module.
func (u *URI) complete() error {
	switch {
	case u.Token == "" && u.Serial == "" && u.Slot == nil:
		return errors.New("names no token: want token=LABEL, serial=, or slot-id=")
	case u.Module == "":
		return errors.New("names no module: want ?module-path=/PATH/OF/THE/VENDORS/LIBRARY.so")
	}
	return nil
}

func parse(s string) (u URI, err error) {
	if len(s) > maxURI {
		return u, fmt.Errorf("want at most %d bytes", maxURI)
	}
	if len(s) < len(Scheme) || !strings.EqualFold(s[:len(Scheme)], Scheme) {
		return u, errors.New("want one that begins with " + Scheme)
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"#<>\\^`{|}", r) }); i >= 0 {
		return u, fmt.Errorf("has a character at byte %d that must be written as %%XX", i)
	}
	path, query, has := strings.Cut(s[len(Scheme):], "?")
	seen := map[string]bool{}
	if err := each(path, ";", seen, u.setPath); err != nil {
		return u, err
	}
	if has {
		if err := each(query, "&", seen, u.setQuery); err != nil {
			return u, err
		}
	}
	return u, nil
}

// each takes the attributes of one part apart.
func each(part, sep string, seen map[string]bool, set func(name, value string) error) error {
	if part == "" {
		return nil
	}
	for attr := range strings.SplitSeq(part, sep) {
		name, raw, ok := strings.Cut(attr, "=")
		if !ok || name == "" {
			return errors.New("has a part that is not NAME=VALUE")
		}
		if seen[name] {
			return fmt.Errorf("has %s twice", printable(name))
		}
		seen[name] = true
		value, err := unescape(raw)
		if err == nil && value == "" {
			err = errors.New("is empty")
		}
		if err == nil {
			err = set(name, value)
		}
		if err != nil {
			return fmt.Errorf("%s %w", printable(name), err)
		}
	}
	return nil
}

// printable is the name of an attribute for an error: names of others may be anything.
func printable(name string) string {
	if len(name) > 40 {
		name = name[:40] + "..."
	}
	return name
}

var errUnknown = errors.New("is not an attribute that sigbox knows: token, serial, manufacturer, model, slot-id, object, id and type=private, " +
	"and after the ? module-path and pin-source")

func (u *URI) setPath(name, value string) error {
	for _, t := range u.texts() {
		if name == t.name {
			return t.set(value)
		}
	}
	switch name {
	case "id":
		if len(value) > 1024 {
			return errors.New("is longer than 1024 bytes")
		}
		u.ID = []byte(value)
	case "slot-id":
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil || strconv.FormatUint(n, 10) != value {
			return errors.New("is not a number")
		}
		slot := uint(n)
		u.Slot = &slot
	case "type":
		if value != "private" {
			return errors.New("is for another object: what signs is type=private")
		}
	case "pin-value", "pin-source", "module-path":
		return errors.New("belongs after the ?")
	default:
		return errUnknown
	}
	return nil
}

func (u *URI) setQuery(name, value string) error {
	switch name {
	case "module-path":
		if !isPath(value) {
			return errors.New("want an absolute path, without // and ..")
		}
		u.Module = value
	case "pin-source":
		path, err := pinPath(value)
		if err != nil {
			return err
		}
		u.PINSource = path
	case "pin-value":
		return errors.New("puts the PIN where it is copied, printed and backed up: write it to a file of mode 0600, " +
			"and name that with pin-source=file:/PATH")
	case "module-name":
		return errors.New("is searched for, and what is found may be another library: want module-path=/PATH")
	default:
		return errUnknown
	}
	return nil
}

// pinPath is the path of a pin-source: a file URI (RFC 8089) of this machine, or an absolute path.
func pinPath(value string) (string, error) {
	path := value
	if rest, ok := strings.CutPrefix(value, "file:"); ok {
		path = strings.TrimPrefix(rest, "//") // file:///a and file:/a; file://host/a is not absolute
	}
	switch {
	case strings.HasPrefix(value, "|"):
		return "", errors.New("is a program: want a file, as pin-source=file:/PATH")
	case !isPath(path):
		return "", errors.New("want a file by its absolute path, without // and .., as pin-source=file:/PATH")
	}
	return path, nil
}

// isPath says whether a text is the path of a file, in the one form that it has.
func isPath(s string) bool { return filepath.IsAbs(s) && filepath.Clean(s) == s && clean(s) }

// clean says whether a text can be shown and typed.
func clean(s string) bool { return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) }

func (t text) set(value string) error {
	if len(value) > t.max {
		return fmt.Errorf("is longer than %d bytes", t.max)
	}
	if !clean(value) {
		return errors.New("is not a text: want UTF-8 without control characters")
	}
	*t.to = value
	return nil
}

// unescape decodes percent-encoding (RFC 3986 2.1). A plus is a plus.
func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", errors.New("ends within a %XX")
		}
		c, err := hex.DecodeString(s[i+1 : i+3])
		if err != nil {
			return "", errors.New("has a % without two hexadecimal digits")
		}
		b.WriteByte(c[0])
		i += 2
	}
	return b.String(), nil
}

// String is the URI in one form: what ParseURI takes for the same.
func (u URI) String() string {
	var path []string
	for _, t := range u.texts() {
		if *t.to != "" {
			path = append(path, t.name+"="+escape(*t.to))
		}
	}
	if u.Slot != nil {
		path = append(path, fmt.Sprintf("slot-id=%d", *u.Slot))
	}
	if u.ID != nil {
		id := "id="
		for _, c := range u.ID {
			id += fmt.Sprintf("%%%02X", c)
		}
		path = append(path, id)
	}
	s := Scheme + strings.Join(path, ";") + "?module-path=" + escape(u.Module)
	if u.PINSource != "" {
		s += "&pin-source=file:" + escape(u.PINSource)
	}
	return s
}

// escape encodes all but what is unreserved, and the slash of paths.
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c < 0x80 && (unicode.IsLetter(rune(c)) || unicode.IsDigit(rune(c)) || strings.IndexByte("-._~/", c) >= 0) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func (u URI) token() *tokenwire.Token {
	return &tokenwire.Token{Label: u.Token, Serial: u.Serial, Manufacturer: u.Manufacturer, Model: u.Model, Slot: u.Slot}
}

func (u URI) key() *tokenwire.Key { return &tokenwire.Key{Label: u.Object, ID: u.ID} }

// TokenName names the token for people.
func (u URI) TokenName() string {
	switch {
	case u.Token != "":
		return fmt.Sprintf("token %q", u.Token)
	case u.Serial != "":
		return fmt.Sprintf("token with serial number %q", u.Serial)
	}
	return fmt.Sprintf("token in slot %d", *u.Slot)
}

// KeyName names the key on its token for people.
func (u URI) KeyName() string {
	if u.Object != "" {
		return fmt.Sprintf("key %q", u.Object)
	}
	return fmt.Sprintf("key with id %x", u.ID)
}
