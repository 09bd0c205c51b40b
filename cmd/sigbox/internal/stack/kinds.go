package stack

import (
	"maps"

	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/dsse"
	"github.com/sigbox/sigbox/tlog/entry/hashedrekord"
	"github.com/sigbox/sigbox/tlog/entry/intoto"
	"github.com/sigbox/sigbox/tlog/entry/upstream"
)

// kindsV1 are the kinds of entries that our Rekor v1 logs take.
func kindsV1() entry.Kinds {
	all := upstream.Kinds()
	maps.Copy(all, entry.Kinds{
		hashedrekord.Kind: hashedrekord.Parse, dsse.Kind: dsse.Parse, intoto.KindV001: intoto.ParseV001, intoto.KindV002: intoto.ParseV002,
	})
	return all
}
