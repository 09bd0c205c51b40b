package clientcache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

const (
	requestTimeout = 15 * time.Second
	maxRoot        = 512 << 10 // as TUF clients limit it
)

// MirrorURL returns the base URL of an instance's TUF repository. It takes the URL of the
// instance, to which "/tuf" is added, or of the repository itself.
func MirrorURL(raw string) (string, error) {
	mirror, err := cleanMirror(raw)
	if err == nil && !strings.HasSuffix(mirror, "/tuf") {
		mirror += "/tuf"
	}
	return mirror, err
}

// cleanMirror drops slashes at the end: clients name their cache after the exact URL.
func cleanMirror(raw string) (string, error) {
	mirror := strings.TrimRight(raw, "/")
	u, err := url.Parse(mirror)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%q is not the URL of an instance: want one like https://sigstore.example.com", raw)
	}
	return mirror, nil
}

// fetcher downloads for TUF clients, within ctx, a time limit and a length.
type fetcher struct {
	ctx    context.Context // of the one call it lives in: the interface it implements has none
	client *http.Client
}

func newFetcher(ctx context.Context) *fetcher {
	return &fetcher{ctx: ctx, client: &http.Client{Timeout: requestTimeout}}
}

// DownloadFile implements go-tuf's fetcher.Fetcher.
func (f *fetcher) DownloadFile(url string, maxLength int64, _ time.Duration) ([]byte, error) {
	req, err := http.NewRequestWithContext(f.ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "sigbox")
	res, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, &metadata.ErrDownloadHTTP{StatusCode: res.StatusCode, URL: url}
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxLength+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > maxLength {
		return nil, &metadata.ErrDownloadLengthMismatch{Msg: fmt.Sprintf("%s has more than %d bytes", url, maxLength)}
	}
	return data, nil
}

// firstRoot fetches the root.json that the instance shows to those who know none.
func (f *fetcher) firstRoot(mirror string) ([]byte, error) {
	root, err := f.DownloadFile(mirror+"/root.json", maxRoot, 0)
	if err == nil {
		return root, nil
	}
	var status *metadata.ErrDownloadHTTP
	if errors.As(err, &status) {
		return nil, fmt.Errorf("fetch %s/root.json: the server answers %d: is this the URL of a sigbox instance?", mirror, status.StatusCode)
	}
	return nil, fmt.Errorf("fetch %s/root.json: %w: is the instance running, and the URL right?", mirror, err)
}

// recorder remembers what was downloaded: the TUF client keeps the bytes to itself.
type recorder struct {
	*fetcher
	mirror string
	newest []byte // root
	files  map[string][]byte
}

func (r *recorder) DownloadFile(url string, maxLength int64, timeout time.Duration) ([]byte, error) {
	data, err := r.fetcher.DownloadFile(url, maxLength, timeout)
	if err == nil {
		r.files[strings.TrimPrefix(url, r.mirror+"/")] = data // what does not verify ends the update with an error
		if strings.HasSuffix(url, ".root.json") {
			r.newest = data
		}
	}
	return data, err
}

// explain says what an error of a TUF update means for the one who asked for it.
func explain(mirror string, err error) error {
	var expired *metadata.ErrExpiredMetadata
	var status *metadata.ErrDownloadHTTP
	hint := "is the instance running, and the URL right?"
	switch {
	case errors.As(err, &expired):
		hint = "the instance does not renew its metadata, or a clock is wrong: look at its log and at both clocks"
	case errors.As(err, &status):
		hint = "the server does not serve a TUF repository there: the URL of an instance's ends in /tuf"
	case errors.Is(err, &metadata.ErrUnsignedMetadata{}), errors.Is(err, &metadata.ErrRepository{}):
		hint = "what is served is not signed by the root given: is that the root.json of this instance, and not of one that ran there before?"
	}
	return fmt.Errorf("TUF repository %s: %w: %s", mirror, err, hint)
}
