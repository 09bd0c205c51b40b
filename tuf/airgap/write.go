package airgap

import (
	"archive/tar"
	"fmt"
	"io"
)

const block = 512 // of a tar archive

// sizeOf is how long a file is: of everything a header and whole blocks, and two blocks at the end.
func sizeOf(envelope int, parts []Part) int64 {
	whole := func(n int64) int64 { return block + (n+block-1)/block*block }
	n := whole(int64(envelope)) + 2*block
	for _, p := range parts {
		n += whole(p.Size)
	}
	return n
}

// Write writes the file. open is asked for the content of each part, in order.
func Write(w io.Writer, e *Envelope, open func(Part) (io.ReadCloser, error)) error {
	raw, err := e.Encode()
	if err != nil {
		return err
	}
	archive := tar.NewWriter(w)
	if err := archive.WriteHeader(entry(ManifestName, int64(len(raw)))); err != nil {
		return err
	}
	if _, err := archive.Write(raw); err != nil {
		return err
	}
	for _, p := range e.Manifest.Parts {
		if err := writePart(archive, p, open); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	return archive.Close()
}

func writePart(archive *tar.Writer, p Part, open func(Part) (io.ReadCloser, error)) error {
	r, err := open(p)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := archive.WriteHeader(entry(p.Name, p.Size)); err != nil {
		return err
	}
	_, err = io.Copy(archive, r)
	return err
}

// entry has no time and no owner: the same content is the same file.
func entry(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, Format: tar.FormatUSTAR}
}

// Resigned copies a file with other signatures.
func Resigned(w io.Writer, r io.Reader, e *Envelope) error {
	archive := tar.NewReader(r)
	if err := header(archive, ManifestName, -1); err != nil {
		return err
	}
	return Write(w, e, func(p Part) (io.ReadCloser, error) {
		if err := header(archive, p.Name, p.Size); err != nil {
			return nil, err
		}
		return io.NopCloser(archive), nil
	})
}
