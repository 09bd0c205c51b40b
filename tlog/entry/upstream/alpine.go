package upstream

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"

	"github.com/sigbox/sigbox/tlog/entry"
)

// checkAlpine reads the two small gzip members of an apk, signature and control, with a limit. The
// third is only hashed.
func checkAlpine(spec map[string]any) error {
	key, err := content(spec, "content", maxSmallKey, "publicKey")
	if err != nil {
		return err
	}
	if len(key) > 0 {
		if _, err := entry.ParseKey(key); err != nil {
			return err
		}
	}
	data, err := content(spec, "content", anySize, "package")
	if err != nil || len(data) == 0 {
		return err
	}
	r := bufio.NewReader(bytes.NewReader(data)) // a member ends at a byte, which only such a reader finds
	var z *gzip.Reader
	for _, part := range []string{"signature", "control"} {
		if z == nil {
			z, err = gzip.NewReader(r)
		} else {
			err = z.Reset(r)
		}
		if err != nil {
			return entry.Invalid("apk: no gzip member for its "+part, err)
		}
		z.Multistream(false)
		raw, err := io.ReadAll(io.LimitReader(z, maxMetadata+1))
		if err != nil {
			return entry.Invalid("apk: its "+part+" cannot be unpacked", err)
		}
		if len(raw) > maxMetadata {
			return entry.Invalidf("apk: its %s exceeds %d bytes", part, maxMetadata)
		}
		if err := checkTar(raw, part); err != nil {
			return err
		}
	}
	return nil
}

// checkTar bounds what the headers of a tar archive promise: a sparse file is as large as it says.
func checkTar(raw []byte, part string) error {
	t := tar.NewReader(bytes.NewReader(raw))
	total := int64(0)
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return entry.Invalid("apk: its "+part+" is no tar archive", err)
		}
		if n == maxFiles {
			return entry.Invalidf("apk: its %s has more than %d files", part, maxFiles)
		}
		if total += h.Size; h.Size < 0 || h.Size > int64(len(raw)) || total > int64(len(raw)) {
			return entry.Invalidf("apk: a file in its %s is larger than the archive", part)
		}
		if h.Name != ".PKGINFO" {
			continue
		}
		if h.Size > maxPkginfo {
			return entry.Invalidf("apk: .PKGINFO exceeds %d bytes", maxPkginfo)
		}
		info, err := io.ReadAll(t)
		if err != nil {
			return entry.Invalid("apk: .PKGINFO cannot be read", err)
		}
		if bytes.Contains(info, []byte("%(")) { // a reference to another value, which may refer to more
			return entry.Invalidf("apk: .PKGINFO has a reference in a value")
		}
	}
}
