package upstream

import (
	"bytes"
	"encoding/binary"

	"github.com/sigbox/sigbox/tlog/entry"
)

// The lead and the intro of a header of an RPM (rpm.org, "Package format", V4).
const (
	rpmLead  = 96
	rpmIntro = 16
	rpmMagic = 0x8eade801
)

// checkRPM checks that the headers of a package are where and as large as they say. The payload is
// only hashed.
func checkRPM(spec map[string]any) error {
	key, err := content(spec, "content", maxPGPKey, "publicKey")
	if err != nil {
		return err
	}
	if len(key) > 0 {
		if err := checkPGPKey(key); err != nil {
			return err
		}
	}
	data, err := content(spec, "content", anySize, "package")
	if err != nil || len(data) == 0 {
		return err
	}
	if len(data) < rpmLead {
		return entry.Invalidf("rpm: shorter than its lead")
	}
	rest, err := checkHeader(data[rpmLead:], true)
	if err == nil {
		_, err = checkHeader(rest, false)
	}
	return err
}

// checkHeader returns what follows a header. That of signatures is padded to 8 bytes.
func checkHeader(data []byte, padded bool) (rest []byte, err error) {
	if len(data) < rpmIntro || binary.BigEndian.Uint32(data) != rpmMagic {
		return nil, entry.Invalidf("rpm: no header where one should be")
	}
	tags, size := uint64(binary.BigEndian.Uint32(data[8:])), uint64(binary.BigEndian.Uint32(data[12:]))
	if padded {
		size = (size + 7) / 8 * 8
	}
	data = data[rpmIntro:]
	if tags > maxTags {
		return nil, entry.Invalidf("rpm: a header with more than %d tags", maxTags)
	}
	if tags*16+size > uint64(len(data)) {
		return nil, entry.Invalidf("rpm: a header is larger than the package")
	}
	store := data[tags*16 : tags*16+size]
	budget := 4 * len(store) // tags may share strings, but not all of them all
	for i := range tags {
		if err := checkTag(data[i*16:i*16+16], store, &budget); err != nil {
			return nil, err
		}
	}
	return data[tags*16+size:], nil
}

// checkTag checks that the value of a tag lies in the store.
func checkTag(tag, store []byte, budget *int) error {
	typ, offset, count := binary.BigEndian.Uint32(tag[4:]), uint64(binary.BigEndian.Uint32(tag[8:])), uint64(binary.BigEndian.Uint32(tag[12:]))
	end := offset
	switch size := []uint64{0, 1, 1, 2, 4, 8}; {
	case offset > uint64(len(store)):
		return entry.Invalidf("rpm: the value of a tag lies outside of its header")
	case typ < uint32(len(size)):
		end += size[typ] * count
	case typ == 7: // bytes
		end += count
	default: // strings that end with a NUL
		for range count {
			n := bytes.IndexByte(store[end:], 0)
			if *budget -= n + 1; n < 0 || *budget < 0 {
				return entry.Invalidf("rpm: the strings of a tag do not end, or overlap too much")
			}
			end += uint64(n) + 1
		}
	}
	if end > uint64(len(store)) {
		return entry.Invalidf("rpm: the value of a tag lies outside of its header")
	}
	return nil
}
