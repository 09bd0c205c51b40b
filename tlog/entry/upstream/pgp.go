package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/sigbox/sigbox/tlog/entry"
)

// Packets of RFC 9580 that belong into a keyring of public keys, and into a detached signature.
// Others unpack or decrypt something.
var (
	keyPackets       = map[uint8]bool{2: true, 6: true, 10: true, 12: true, 13: true, 14: true, 17: true, 21: true}
	signaturePackets = map[uint8]bool{2: true, 10: true, 21: true}
)

// checkPGPKey bounds a keyring, armoured (in several blocks even) or not.
func checkPGPKey(data []byte) error {
	if !bytes.HasPrefix(data, []byte("-----BEGIN PGP")) {
		return countPackets(bytes.NewReader(data), keyPackets)
	}
	var all []io.Reader
	r := bufio.NewReader(bytes.NewReader(data))
	for {
		block, err := armor.Decode(r)
		if errors.Is(err, io.EOF) && len(all) > 0 {
			return countPackets(io.MultiReader(all...), keyPackets)
		}
		if err != nil {
			return entry.Invalid("PGP armour cannot be read", err)
		}
		body, err := io.ReadAll(block.Body) // no more than data
		if err != nil {
			return entry.Invalid("PGP armour cannot be read", err)
		}
		all = append(all, bytes.NewReader(body))
	}
}

func checkPGPSignature(data []byte) error {
	if block, err := armor.Decode(bytes.NewReader(data)); err == nil {
		return countPackets(block.Body, signaturePackets)
	}
	return countPackets(bytes.NewReader(data), signaturePackets)
}

// countPackets reads packets without looking into them.
func countPackets(r io.Reader, allowed map[uint8]bool) error {
	packets := packet.NewOpaqueReader(r)
	for n := 0; ; n++ {
		p, err := packets.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return entry.Invalid("PGP packets cannot be read", err)
		}
		if n == maxPackets {
			return entry.Invalidf("more than %d PGP packets", maxPackets)
		}
		if !allowed[p.Tag] {
			return entry.Invalidf("PGP packet of type %d: want public keys or signatures only", p.Tag)
		}
	}
}
