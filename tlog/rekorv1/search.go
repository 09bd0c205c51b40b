package rekorv1

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sigbox/sigbox/internal/httpx"
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
	ids, err := s.searchIDs(w, r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	httpx.WriteJSON(w, http.StatusOK, ids)
}

func (s *Server) searchIDs(w http.ResponseWriter, r *http.Request) ([]string, error) {
	body, err := s.readJSON(w, r, "query")
	if err != nil {
		return nil, err
	}
	var q indexQuery
	if err := decode(body, &q, "query"); err != nil {
		return nil, err
	}
	keys, err := q.keys(s.formats)
	if err != nil {
		return nil, err
	}
	ids := []string{}
	for _, sh := range slices.Backward(s.shards) { // the newest first, as many as there is room for
		found, err := sh.search(r.Context(), keys, q.Operator == "and", s.maxResults-len(ids))
		if err != nil {
			return nil, err
		}
		ids = append(found, ids...)
	}
	return ids, nil
}

// search returns the ids of the newest entries of a shard that carry the keys.
func (sh *shard) search(ctx context.Context, keys [][]byte, and bool, limit int) ([]string, error) {
	if limit <= 0 {
		return nil, nil
	}
	hits, err := sh.log.Search(ctx, keys, and, limit)
	if err != nil {
		return nil, err
	}
	hashes, err := sh.log.LeafHashes(ctx, hits.Indexes)
	if err != nil {
		return nil, err
	}
	ids := make([]string, 0, len(hashes))
	for _, h := range hashes {
		ids = append(ids, sh.entryID(h))
	}
	return ids, nil
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
