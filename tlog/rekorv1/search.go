package rekorv1

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/mail"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/tlog"
)

const hashPattern = `^(sha512:)?[0-9a-fA-F]{128}$|^(sha256:)?[0-9a-fA-F]{64}$|^(sha1:)?[0-9a-fA-F]{40}$`

var hashForm = regexp.MustCompile(hashPattern)

// indexQuery is a search of the index (openapi.yaml, SearchIndex).
type indexQuery struct {
	Email     string `json:"email"`
	Subject   string `json:"subject"`
	Hash      string `json:"hash"`
	Operator  string `json:"operator"`
	PublicKey *struct {
		Format  *string `json:"format"`
		Content string  `json:"content"`
		URL     string  `json:"url"`
	} `json:"publicKey"`
}

// search answers the ids of entries that carry any or all of the keys of a query.
func (s *Server) search(w http.ResponseWriter, r *http.Request) {
	keys, and, err := s.readQuery(w, r)
	var found results
	if err == nil {
		found, err = s.searchShards(r.Context(), keys, and)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set(headerTree, strconv.FormatInt(found.tree, 10))
	h.Set(headerSize, strconv.FormatInt(found.size, 10))
	if found.from > 0 {
		h.Set(headerFrom, strconv.FormatInt(found.from, 10))
	}
	h.Set("Access-Control-Expose-Headers", headerTree+", "+headerSize+", "+headerFrom)
	httpx.WriteJSON(w, http.StatusOK, found.ids)
}

// The headers of an answer to a search, which upstream has not: it is complete up to a size of the tree
// that takes entries, and so in all shards before it. Where there were more entries than are
// returned, it is complete from a virtual index on.
const (
	headerTree = "Sigbox-Tree-ID"
	headerSize = "Sigbox-Tree-Size"
	headerFrom = "Sigbox-Results-From"
)

// results are the ids of a search, oldest first: of all entries from a virtual index on, up to a size of
// the active shard, the tree.
type results struct {
	ids              []string
	from, size, tree int64
}

func (s *Server) readQuery(w http.ResponseWriter, r *http.Request) (keys [][]byte, and bool, err error) {
	room := s.bodies.Enter()
	defer room.Leave()
	body, err := s.readJSON(w, r, room, "query")
	if err != nil {
		return nil, false, err
	}
	var q indexQuery
	if err := decode(body, &q, "query"); err != nil {
		return nil, false, err
	}
	keys, err = q.keys(s.formats)
	return keys, q.Operator == "and", err
}

// searchShards searches the newest shard first, and then those before it, as long as there is room. Where
// the newest turns out to be frozen, it begins anew with the one that goes on for it.
func (s *Server) searchShards(ctx context.Context, keys [][]byte, and bool) (results, error) {
	for {
		list := s.shards()
		found, err := list.search(ctx, keys, and, s.maxResults)
		if err != nil {
			return found, err
		}
		frozen, err := list.active().frozen(ctx)
		if err != nil || !frozen {
			return found, err
		}
		if longer, err := s.chain.Grow(ctx, list); err != nil || !longer {
			return found, err
		}
	}
}

func (s shards) search(ctx context.Context, keys [][]byte, and bool, limit int) (results, error) {
	all := results{ids: []string{}, tree: s.active().treeID}
	for i, sh := range slices.Backward(s) {
		hits, ids, err := sh.search(ctx, keys, and, limit-len(all.ids))
		if err != nil {
			return all, err
		}
		if i == len(s)-1 {
			all.size = hits.Size
		}
		if all.ids = append(ids, all.ids...); len(all.ids) == limit || hits.From > 0 {
			all.from = sh.first + hits.Indexes[0]
			break
		}
	}
	return all, nil
}

// search returns the newest entries of a shard that carry the keys, and their ids.
func (sh *shard) search(ctx context.Context, keys [][]byte, and bool, limit int) (tlog.Hits, []string, error) {
	hits, err := sh.log.Search(ctx, keys, and, limit)
	if err != nil {
		return hits, nil, err
	}
	hashes, err := sh.log.LeafHashes(ctx, hits.Indexes)
	if err != nil {
		return hits, nil, err
	}
	ids := make([]string, 0, len(hashes))
	for _, h := range hashes {
		ids = append(ids, sh.entryID(h))
	}
	return hits, ids, nil
}

// keys checks a query and returns its search keys, lower-cased as those of entries are.
func (q *indexQuery) keys(formats map[string]func([]byte) (string, error)) ([][]byte, error) {
	if err := q.validate(); err != nil {
		return nil, err
	}
	var keys [][]byte
	add := func(k string) { keys = append(keys, []byte(strings.ToLower(k))) }
	if q.Hash != "" {
		add(prefixHash(q.Hash))
	}
	if q.PublicKey != nil {
		k, err := q.keyHash(formats)
		if err != nil {
			return nil, err
		}
		add(k)
	}
	if q.Email != "" {
		add(q.Email)
	}
	if q.Subject != "" {
		add(q.Subject)
	}
	if len(keys) == 0 {
		return nil, schema(codeRequired, "query in body is required: one of email, hash, publicKey, subject")
	}
	return keys, nil
}

// maxEmail bounds what net/mail is given to read; upstream has no bound, and no mailbox is so long.
const maxEmail = 4096

func (q *indexQuery) validate() error {
	if q.Email != "" {
		if len(q.Email) > maxEmail {
			return schema(codeType, "email in body should be at most %d bytes long", maxEmail)
		}
		if _, err := mail.ParseAddress(q.Email); err != nil {
			return schema(codeType, "email in body must be of type email: %.64q", q.Email)
		}
	}
	if q.Hash != "" && !hashForm.MatchString(q.Hash) {
		return schema(codePattern, "hash in body should match '%s'", hashPattern)
	}
	if q.Operator != "" && q.Operator != "and" && q.Operator != "or" {
		return schema(codeEnum, "operator in body should be one of [and or]")
	}
	if q.PublicKey != nil {
		switch f := q.PublicKey.Format; { // the doubled name is upstream's
		case f == nil:
			return schema(codeRequired, "publicKey.publicKey.format in body is required")
		case *f != "pgp" && *f != "x509" && *f != "minisign" && *f != "ssh" && *f != "tuf":
			return schema(codeEnum, "publicKey.publicKey.format in body should be one of [pgp x509 minisign ssh tuf]")
		}
	}
	if utf8.RuneCountInString(q.Subject) > 512 {
		return schema(codeTooLong, "subject in body should be at most 512 chars long")
	}
	return nil
}

// keyHash returns the search key of a public key: hex SHA-256 of its canonical form, without the
// name of the hash.
func (q *indexQuery) keyHash(formats map[string]func([]byte) (string, error)) (string, error) {
	if q.PublicKey.URL != "" {
		return "", refuse(http.StatusBadRequest, "publicKey.url: fetching by URL is not supported")
	}
	fingerprint := formats[*q.PublicKey.Format]
	if fingerprint == nil {
		return "", refuse(http.StatusBadRequest, "the PKI format requested is not supported by this server")
	}
	content, err := base64.StdEncoding.DecodeString(q.PublicKey.Content)
	if err != nil {
		return "", unread("query", "publicKey.content is not base64")
	}
	key, err := fingerprint(content)
	if err != nil {
		return "", &problem{http.StatusBadRequest, http.StatusBadRequest, "public key provided could not be parsed", err}
	}
	return key, nil
}

// prefixHash names the hash of a bare digest by its length.
func prefixHash(h string) string {
	if strings.Contains(h, ":") {
		return h
	}
	return map[int]string{40: "sha1:", 64: "sha256:", 128: "sha512:"}[len(h)] + h
}
