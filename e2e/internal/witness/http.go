package witness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Client speaks HTTP to one instance.
type Client struct {
	URL  string
	http http.Client
}

// NewClient returns a client with connections of its own.
func NewClient(url string) *Client {
	return &Client{URL: url, http: http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
}

// Do sends a request and returns the status and the body.
func (c *Client) Do(ctx context.Context, method, path string, body []byte) (int, []byte, error) {
	status, _, out, err := c.send(ctx, method, path, body)
	return status, out, err
}

func (c *Client) send(ctx context.Context, method, path string, body []byte) (int, http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, out, err
}

// JSON sends a request, wants a status, and decodes the body.
func (c *Client) JSON(ctx context.Context, method, path string, body []byte, want int, v any) error {
	status, out, err := c.Do(ctx, method, path, body)
	if err != nil {
		return err
	}
	if status != want {
		return fmt.Errorf("%s %s: status %d: %s", method, path, status, out)
	}
	return json.Unmarshal(out, v)
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }
