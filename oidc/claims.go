package oidc

import (
	"errors"
	"fmt"

	"github.com/sigbox/sigbox/internal/strictjson"
)

const (
	maxJSONDepth   = 16
	maxJSONMembers = 2000
)

// decodeObject decodes one JSON object that every decoder reads alike: valid UTF-8, no member twice whatever
// the case of its letters (encoding/json matches struct fields that way), bounded depth and number of
// members, nothing after it. Numbers stay json.Number.
func decodeObject(data []byte) (map[string]any, error) {
	v, err := strictjson.Parse(data)
	if err != nil {
		return nil, err
	}
	obj, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("not a JSON object")
	}
	members := 0
	return obj, bound(obj, 0, &members)
}

// bound holds a value to the bounds, counting the members of objects and lists.
func bound(v any, depth int, members *int) error {
	object, list := map[string]any(nil), []any(nil)
	switch v := v.(type) {
	case map[string]any:
		object = v
	case []any:
		list = v
	default:
		return nil
	}
	if depth == maxJSONDepth {
		return fmt.Errorf("JSON nested deeper than %d", maxJSONDepth)
	}
	if *members += len(object) + len(list); *members > maxJSONMembers {
		return fmt.Errorf("more than %d JSON members", maxJSONMembers)
	}
	for _, m := range object {
		if err := bound(m, depth+1, members); err != nil {
			return err
		}
	}
	for _, m := range list {
		if err := bound(m, depth+1, members); err != nil {
			return err
		}
	}
	return nil
}
