package rekorv1

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/tlog"
)

// maxQueries is how many entries one retrieve may ask for.
const maxQueries = 10

// logQuery asks for entries by what identifies them (openapi.yaml, SearchLogQuery).
type logQuery struct {
	EntryUUIDs []string          `json:"entryUUIDs"`
	LogIndexes []*int64          `json:"logIndexes"`
	Entries    []json.RawMessage `json:"entries"`
}

// retrieve answers the entries of a query that the log holds; others are left out.
func (s *Server) retrieve(w http.ResponseWriter, r *http.Request) {
	found, err := s.retrieveAll(w, r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	httpx.WriteJSON(w, http.StatusOK, found)
}

func (s *Server) retrieveAll(w http.ResponseWriter, r *http.Request) ([]map[string]logEntry, error) {
	places, indexes, err := s.readLogQuery(w, r)
	if err != nil {
		return nil, err
	}
	for {
		list := s.shards()
		found, missed, err := gather(r.Context(), list, places, indexes)
		if err != nil || !missed {
			return found, err
		}
		if longer, err := s.chain.Grow(r.Context(), list); err != nil || !longer {
			return found, err
		}
	}
}

// readLogQuery reads what a query asks for: UUIDs, and virtual indexes.
func (s *Server) readLogQuery(w http.ResponseWriter, r *http.Request) ([]place, []*int64, error) {
	room := s.bodies.Enter()
	defer room.Leave()
	body, err := s.readJSON(w, r, room, "entry")
	if err != nil {
		return nil, nil, err
	}
	var q logQuery
	if err := decode(body, &q, "entry"); err != nil {
		return nil, nil, err
	}
	if err := q.validate(); err != nil {
		return nil, nil, err
	}
	places, err := s.queriedIDs(&q, room)
	return places, q.LogIndexes, err
}

// gather reads the entries at places and virtual indexes, as far as they are there; missed tells
// whether something was not.
func gather(ctx context.Context, list shards, places []place, indexes []*int64) (found []map[string]logEntry, missed bool, err error) {
	found = []map[string]logEntry{}
	keep := func(e map[string]logEntry, err error) error {
		switch {
		case err == nil:
			found = append(found, e)
		case errors.Is(err, tlog.ErrNotFound):
			missed = true
		default:
			return err
		}
		return nil
	}
	for _, p := range places {
		for _, sh := range p.in(list) { // a UUID may be in several
			if err := keep(sh.find(ctx, p.uuid)); err != nil {
				return nil, missed, err
			}
		}
		missed = missed || p.tree != nil && list.tree(*p.tree) == nil
	}
	for _, i := range indexes {
		sh, index := list.resolve(*i)
		if err := keep(sh.load(ctx, index)); err != nil {
			return nil, missed, err
		}
	}
	return found, missed, nil
}

// queriedIDs returns the UUIDs that a query names or whose entries it proposes, and where to look.
func (s *Server) queriedIDs(q *logQuery, room *httpx.Room) ([]place, error) {
	var places []place
	for i, id := range q.EntryUUIDs {
		p, err := parseID(id)
		if errors.Is(err, errTree) {
			return nil, refuse(http.StatusBadRequest, "invalid entryID %s", id)
		}
		if err != nil {
			return nil, schema(codePattern, "entryUUIDs.%d in body should match '%s'", i, idPattern)
		}
		places = append(places, p)
	}
	for i, raw := range q.Entries {
		v, err := httpx.TakeJSON(raw)
		if err != nil {
			return nil, err
		}
		kind, spec, err := readProposed(v, "entries", fmt.Sprintf("entries.%d.", i))
		if errors.Is(err, errUnread) {
			return nil, unread("entry", "%s", err) // in a list, upstream fails to read it
		}
		if err != nil {
			return nil, err
		}
		if err := room.Want(int64(len(raw)) * (1 + copies(kind))); err != nil {
			return nil, err
		}
		e, err := s.kinds.Parse(kind, spec)
		if err != nil {
			return nil, &problem{http.StatusBadRequest, http.StatusBadRequest, err.Error(), err}
		}
		places = append(places, place{uuid: e.Identity()})
	}
	return places, nil
}

func (q *logQuery) validate() error {
	for _, l := range []struct {
		name  string
		n     int
		empty bool
	}{
		{"entries", len(q.Entries), q.Entries != nil && len(q.Entries) == 0},
		{"entryUUIDs", len(q.EntryUUIDs), q.EntryUUIDs != nil && len(q.EntryUUIDs) == 0},
		{"logIndexes", len(q.LogIndexes), q.LogIndexes != nil && len(q.LogIndexes) == 0},
	} {
		if l.empty {
			return schema(codeMinItems, "%s in body should have at least 1 items", l.name)
		}
		if l.n > maxQueries {
			return schema(codeMaxItems, "%s in body should have at most %d items", l.name, maxQueries)
		}
	}
	for i, index := range q.LogIndexes {
		switch {
		case index == nil:
			return schema(codeRequired, "logIndexes.%d in body is required", i)
		case *index < 0:
			return schema(codeMinimum, "logIndexes.%d in body should be greater than or equal to 0", i)
		}
	}
	switch n := len(q.Entries) + len(q.EntryUUIDs) + len(q.LogIndexes); {
	case n == 0:
		return schema(codeRequired, "entry in body is required: one of entryUUIDs, logIndexes, entries")
	case n > maxQueries:
		return refuse(http.StatusUnprocessableEntity, "more than max allowed %d entries in request", maxQueries)
	}
	return nil
}

// unread is the refusal of a body that is JSON and not what the schema has. name is what the schema
// calls it.
func unread(name, format string, args ...any) *problem {
	return refuse(http.StatusBadRequest, `parsing %s body from "" failed, because `+format, append([]any{name}, args...)...)
}

// decode reads checked JSON into v.
func decode(body []byte, v any, name string) error {
	err := json.Unmarshal(body, v)
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) {
		if typ.Field == "" {
			return unread(name, "it must be %s", typeName(typ.Type))
		}
		return unread(name, "%s must be %s", typ.Field, typeName(typ.Type))
	}
	if err != nil {
		return refuse(http.StatusBadRequest, "body is not valid JSON")
	}
	return nil
}

// typeName is what JSON calls a type of ours.
func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct:
		return "an object"
	case reflect.Slice:
		return "a list"
	case reflect.Int64:
		return "an integer of 64 bits"
	}
	return "a " + t.String()
}
