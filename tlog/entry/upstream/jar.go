package upstream

import (
	"archive/zip"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/sigbox/sigbox/tlog/entry"
)

// checkJar unpacks a jar once, with a limit, and looks at what its names promise.
func checkJar(spec map[string]any) error {
	if _, err := content(spec, "content", maxSignature, "signature"); err != nil {
		return err
	}
	data, err := content(spec, "content", anySize, "archive")
	if err != nil || len(data) == 0 {
		return err
	}
	// The reader makes an object of each record before anybody can ask how many there are.
	if n := bytes.Count(data, []byte("PK\x01\x02")); n > maxFiles {
		return entry.Invalidf("jar: more than %d files", maxFiles)
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return entry.Invalid("jar: not a zip archive", err)
	}
	if err := checkNames(z.File); err != nil {
		return err
	}
	if err := checkPlaces(data, z.File); err != nil {
		return err
	}
	left := int64(maxUnpacked)
	for _, f := range z.File {
		most := left
		if inMetaInf(f.Name) {
			most = min(left, maxMetadata)
		}
		n, err := unpack(f, most)
		if err != nil {
			return err
		}
		left -= n
	}
	return nil
}

func inMetaInf(name string) bool {
	dir, base := path.Split(strings.ToUpper(name))
	return dir == "META-INF/" && base != ""
}

// checkNames refuses names that two readers would put in two places, or that make a reader choose.
func checkNames(files []*zip.File) error {
	seen := map[string]bool{}
	signatures := 0
	for _, f := range files {
		name := f.Name
		if inMetaInf(name) {
			name = strings.ToUpper(name)
		}
		if seen[name] {
			return entry.Invalidf("jar: a file is there twice")
		}
		seen[name] = true
		if strings.HasPrefix(name, "/") || strings.Contains(name, "\\") || slices.Contains(strings.Split(name, "/"), "..") {
			return entry.Invalidf("jar: the name of a file leads out of the archive")
		}
		if inMetaInf(name) && strings.HasSuffix(name, ".SF") {
			signatures++
		}
	}
	if signatures != 1 {
		return entry.Invalidf("jar: %d signature files, exactly one is taken", signatures)
	}
	return nil
}

// checkPlaces refuses files that share bytes, as those of the smallest bombs do, and files that are called
// otherwise for those who read an archive from the front.
func checkPlaces(data []byte, files []*zip.File) error {
	type span struct {
		from, to uint64
		name     string
	}
	var spans []span
	for _, f := range files {
		from, err := f.DataOffset()
		if err != nil {
			return entry.Invalid("jar: a file has no header where the directory says", err)
		}
		spans = append(spans, span{uint64(from), uint64(from) + f.CompressedSize64, f.Name})
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	before := uint64(0)
	for _, s := range spans {
		if s.from < before || s.to < s.from {
			return entry.Invalidf("jar: files overlap")
		}
		if !headersSay(data[before:s.from], s.name) {
			return entry.Invalidf("jar: a file has another name in its header than in the directory")
		}
		before = s.to
	}
	return nil
}

// headersSay says whether whatever can be read as the header of the file that begins where data ends
// (APPNOTE.TXT 4.3.7) has that name, and there is one.
func headersSay(data []byte, name string) bool {
	const size = 30
	found := false
	for i := bytes.LastIndex(data, localHeader); i >= 0; i = bytes.LastIndex(data[:i], localHeader) {
		if len(data) < i+size {
			continue
		}
		n, extra := int(binary.LittleEndian.Uint16(data[i+26:])), int(binary.LittleEndian.Uint16(data[i+28:]))
		if i+size+n+extra != len(data) {
			continue
		}
		if string(data[i+size:i+size+n]) != name {
			return false
		}
		found = true
	}
	return found
}

var localHeader = []byte("PK\x03\x04")

// unpack reads a file to its end, which must come within that many bytes.
func unpack(f *zip.File, most int64) (int64, error) {
	r, err := f.Open()
	if err != nil {
		return 0, entry.Invalid("jar: a file cannot be unpacked", err)
	}
	defer r.Close()
	var text bytes.Buffer
	w := io.Discard
	manifest := inMetaInf(f.Name) && (strings.HasSuffix(strings.ToUpper(f.Name), ".SF") || strings.HasSuffix(strings.ToUpper(f.Name), ".MF"))
	if manifest {
		w = &text
	}
	n, err := io.Copy(w, io.LimitReader(r, most+1))
	if n > most {
		return n, entry.Invalidf("jar: unpacked it exceeds %d bytes, or one file of META-INF %d", maxUnpacked, maxMetadata)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return n, entry.Invalid("jar: a file cannot be unpacked", err)
	}
	if bytes.Count(bytes.ToLower(text.Bytes()), []byte("name:")) > maxFiles {
		return n, entry.Invalidf("jar: a manifest has more than %d sections", maxFiles)
	}
	return n, nil
}
