package rekorv1

import (
	"bytes"
	"mime"
	"net/http"
	"regexp"
	"strings"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/internal/quota"
	"github.com/sigbox/sigbox/internal/strictjson"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry"
)

// create appends an entry and answers 201 with it, or 409 where the log holds it already.
func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	visit, err := s.quotas.Arrive(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	defer visit.End()
	id, created, err := s.append(w, r, visit)
	if id != "" {
		w.Header().Set("Location", entriesPath+"/"+id)
	}
	if err != nil {
		visit.Settle(asProblem(err).status >= http.StatusInternalServerError)
		s.fail(w, r, err)
		return
	}
	visit.Settle(false)
	w.Header().Set("ETag", id) // unquoted: sigstore-go looks the entry up by it
	httpx.Write(w, http.StatusCreated, "application/json", answer(created))
}

// append puts the entry of a request into the log. It returns the entry's id with the error that it is
// a duplicate, and with no other error.
func (s *Server) append(w http.ResponseWriter, r *http.Request, visit *quota.Visit) (id string, created map[string]logEntry, err error) {
	e, err := s.readProposed(w, r)
	if err != nil {
		return "", nil, err
	}
	if err := s.writers.Admit(e, visit); err != nil {
		return "", nil, err
	}
	sh, receipt, err := s.chain.Append(r.Context(), e)
	if err != nil {
		return "", nil, err
	}
	id = sh.entryID(receipt.Leaf.Hash)
	if receipt.Duplicate {
		visit.Duplicate()
	}
	if receipt.Duplicate && !s.duplicates {
		return id, nil, refuse(http.StatusConflict, "an equivalent entry already exists in the transparency log with UUID %s", id)
	}
	receipt.Leaf.Attestation = nil // the client has it; upstream sends it to readers only
	if created, err = sh.render(receipt.Leaf, receipt.Proof, receipt.Checkpoint); err != nil {
		return "", nil, err
	}
	return id, created, nil
}

func (s *Server) readProposed(w http.ResponseWriter, r *http.Request) (entry.Proposed, error) {
	room := s.bodies.Enter()
	defer room.Leave() // what an entry keeps of its body is little
	body, err := s.readBody(w, r, room, "proposedEntry")
	if err != nil {
		return nil, err
	}
	return parse(s.kinds, body, room)
}

// Parse reads a proposed entry as POST /api/v1/log/entries does, and verifies the signatures in it. It takes body over:
// the caller neither reads it afterwards nor writes to it, until it has no more use for the entry.
// Errors are fit for the client; those of an entry, and not of its JSON, wrap [entry.ErrInvalid].
func Parse(kinds entry.Kinds, body []byte) (tlog.Entry, error) {
	if err := notEmpty(body, "proposedEntry"); err != nil {
		return nil, err
	}
	e, err := parse(kinds, body, nil)
	if err != nil {
		return nil, err // not e: a nil Proposed is not a nil tlog.Entry
	}
	return e, nil
}

// parse reads a proposed entry; JSON is checked and decoded at once, in the body itself.
func parse(kinds entry.Kinds, body []byte, room *httpx.Room) (entry.Proposed, error) {
	v, err := httpx.TakeJSON(body)
	if err != nil {
		return nil, err
	}
	kind, spec, err := readProposed(v, "proposedEntry", "")
	if err != nil {
		return nil, err
	}
	if err := room.Want(int64(len(body)) * copies(kind)); err != nil {
		return nil, err
	}
	e, err := kinds.Parse(kind, spec)
	if err == nil {
		err = e.Insertable()
	}
	if err != nil {
		return nil, &problem{http.StatusBadRequest, http.StatusBadRequest, "error processing entry: " + err.Error(), err}
	}
	return e, nil
}

// copies is how many times the parser of a kind may hold the body in memory, rounded up: docs/design/0015.
func copies(kind entry.Kind) int64 {
	switch kind.Name {
	case "hashedrekord", "dsse":
		return 2 // the largest part, out of base64
	case "intoto":
		return 3 // 0.0.2 has the payload in base64 twice
	}
	return 4 // by upstream's code
}

// readJSON reads a body that is exactly one JSON value, which is to be decoded: the strings in it are copied out. name is
// what the schema calls it.
func (s *Server) readJSON(w http.ResponseWriter, r *http.Request, room *httpx.Room, name string) ([]byte, error) {
	body, err := s.readBody(w, r, room, name)
	if err != nil {
		return nil, err
	}
	if err := room.Want(2 * int64(len(body))); err != nil {
		return nil, err
	}
	return body, httpx.CheckJSON(body)
}

// readBody reads a body that is declared as JSON and is not empty.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request, room *httpx.Room, name string) ([]byte, error) {
	if err := checkType(r); err != nil {
		return nil, err
	}
	body, err := room.Read(w, r, s.maxBody)
	if err != nil {
		return nil, err
	}
	return body, notEmpty(body, name)
}

func notEmpty(body []byte, name string) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return schema(codeRequired, "%s in body is required", name)
	}
	return nil
}

// checkType refuses a body that is not declared as JSON in UTF-8. Where there is none, nothing has to
// be declared.
func checkType(r *http.Request) error {
	declared := r.Header.Values("Content-Type")
	if r.ContentLength == 0 && len(declared) == 0 {
		return nil
	}
	text := strings.Join(declared, ", ")
	if text == "" {
		text = "application/octet-stream" // RFC 9110 8.3
	}
	if _, _, err := mime.ParseMediaType(text); err != nil || !strings.Contains(text, "/") {
		return refuse(http.StatusBadRequest, "parsing Content-Type header from %.64q failed", text)
	}
	_, params, _ := strings.Cut(strings.ToLower(text), "charset=")
	if httpx.MediaType(r) != "application/json" || params != "" && strings.Trim(params, `" `) != "utf-8" {
		return refuse(http.StatusUnsupportedMediaType, "unsupported media type %.64q, only [application/json] are allowed", text)
	}
	return nil
}

// known are the kinds of upstream's schema: others are a schema error, these an error of the
// entry where the log does not take them.
var known = map[string]bool{
	"alpine": true, "cose": true, "dsse": true, "hashedrekord": true, "helm": true, "intoto": true,
	"jar": true, "rekord": true, "rfc3161": true, "rpm": true, "tuf": true,
}

// versionPattern is that of semver.org, as the schema and its error message have it.
const versionPattern = `^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$`

var version = regexp.MustCompile(versionPattern)

// readProposed takes kind, apiVersion and spec out of a proposed entry; other fields are ignored,
// as upstream does. name and prefix say where in the body it stands.
func readProposed(value any, name, prefix string) (entry.Kind, any, error) {
	var none entry.Kind
	o, ok := value.(map[string]any)
	if !ok && value != nil {
		return none, nil, unreadable(codeType, "%s in body must be of type object", name)
	}
	var p struct{ Kind, APIVersion, Spec any }
	p.Kind, p.APIVersion, p.Spec = strictjson.Member(o, "kind"), strictjson.Member(o, "apiVersion"), strictjson.Member(o, "spec")
	kind, ok := p.Kind.(string)
	switch {
	case p.Kind == nil || p.Kind == "":
		return none, nil, unreadable(codeRequired, "kind in body is required")
	case !ok:
		return none, nil, unreadable(codeType, "kind in body must be of type string")
	case !known[kind]:
		return none, nil, unreadable(codeKind, "invalid kind value: %.64q", kind)
	}
	v, ok := p.APIVersion.(string)
	switch {
	case p.APIVersion == nil:
		return none, nil, schema(codeRequired, "%sapiVersion in body is required", prefix)
	case !ok:
		return none, nil, schema(codeType, "%sapiVersion in body must be of type string", prefix)
	case v != "0.0.1" && v != "0.0.2" && !version.MatchString(v): // an expression costs, and all are these
		return none, nil, schema(codePattern, "%sapiVersion in body should match '%s'", prefix, versionPattern)
	case p.Spec == nil:
		return none, nil, schema(codeRequired, "%sspec in body is required", prefix)
	}
	return entry.Kind{Name: kind, Version: v}, p.Spec, nil
}
