package clients

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"maps"
	"path"
	"slices"
)

// archive is a repository as policy-controller's TrustRoot holds it: tar.gz with everything below
// "repository/". The same files give the same bytes.
func archive(files map[string][]byte) (string, error) {
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	w := tar.NewWriter(zipped)
	for _, dir := range []string{"repository/", "repository/targets/"} {
		if err := w.WriteHeader(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
			return "", err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		err := w.WriteHeader(&tar.Header{Name: path.Join("repository", name), Mode: 0o644, Size: int64(len(files[name]))})
		if err != nil {
			return "", err
		}
		if _, err := w.Write(files[name]); err != nil {
			return "", err
		}
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	if err := zipped.Close(); err != nil {
		return "", err
	}
	return out.String(), nil
}
