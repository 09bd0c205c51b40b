package stack

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/dsse"
	"github.com/sigbox/sigbox/tlog/entry/hashedrekord"
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
func bodyIdentity(l tlog.Leaf) ([32]byte, error) { return tile.LeafHash(l.Data), nil }

// keysV1 reads a canonical body again, signature included. That of a dsse has lost the envelope
// and with it what its search keys are made of.
func keysV1(l tlog.Leaf) ([][]byte, error) {
	var body struct {
		Kind       string `json:"kind"`
		APIVersion string `json:"apiVersion"`
		Spec       any    `json:"spec"`
	}
	dec := json.NewDecoder(bytes.NewReader(l.Data))
	dec.UseNumber()
	if err := dec.Decode(&body); err != nil {
		return nil, fmt.Errorf("decode the body: %w", err)
	}
	kind := entry.Kind{Name: body.Kind, Version: body.APIVersion}
	if kind == dsse.Kind {
		return nil, tlog.ErrUnknownKeys
	}
	e, err := entry.Kinds{hashedrekord.Kind: hashedrekord.Parse}.Parse(kind, body.Spec)
	if err != nil {
		return nil, err
	}
	return e.Keys(), nil
}
