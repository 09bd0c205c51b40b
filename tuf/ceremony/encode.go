package ceremony

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/statement"
)

// MaxSize bounds a request file.
const MaxSize = 16 << 20

const format = 1

// file is the JSON of a request.
type file struct {
	Format     int        `json:"sigbox_ceremony"`
	Instance   string     `json:"instance"`
	Made       string     `json:"made"`
	GoodUntil  string     `json:"good_until"`
	Base       *fileBase  `json:"base"`
	Root       []byte     `json:"root,omitempty"`
	Targets    []byte     `json:"targets,omitempty"`
	Contents   []fileBlob `json:"contents,omitempty"`
	Record     []byte     `json:"record,omitempty"`
	Statements [][]byte   `json:"statements,omitempty"`
	Approvals  []fileSign `json:"approvals"`
}

type fileBase struct {
	Root     []byte     `json:"root"`
	Targets  []byte     `json:"targets"`
	Contents []fileBlob `json:"contents"`
	Record   []byte     `json:"record,omitempty"`
}

type fileBlob struct {
	Name    string `json:"name"`
	Content []byte `json:"content"`
}

type fileSign struct {
	KeyID string   `json:"key_id"`
	Roles []string `json:"roles"`
	At    string   `json:"at"`
	Sig   []byte   `json:"sig"`
}

func blobsOut(list []tuf.Blob) (out []fileBlob) {
	for _, b := range list {
		out = append(out, fileBlob{b.Name, b.Content})
	}
	return out
}

func blobsIn(list []fileBlob) (out []tuf.Blob) {
	for _, b := range list {
		out = append(out, tuf.Blob{Name: b.Name, Content: b.Content})
	}
	return out
}

func (r *Request) file() file {
	f := file{
		Format: format, Instance: r.Instance, Made: statement.Stamp(r.Made), GoodUntil: statement.Stamp(r.GoodUntil),
		Root: r.Root, Targets: r.Targets, Contents: blobsOut(r.Contents), Record: r.Record, Statements: r.Statements,
		Approvals: []fileSign{},
	}
	if b := r.Base; b != nil {
		f.Base = &fileBase{b.Root, b.Targets, blobsOut(b.Contents), b.Record}
	}
	for _, a := range r.Approvals {
		f.Approvals = append(f.Approvals, fileSign{a.KeyID, a.Roles, statement.Stamp(a.At), a.Sig})
	}
	return f
}

// Encode writes the request file.
func (r *Request) Encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(r.file()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if b.Len() > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, want at most %d", ErrRequest, b.Len(), MaxSize)
	}
	return b.Bytes(), nil
}

// Parse reads a request file and verifies everything in it that can be verified without knowing whom
// to trust: see the package's documentation.
func Parse(raw []byte) (*Request, error) {
	if len(raw) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, want at most %d", ErrRequest, len(raw), MaxSize)
	}
	var f file
	if err := httpx.DecodeJSON(raw, &f, true); err != nil {
		return nil, fmt.Errorf("%w: not a request file, or a damaged one: %w", ErrRequest, err)
	}
	if f.Format != format {
		return nil, fmt.Errorf("%w: format %d: this sigbox knows %d: use the version that made it", ErrRequest, f.Format, format)
	}
	r := &Request{
		Instance: f.Instance, Root: f.Root, Targets: f.Targets, Contents: blobsIn(f.Contents), Record: f.Record, Statements: f.Statements,
	}
	if b := f.Base; b != nil {
		r.Base = &Base{b.Root, b.Targets, blobsIn(b.Contents), b.Record}
	}
	var err error
	times := []timeOf{{f.Made, &r.Made}, {f.GoodUntil, &r.GoodUntil}}
	r.Approvals = make([]Approval, len(f.Approvals))
	for i, a := range f.Approvals {
		r.Approvals[i] = Approval{KeyID: a.KeyID, Roles: a.Roles, Sig: a.Sig}
		times = append(times, timeOf{a.At, &r.Approvals[i].At})
	}
	for _, t := range times {
		if *t.to, err = time.Parse(statement.TimeForm, t.text); err != nil || statement.Stamp(*t.to) != t.text {
			return nil, fmt.Errorf("%w: %.40q is not a time of the form YYYY-MM-DDTHH:MM:SSZ", ErrRequest, t.text)
		}
	}
	return r, r.check()
}

type timeOf struct {
	text string
	to   *time.Time
}
