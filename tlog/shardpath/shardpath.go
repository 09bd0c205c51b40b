package shardpath

import (
	"fmt"
	"net/http"
	"strings"
)

const (
	root  = "/shards/"
	value = "shard"
)

// Pattern is the path of any shard as [http.ServeMux] writes it: see [ID].
const Pattern = root + "{" + value + "}"

// ID returns the log id in hex that a request names whose pattern begins with Pattern; "" for others.
func ID(r *http.Request) string { return r.PathValue(value) }

// Of returns the path of the shard with a log id, no slash at its end.
func Of(id [32]byte) string { return fmt.Sprintf("%s%x", root, id) }

// In tells whether a URL is that of a shard, or below one.
func In(url string) bool { return strings.Contains(url, root) }
