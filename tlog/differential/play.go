package differential

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/sigbox/sigbox/tlog/tile"
)

// Player asks one server and learns from its answers what its names stand for. What it puts into
// an answer in place of a server's own values has been checked for its form only: that proofs and
// signatures hold is for the tests of the faces and of the clients.
type Player struct {
	URL    string // scheme and host
	Files  string // the same, of who serves the log's tiles; URL where it is ""
	Client *http.Client
	RPC    *grpc.ClientConn // for requests over gRPC

	tree    string            // decimal
	logID   string            // hex
	ids     map[string]string // by the name of the row that made the entry
	names   map[string]string // of entries by UUID
	indexes map[string]string // log index to name
}

// NewPlayer returns a player for a server whose log is empty.
func NewPlayer(url string) *Player {
	return &Player{
		URL: url, ids: map[string]string{}, names: map[string]string{}, indexes: map[string]string{},
		Client: NewClient(),
	}
}

// Play sends the requests in their order. Errors are those of the connection, and of a request
// that names what was never answered.
func (p *Player) Play(ctx context.Context, requests []Request) ([]Answer, error) {
	return Play(ctx, requests, p.ask)
}

// ask sends one request, again and again where it waits for something.
func (p *Player) ask(ctx context.Context, r Request) (Answer, error) {
	if r.Method == "gRPC" {
		return p.call(ctx, r)
	}
	base := p.URL
	if r.Files && p.Files != "" {
		base = p.Files
	}
	var until string
	var err error
	if r.Until != "" {
		if until, err = p.fill(r.Until); err != nil {
			return Answer{}, err
		}
	}
	for tries := 0; ; tries++ {
		resp, body, err := r.Send(ctx, p.Client, base, p.fill)
		if err != nil {
			return Answer{}, err
		}
		if bytes.Contains(body, []byte(until)) {
			return p.answer(r, resp, body), nil
		}
		if tries == 50 {
			return Answer{}, fmt.Errorf("no answer holds %s, the last one is %d %.300s", until, resp.StatusCode, body)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

var name = regexp.MustCompile(`\{\{(id|uuid|index|tree|treehex):?([^{}]*)\}\}`)

// fill replaces names by what they stand for on this server.
func (p *Player) fill(text string) (string, error) {
	var missing error
	out := name.ReplaceAllStringFunc(text, func(m string) string {
		parts := name.FindStringSubmatch(m)
		id, known := p.ids[parts[2]]
		switch {
		case parts[1] == "tree" && p.tree != "":
			return p.tree
		case parts[1] == "treehex" && p.tree != "":
			n, err := strconv.ParseUint(p.tree, 10, 64)
			missing = errors.Join(missing, err)
			return fmt.Sprintf("%016x", n)
		case !known:
		case parts[1] == "id":
			return id
		case parts[1] == "uuid":
			return id[treeLen:]
		case parts[1] == "index":
			for index, n := range p.indexes {
				if n == parts[2] {
					return index
				}
			}
		}
		missing = errors.Join(missing, fmt.Errorf("nothing was answered that %s stands for", m))
		return m
	})
	return out, missing
}

// answer learns from an answer and puts names into it.
func (p *Player) answer(r Request, resp *http.Response, body []byte) Answer {
	var v any
	if decoded, err := decodeJSON(body); err == nil && json.Valid(body) {
		v = decoded
		p.learn(r.Name, v)
	}
	a := r.Answered(resp, p.header)
	switch {
	case len(body) == 0:
	case v != nil:
		a.Body = p.value("", v)
	case r.Files && resp.StatusCode != http.StatusOK: // upstream leaves it to some web server
	case strings.HasPrefix(r.Target, v2Tiles+"/entries/"):
		a.Body = bundle(body)
	default:
		a.Body = p.plain(string(body))
	}
	return a
}

// bundle returns the entries of a bundle (C2SP tlog-tiles).
func bundle(body []byte) any {
	leaves, err := tile.ParseBundle(body)
	if err != nil {
		return err.Error()
	}
	var texts []any
	for _, l := range leaves {
		texts = append(texts, string(l))
	}
	return texts
}

// header puts names into the values of a header.
func (p *Player) header(name string, values []string) string {
	value := strings.Join(values, "\n")
	switch name = strings.ToLower(name); {
	case name == "allow": // upstream has them in any order
		methods := strings.Split(strings.ReplaceAll(value, " ", ""), ",")
		slices.Sort(methods)
		return strings.Join(methods, ",")
	case strings.HasSuffix(name, "x-log-index") && p.indexes[value] != "":
		return "{{index:" + p.indexes[value] + "}}"
	}
	return p.text(value)
}

func decodeJSON(body []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	return v, err
}
