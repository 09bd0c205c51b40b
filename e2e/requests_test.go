package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// asked are the requests that an instance has answered, by route.
type asked map[string]int

// mirrorRoute is that of the TUF repository; every other one is of a log or an authority.
const mirrorRoute = "GET /tuf/{path...}"

func (a asked) mirror() int { return a[mirrorRoute] }

func (a asked) logs() (n int) {
	for route, times := range a {
		if route != mirrorRoute {
			n += times
		}
	}
	return n
}

func (a asked) String() string {
	return fmt.Sprintf("logs and authorities %d, mirror %d", a.logs(), a.mirror())
}

// since is what was asked after before.
func (a asked) since(before asked) asked {
	out := asked{}
	for route, n := range a {
		if n > before[route] {
			out[route] = n - before[route]
		}
	}
	return out
}

// requests reads an instance's own count, which has every request but those for it and for its health.
func requests(ctx context.Context, url string) (asked, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	out := asked{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), `sigbox_http_request_seconds_count{route="`)
		route, value, found := strings.Cut(rest, `"} `)
		if !ok || !found || route == "GET /metrics" || strings.HasSuffix(route, "z") {
			continue
		}
		if out[route], err = strconv.Atoi(value); err != nil {
			return nil, fmt.Errorf("%s: %w", lines.Text(), err)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the metrics of %s count no requests", url)
	}
	return out, lines.Err()
}
