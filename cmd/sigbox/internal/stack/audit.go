package stack

import (
	"errors"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/dsse"
	"github.com/sigbox/sigbox/tlog/entry/hashedrekord"
	"github.com/sigbox/sigbox/tlog/entry/intoto"
	"github.com/sigbox/sigbox/tlog/entry/upstream"
	"github.com/sigbox/sigbox/tlog/tile"
)

// audits says, for each log, what identities and search keys its leaves must have.
func audits() map[string]tlog.Audit {
	return map[string]tlog.Audit{
		logRekorV1: {Identity: bodyIdentity, Keys: keysV1},
		logRekorV2: {Identity: bodyIdentity, Keys: func(tlog.Leaf) ([][]byte, error) { return nil, nil }},
		logCT:      {Identity: certificateIdentity, Keys: func(l tlog.Leaf) ([][]byte, error) { return [][]byte{l.Hash[:]}, nil }},
	}
}

// bodyIdentity is [entry.Base.Identity].
func bodyIdentity(l tlog.Leaf) ([32]byte, error) {
	body, _, err := entry.Stored(l.Data)
	return tile.LeafHash(body), err
}

// keysV1 makes the search keys of an entry again.
func keysV1(l tlog.Leaf) ([][]byte, error) {
	for _, read := range []func([]byte) ([][]byte, error){hashedrekord.Keys, dsse.Keys, intoto.Keys, upstream.Keys} {
		if keys, err := read(l.Data); !errors.Is(err, entry.ErrUnknownKind) {
			return keys, err
		}
	}
	return nil, entry.ErrUnknownKind
}
