package envelope

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/sigbox/sigbox/internal/strictjson"
	"github.com/sigbox/sigbox/tlog/entry"
)

// maxListed bounds what is made of a statement's subjects, or materials, before their digests are counted.
const maxListed = 1 << 17 // commas in the JSON of a list

var errListed = errors.New("too many items")

// List is a list of a statement, as encoding/json reads it, of bounded size.
type List[T any] []T

// UnmarshalJSON implements json.Unmarshaler.
func (l *List[T]) UnmarshalJSON(data []byte) error {
	if bytes.Count(data, []byte(",")) > maxListed {
		return errListed
	}
	return json.Unmarshal(data, (*[]T)(l))
}

// Unmarshal is json.Unmarshal for a statement or a part of one. ok is false for what does not fit into v, and
// the error says that a [List] in it is too long.
func Unmarshal(statement []byte, v any) (ok bool, err error) {
	err = json.Unmarshal(statement, v)
	if errors.Is(err, errListed) {
		return false, entry.Invalidf("statement has more than %d subjects or materials", maxListed)
	}
	return err == nil, nil
}

// AppendDigests appends "algorithm:hex" of the digests of one thing, ordered by algorithm.
func AppendDigests(dst []string, digests map[string]string) []string {
	if len(digests) == 1 { // as nearly all have
		for alg, digest := range digests {
			dst = append(dst, alg+":"+digest)
		}
		return dst
	}
	for _, alg := range slices.Sorted(maps.Keys(digests)) {
		dst = append(dst, alg+":"+digests[alg])
	}
	return dst
}

// subjectMembers are those of a statement that are asked for.
var subjectMembers = strictjson.Pick{
	{Name: "subject", Pick: strictjson.Pick{{Name: "digest", Pick: strictjson.Pick{}}}},
	{Name: "predicate", Pick: strictjson.Pick{{Name: "materials"}}},
}

// subjects returns the digests of a statement's subjects as encoding/json reads them, and whether there may be
// materials too; nothing of what is no statement. All but odd statements are read in one pass, in which
// nothing is made of the predicate.
func subjects(statement []byte) (digests []string, more bool, err error) {
	v, err := strictjson.ParseSome(statement, subjectMembers)
	if err != nil {
		return oddSubjects(statement)
	}
	o, ok := object(v)
	list, isList := o.Member("subject").([]any)
	ok = ok && (isList || o.Member("subject") == nil)
	for _, item := range list {
		subject, isObject := object(item)
		digest, isToo := object(subject.Member("digest"))
		if ok = ok && isObject && isToo; !ok {
			break
		}
		slices.SortFunc(digest, byName)
		for _, d := range digest {
			text, isText := d.Value.(string)
			ok = ok && (isText || d.Value == nil)
			digests = append(digests, d.Name+":"+text)
		}
	}
	if !ok {
		return nil, false, nil
	}
	predicate, _ := o.Member("predicate").(strictjson.Some)
	return digests, predicate.Member("materials") != nil, nil
}

func byName(a, b strictjson.Named) int { return strings.Compare(a.Name, b.Name) }

// oddSubjects reads what two readers may read in two ways, or what is no JSON, as encoding/json does.
func oddSubjects(statement []byte) (digests []string, more bool, err error) {
	var s struct {
		Subject List[struct {
			Digest map[string]string `json:"digest"`
		}] `json:"subject"`
	}
	if ok, err := Unmarshal(statement, &s); !ok {
		return nil, false, err
	}
	for _, sub := range s.Subject {
		digests = AppendDigests(digests, sub.Digest)
	}
	return digests, true, nil
}
