package stack

import (
	"maps"
	"slices"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/dsse"
	"github.com/sigbox/sigbox/tlog/entry/hashedrekord"
	"github.com/sigbox/sigbox/tlog/entry/intoto"
	"github.com/sigbox/sigbox/tlog/entry/upstream"
)

// kindsV1 are the kinds of entries that a Rekor v1 log takes: those that are listed, all where none is.
func kindsV1(listed []config.Kind) entry.Kinds {
	all := upstream.Kinds()
	maps.Copy(all, entry.Kinds{
		hashedrekord.Kind: hashedrekord.Parse, dsse.Kind: dsse.Parse, intoto.KindV001: intoto.ParseV001, intoto.KindV002: intoto.ParseV002,
	})
	if len(listed) > 0 {
		maps.DeleteFunc(all, func(k entry.Kind, _ entry.Parser) bool { return !slices.Contains(listed, config.Kind(k.Name)) })
	}
	return all
}
