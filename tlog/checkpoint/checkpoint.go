package checkpoint

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ErrInvalid says that bytes are not a checkpoint, or not one that the expected key has signed
// for the expected log.
var ErrInvalid = errors.New("checkpoint: not valid")

// maxName bounds an origin and a signature name, in bytes.
const maxName = 255

// Checkpoint is the tree head that a note commits to (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string   // first line of the note; no newline, not empty
	Size   int64    // leaves in the tree
	Root   [32]byte // RFC 6962 root of those leaves
	// Frozen says when the log was ended, in the form of time.UnixDate in UTC, and is "" as long
	// as it goes on. It is on an extension line, as rekor-tiles writes it.
	Frozen string
}

// frozenLine begins the extension line of the last checkpoint of a log.
const frozenLine = "Log frozen — "

// Signed is a checkpoint with the note text and signature lines that carry it.
type Signed struct {
	Checkpoint
	Note []byte // the whole signed note, as it is served; never changed
}

// Marshal returns the note text: origin, decimal size and base64 root, one line each, and the line
// that says that the log is frozen.
func (c Checkpoint) Marshal() []byte {
	b := make([]byte, 0, len(c.Origin)+66)
	b = append(b, c.Origin...)
	b = append(b, '\n')
	b = strconv.AppendInt(b, c.Size, 10)
	b = append(b, '\n')
	b = base64.StdEncoding.AppendEncode(b, c.Root[:])
	b = append(b, '\n')
	if c.Frozen != "" {
		b = append(append(append(b, frozenLine...), c.Frozen...), '\n')
	}
	return b
}

// Parse reads a note text. It takes exactly what [Checkpoint.Marshal] writes: other extension
// lines, leading zeros, other encodings of the root are [ErrInvalid].
func Parse(text []byte) (Checkpoint, error) {
	lines := strings.Split(string(text), "\n")
	if len(lines) < 4 || len(lines) > 5 || lines[len(lines)-1] != "" {
		return Checkpoint{}, fmt.Errorf("%w: want three lines, or four where the log is frozen", ErrInvalid)
	}
	c := Checkpoint{Origin: lines[0]}
	if len(lines) == 5 {
		date, ok := strings.CutPrefix(lines[3], frozenLine)
		at, err := time.Parse(time.UnixDate, date)
		if !ok || err != nil || at.UTC().Format(time.UnixDate) != date {
			return Checkpoint{}, fmt.Errorf("%w: extension line %.64q", ErrInvalid, lines[3])
		}
		c.Frozen = date
	}
	if err := checkOrigin(c.Origin); err != nil {
		return Checkpoint{}, err
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return Checkpoint{}, fmt.Errorf("%w: size %q", ErrInvalid, lines[1])
	}
	c.Size = size
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != len(c.Root) {
		return Checkpoint{}, fmt.Errorf("%w: root %q", ErrInvalid, lines[2])
	}
	copy(c.Root[:], root)
	return c, nil
}

func checkOrigin(s string) error {
	bad := func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) && r != ' ' }
	if s == "" || len(s) > maxName || !utf8.ValidString(s) || strings.ContainsFunc(s, bad) || strings.TrimSpace(s) != s {
		return fmt.Errorf("%w: origin %q: want 1 to %d bytes of one line of UTF-8", ErrInvalid, s, maxName)
	}
	return nil
}

func checkName(s string) error {
	if err := checkOrigin(s); err != nil {
		return err
	}
	if strings.ContainsAny(s, " +") {
		return fmt.Errorf("%w: signature name %q: spaces and '+' are not allowed", ErrInvalid, s)
	}
	return nil
}
