package airgap

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sigbox/sigbox/internal/strictjson"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/statement"
)

// The reasons for which a file is refused. Every refusal wraps one of them.
var (
	ErrForm       = errors.New("air gap file is damaged, or not one of ours")
	ErrSignature  = errors.New("air gap file is not signed by the holders of the targets keys")
	ErrRoot       = errors.New("air gap file is of another instance")
	ErrExpired    = errors.New("air gap file is not good any more")
	ErrClock      = errors.New("air gap file is from the future")
	ErrOld        = errors.New("air gap file is older than what was imported")
	ErrGap        = errors.New("air gap file leaves a gap")
	ErrFork       = errors.New("air gap file shows another history than what was imported")
	ErrLog        = errors.New("air gap file has a checkpoint or entries that are not of a trusted log")
	ErrRepository = errors.New("air gap file has a TUF repository that a client would refuse")
	ErrTooLarge   = errors.New("air gap file is larger than is taken")
)

// Bounds of what is kept in memory, in bytes, and of the manifest.
const (
	maxManifest = 4 << 20  // the envelope
	maxMetadata = 16 << 20 // all TUF metadata
	maxContents = 64 << 20 // all targets
	maxParts    = 20_000
	maxLogs     = 1_000
	maxBundle   = 64 << 20
)

// MaxGoodFor bounds how long an export may be good for.
const MaxGoodFor = 366 * 24 * time.Hour

// DefaultGoodFor is how long an export is good for.
const DefaultGoodFor = 90 * 24 * time.Hour

// slack is how far the clocks on both sides may differ.
const slack = 5 * time.Minute

// Manifest is what a file says that it is.
type Manifest struct {
	Mirror string // URL of the TUF repository that it was taken from
	Number int64  // 1 for the first export, then one more than that of the one before
	After  string // ID of the export before; "" for the first

	Made, GoodUntil time.Time // whole seconds, UTC

	Versions tuf.Versions // as they were published outside
	Logs     []Log        // by ID
	Parts    []Part       // in the order in which they are in the file
}

// Part is one file in the archive.
type Part struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // hex
}

// Log is the head of a log, and how it continues the one in the export before.
type Log struct {
	ID         string   `json:"id"`                    // hex, SHA-256 of key_id and the origin behind it: shards of Rekor v1 have one key
	Name       string   `json:"name"`                  // of the service that the outside reads it from: "rekor-v1"
	KeyID      string   `json:"key_id"`                // hex, SHA-256 of its SPKI
	Checkpoint []byte   `json:"checkpoint"`            // a signed note
	From       int64    `json:"from"`                  // size in the export before; 0 for none
	Proof      [][]byte `json:"proof,omitempty"`       // that the tree extends that of From (RFC 6962 2.1.2)
	First      int64    `json:"first"`                 // entries that earlier exports carried, from the first on
	FirstRange [][]byte `json:"first_range,omitempty"` // their compact range
	Held       int64    `json:"held"`                  // those that this one and the earlier ones carry
	Range      [][]byte `json:"range,omitempty"`       // their compact range
}

// NewLog is the head of a log with nothing before it.
func NewLog(name string, key [32]byte, checkpoint []byte) Log {
	l := Log{Name: name, KeyID: hex.EncodeToString(key[:]), Checkpoint: checkpoint}
	l.ID = l.id()
	return l
}

// id is what ID has to be.
func (l Log) id() string {
	sum := sha256.Sum256([]byte(l.KeyID + l.origin()))
	return hex.EncodeToString(sum[:])
}

// origin is that in the checkpoint.
func (l Log) origin() string {
	origin, _, _ := strings.Cut(string(l.Checkpoint), "\n")
	return origin
}

// encoded is the form of a manifest as JSON.
type encoded struct {
	Mirror    string           `json:"mirror"`
	Number    int64            `json:"number"`
	After     string           `json:"after"`
	Made      string           `json:"made"`
	GoodUntil string           `json:"good_until"`
	Versions  map[string]int64 `json:"versions"`
	Logs      []Log            `json:"logs"`
	Parts     []Part           `json:"parts"`
}

// encode returns the one encoding of a manifest.
func (m Manifest) encode() ([]byte, error) {
	e := encoded{
		Mirror: m.Mirror, Number: m.Number, After: m.After, Made: statement.Stamp(m.Made), GoodUntil: statement.Stamp(m.GoodUntil),
		Versions: map[string]int64{tuf.Root: m.Versions.Root, tuf.Targets: m.Versions.Targets, tuf.Snapshot: m.Versions.Snapshot, tuf.Timestamp: m.Versions.Timestamp},
		Logs:     m.Logs, Parts: m.Parts,
	}
	raw, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	return raw, nil
}

// parseManifest reads what encode writes, and nothing else.
func parseManifest(raw []byte) (m Manifest, err error) {
	var e encoded
	if err := strictjson.Check(raw); err != nil {
		return m, fmt.Errorf("%w: manifest: %w", ErrForm, err)
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return m, fmt.Errorf("%w: manifest: %w", ErrForm, err)
	}
	m = Manifest{
		Mirror: e.Mirror, Number: e.Number, After: e.After, Logs: e.Logs, Parts: e.Parts,
		Versions: tuf.Versions{Root: e.Versions[tuf.Root], Targets: e.Versions[tuf.Targets], Snapshot: e.Versions[tuf.Snapshot], Timestamp: e.Versions[tuf.Timestamp]},
	}
	for _, t := range []struct {
		text string
		to   *time.Time
	}{{e.Made, &m.Made}, {e.GoodUntil, &m.GoodUntil}} {
		if *t.to, err = time.Parse(time.RFC3339, t.text); err != nil {
			return m, fmt.Errorf("%w: manifest: %w", ErrForm, err)
		}
		*t.to = t.to.UTC()
	}
	again, err := m.encode()
	if err != nil || !bytes.Equal(again, raw) {
		return m, fmt.Errorf("%w: manifest: not as it is written", ErrForm)
	}
	return m, m.check()
}

// ID is SHA-256 of the manifest, in hex: by it the next export names this one.
func (m Manifest) ID() (string, error) {
	raw, err := m.encode()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}

// kinds are what may be in a file, in order. Names are never joined to a path that they could leave.
var kinds = []struct {
	name *regexp.Regexp
	max  int64
}{
	{regexp.MustCompile(`^tuf/[1-9][0-9]{0,8}\.root\.json$`), 99 << 10},
	{regexp.MustCompile(`^tuf/targets\.json$`), 4 << 20},
	{regexp.MustCompile(`^tuf/snapshot\.json$`), 99 << 10},
	{regexp.MustCompile(`^tuf/timestamp\.json$`), 16 << 10},
	{regexp.MustCompile(`^targets/[A-Za-z0-9][A-Za-z0-9._-]{0,89}$`), tuf.MaxTargetSize},
	{regexp.MustCompile(`^entries/[0-9a-f]{64}$`), 1 << 40},
	{regexp.MustCompile(`^bundles/[A-Za-z0-9][A-Za-z0-9._-]{0,89}$`), maxBundle},
}

func kindOf(name string) int {
	for i, k := range kinds {
		if k.name.MatchString(name) {
			return i
		}
	}
	return -1
}

// The kinds, by their place in the list.
const (
	kindRoot = iota
	kindTargets
	kindSnapshot
	kindTimestamp
	kindContent
	kindEntries
	kindBundle
)

var hexDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// printable is what may be shown on a terminal as it is.
func printable(s string) bool {
	return s != "" && len(s) <= 512 && strings.Trim(s, " ") == s && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// check holds a manifest against the rules that need nothing else.
func (m Manifest) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: manifest: %s", ErrForm, fmt.Sprintf(format, args...))
	}
	switch {
	case m.Number < 1, (m.Number == 1) != (m.After == ""), m.After != "" && !hexDigest.MatchString(m.After):
		return bad("number %d after %.70q", m.Number, m.After)
	case !m.GoodUntil.After(m.Made) || m.GoodUntil.Sub(m.Made) > MaxGoodFor:
		return bad("made %s and good until %s", statement.Stamp(m.Made), statement.Stamp(m.GoodUntil))
	case len(m.Parts) > maxParts || len(m.Logs) > maxLogs:
		return bad("%d parts and %d logs", len(m.Parts), len(m.Logs))
	}
	if err := m.checkParts(); err != nil {
		return err
	}
	if !printable(m.Mirror) {
		return bad("mirror %.200q", m.Mirror)
	}
	for i, l := range m.Logs {
		if !printable(l.Name) || !hexDigest.MatchString(l.KeyID) || l.ID != l.id() || i > 0 && l.ID <= m.Logs[i-1].ID || l.From < 0 || l.First < 0 || l.Held < l.First {
			return bad("log %d", i+1)
		}
	}
	return nil
}

// checkParts wants parts in the order of their kinds, each name once, and no kind larger than may be.
func (m Manifest) checkParts() error {
	bad := func(p Part, why string) error {
		return fmt.Errorf("%w: manifest: part %.120q: %s", ErrForm, p.Name, why)
	}
	last, roots, seen, sums := -1, int64(0), map[string]bool{}, [kindBundle + 1]int64{}
	for _, p := range m.Parts {
		kind := kindOf(p.Name)
		switch {
		case kind < 0:
			return bad(p, "a name that no part has")
		case kind < last:
			return bad(p, "not in its place")
		case seen[p.Name]:
			return bad(p, "named twice")
		case p.Size < 1 || p.Size > kinds[kind].max:
			return bad(p, fmt.Sprintf("%d bytes, want 1 to %d", p.Size, kinds[kind].max))
		case !hexDigest.MatchString(p.SHA256):
			return bad(p, "no SHA-256")
		}
		if kind == kindRoot {
			if roots++; p.Name != rootName(roots) {
				return bad(p, "roots are from the first on without a gap")
			}
		}
		last, seen[p.Name] = kind, true
		sums[kind] += p.Size
	}
	switch {
	case roots == 0 || !seen["tuf/targets.json"] || !seen["tuf/snapshot.json"] || !seen["tuf/timestamp.json"]:
		return fmt.Errorf("%w: manifest: the TUF repository is not whole", ErrForm)
	case sums[kindRoot]+sums[kindTargets]+sums[kindSnapshot]+sums[kindTimestamp] > maxMetadata || sums[kindContent] > maxContents:
		return fmt.Errorf("%w: the TUF repository has more than %d bytes of metadata or %d of targets", ErrTooLarge, maxMetadata, maxContents)
	}
	return nil
}

func rootName(version int64) string { return "tuf/" + strconv.FormatInt(version, 10) + ".root.json" }

// plain is the last element of a part's name.
func plain(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }
