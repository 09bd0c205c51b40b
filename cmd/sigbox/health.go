package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	healthLimit = 3 * time.Second // container engines and supervisors ask every few seconds
	healthBody  = 4 << 10
)

func healthCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "health [URL]",
		Short: "Ask a running sigbox whether it is ready; for container health checks",
		Long: `Ask a running sigbox whether it is ready: the exit code is 0 where its /readyz
answers 200, and 1 where it does not, or not within 3 seconds. URL is the address
of the services, or of operations where the configuration has that section;
without it ` + defaultURL + `. What is degraded is printed and is ready all
the same, since a restart would not mend it.

It is for the health check of a container that has no shell and no curl. It uses
no proxy and follows no redirect.`,
		Example: `  sigbox health
  sigbox health http://127.0.0.1:9090`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			at := defaultURL
			if len(args) == 1 {
				at = args[0]
			}
			return health(cmd.Context(), at, cmd.OutOrStdout())
		},
	}
}

// health prints the body of /readyz. The error says why the process is not ready.
func health(ctx context.Context, at string, out io.Writer) error {
	u, err := url.Parse(at)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return fmt.Errorf("health: %q is no URL of a sigbox: want http://HOST:PORT", at)
	}
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.JoinPath("readyz").String(), nil)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	client := &http.Client{
		Transport:     &http.Transport{DialContext: (&net.Dialer{}).DialContext, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %s", healthLimit)
		}
		return fmt.Errorf("health: %s: %w", req.URL, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, healthBody))
	if err != nil {
		return fmt.Errorf("health: %s: %w", req.URL, err)
	}
	text := strings.TrimSpace(string(body))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("health: %s answered %s: %s", req.URL, resp.Status, text)
	}
	_, err = fmt.Fprintln(out, text)
	return err
}
