package foreignrepo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/sigbox/sigbox/tuf/foreign"
)

const requestTimeout = 30 * time.Second

// Open returns the repository at a base URL, or in a directory where it names one. secure may be nil: the system's
// certificate roots. url is the base URL, "" of a directory. Close gives it back.
func Open(where string, secure *tls.Config) (src foreign.Source, url string, done func() error, err error) {
	if strings.HasPrefix(where, "http://") || strings.HasPrefix(where, "https://") {
		if url, err = foreign.CleanURL(where); err != nil {
			return nil, "", nil, err
		}
		h := remote{base: url, client: &http.Client{Timeout: requestTimeout}}
		if secure != nil {
			h.client.Transport = &http.Transport{TLSClientConfig: secure, Proxy: http.ProxyFromEnvironment}
		}
		return h, url, func() error { h.client.CloseIdleConnections(); return nil }, nil
	}
	root, err := os.OpenRoot(where)
	if err != nil {
		return nil, "", nil, fmt.Errorf("repository %s: neither a URL nor a directory: %w", where, err)
	}
	return directory{root}, "", root.Close, nil
}

// remote is a repository at a base URL.
type remote struct {
	base   string
	client *http.Client
}

// Fetch implements foreign.Source. Only 404 says that a file is not there; a store that answers 403 for what it
// does not have is no exception, since a proxy that refuses would then hide the newest root.
func (h remote) Fetch(ctx context.Context, path string, max int64) ([]byte, error) {
	at := h.base + "/" + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "sigbox")
	res, err := h.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w: where there is no network, name a directory that holds a copy of the repository", at, err)
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, fmt.Errorf("fetch %s: %w: is that the base URL of a TUF repository?", at, fs.ErrNotExist)
	default:
		return nil, fmt.Errorf("fetch %s: the server answers %d", at, res.StatusCode)
	}
	return bounded(res.Body, at, max)
}

// directory is a copy of a repository.
type directory struct{ root *os.Root }

// Fetch implements foreign.Source.
func (d directory) Fetch(_ context.Context, path string, max int64) ([]byte, error) {
	at := d.root.Name() + "/" + path
	st, err := d.root.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: the directory must hold the repository as it is served", at, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", at)
	}
	f, err := d.root.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return bounded(f, at, max)
}

func bounded(r io.Reader, at string, max int64) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, max+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", at, err)
	}
	if int64(len(raw)) > max {
		return nil, fmt.Errorf("%s has more than %d bytes", at, max)
	}
	return raw, nil
}
