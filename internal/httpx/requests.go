package httpx

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
)

// Requests says how requests are written down. It may be changed while they are served; the zero value
// writes them at level debug and believes no proxy.
type Requests struct {
	lines   atomic.Bool
	proxies atomic.Pointer[[]netip.Prefix]
}

// Set decides whether requests are written at level info, and whose word about the address of a client
// is taken.
func (r *Requests) Set(lines bool, proxies []netip.Prefix) {
	proxies = slices.Clone(proxies)
	r.proxies.Store(&proxies)
	r.lines.Store(lines)
}

// Level is that of the line of a request. What asks again and again by itself is for debug.
func (r *Requests) Level(route string) slog.Level {
	if r == nil || !r.lines.Load() {
		return slog.LevelDebug
	}
	switch route {
	case "GET /healthz", "GET /readyz", "GET /metrics":
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// Bounds of what is read in forwarding headers: more hops or bytes are nobody's set-up.
const (
	maxHops      = 32
	maxForwarded = 4 << 10
)

// Client returns the address of the client of a request, for log lines and quotas: the other end of the
// connection or, where that is a trusted proxy, what it says. The last address in the chain that is not
// a trusted proxy's counts, since clients can write what they like before it. A proxy that sets one of
// Forwarded and X-Forwarded-For may pass on the other one as the client sent it: where both are there
// and disagree, neither is believed.
func (r *Requests) Client(remote string, h http.Header) string {
	direct, ok := parseHop(remote)
	if !ok {
		return ""
	}
	if r == nil || !r.trusted(direct) {
		return direct.String()
	}
	xff, hasXFF := r.last(direct, split(h.Values("X-Forwarded-For")))
	forwarded, hasForwarded := r.last(direct, forwardedFor(h.Values("Forwarded")))
	switch {
	case hasXFF && hasForwarded && xff != forwarded:
		return direct.String()
	case hasForwarded:
		return forwarded.String()
	case hasXFF:
		return xff.String()
	}
	return direct.String()
}

func (r *Requests) trusted(a netip.Addr) bool {
	list := r.proxies.Load()
	return list != nil && slices.ContainsFunc(*list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// last walks from the proxy that is at the other end towards the client.
func (r *Requests) last(direct netip.Addr, hops []string) (a netip.Addr, ok bool) {
	a = direct
	for i, hop := range slices.Backward(hops) {
		next, valid := parseHop(hop)
		if !valid {
			return a, i < len(hops)-1
		}
		if a = next; !r.trusted(a) {
			break
		}
	}
	return a, len(hops) > 0
}

// split returns the items of a header that is a list.
func split(values []string) (items []string) {
	text := strings.Join(values, ",")
	if text == "" || len(text) > maxForwarded {
		return nil
	}
	items = strings.Split(text, ",")
	if len(items) > maxHops {
		return nil
	}
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

// forwardedFor returns the for parameters of Forwarded (RFC 7239 4), "" for an element without.
func forwardedFor(values []string) (hops []string) {
	for _, element := range split(values) {
		hop := ""
		for pair := range strings.SplitSeq(element, ";") {
			if name, value, _ := strings.Cut(strings.TrimSpace(pair), "="); strings.EqualFold(name, "for") {
				hop = strings.Trim(value, `"`)
			}
		}
		hops = append(hops, hop)
	}
	return hops
}

// parseHop reads an address with or without port, an IPv6 one in brackets or not.
func parseHop(text string) (netip.Addr, bool) {
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	return a.Unmap().WithZone(""), err == nil
}
