package differential

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// NewClient returns a client that shows answers as they are: it follows no redirect and unpacks nothing.
func NewClient() *http.Client {
	return &http.Client{
		Timeout:       time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableCompression: true},
	}
}

// Play asks the requests in their order.
func Play(ctx context.Context, requests []Request, ask func(context.Context, Request) (Answer, error)) ([]Answer, error) {
	var answers []Answer
	for _, r := range requests {
		a, err := ask(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Name, err)
		}
		answers = append(answers, a)
	}
	return answers, nil
}

// Send sends the request to the server at base, a scheme and host, with what fill makes of the names in it,
// and returns the answer and its body.
func (r Request) Send(ctx context.Context, client *http.Client, base string, fill func(string) (string, error)) (*http.Response, []byte, error) {
	target, err := fill(r.Target)
	if err != nil {
		return nil, nil, err
	}
	text, err := fill(r.Body)
	if err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, base+target, strings.NewReader(text))
	if err != nil {
		return nil, nil, err
	}
	if text == "" {
		req.Body, req.ContentLength = http.NoBody, 0
	} else {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range r.Header {
		if v, err = fill(v); err != nil {
			return nil, nil, err
		}
		if v == "-" {
			req.Header.Del(k)
		} else {
			req.Header.Set(k, v)
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(resp.Body)
	return resp, body, errors.Join(err, resp.Body.Close())
}
