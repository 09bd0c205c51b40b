package devidp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// FetchToken asks the development issuer at an instance's URL for a token over the claims. Its
// errors are for people: what failed, on what, and what to do.
func FetchToken(ctx context.Context, instance string, claims map[string]any) (string, error) {
	base, err := url.Parse(instance)
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return "", fmt.Errorf("%q is not the URL of an instance: want for example http://127.0.0.1:8080", instance)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode claims: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(instance, "/")+"/mint", bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("%q is not the URL of an instance: %w", instance, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", unreachable(instance, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return "", fmt.Errorf("read the answer of %s: %w", instance, err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", refused(instance, resp.StatusCode, answer)
	}
	token := string(answer)
	if strings.Count(token, ".") != 2 || strings.ContainsAny(token, " \r\n\t<") {
		return "", fmt.Errorf("%s answered something that is no token: is it a sigbox?", instance)
	}
	return token, nil
}

func unreachable(instance string, err error) error {
	var netErr net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens at %s: start an instance with \"sigbox up\", or name another one with --url", instance)
	case errors.As(err, &netErr) && netErr.Timeout():
		return fmt.Errorf("%s did not answer in time: %w", instance, err)
	}
	return fmt.Errorf("ask %s for a token: %w", instance, err)
}

func refused(instance string, status int, answer []byte) error {
	var e struct {
		Description string `json:"error_description"`
	}
	_ = json.Unmarshal(answer, &e) // another server's error page has no such member
	switch {
	case status == http.StatusNotFound || status == http.StatusMethodNotAllowed:
		return fmt.Errorf("%s has no development issuer: \"sigbox up\" has one, \"sigbox serve\" only if its configuration asks for it", instance)
	case status == http.StatusMisdirectedRequest:
		return fmt.Errorf("%s does not answer to that host name: use the URL that \"sigbox up\" printed", instance)
	case e.Description != "":
		return fmt.Errorf("%s refused to make a token: %s", instance, e.Description)
	}
	return fmt.Errorf("%s answered with status %d", instance, status)
}
