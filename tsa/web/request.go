package web

import (
	"crypto"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/tsa"
)

// maxArcs is how many components an OID in JSON may have.
const maxArcs = 128

// jsonRequest is upstream's JSON form of a TimeStampReq. Unknown fields are ignored, as there.
type jsonRequest struct {
	ArtifactHash  string   `json:"artifactHash"`  // standard base64 of the digest
	Certificates  bool     `json:"certificates"`  //
	HashAlgorithm string   `json:"hashAlgorithm"` // sha256, sha384 or sha512, letter case aside
	Nonce         *big.Int `json:"nonce"`         // a JSON integer, not negative
	TSAPolicyOID  string   `json:"tsaPolicyOID"`  // dotted
}

func parseQuery(der []byte) (tsa.Request, *refusal) {
	req, err := tsa.ParseRequest(der)
	if err != nil {
		return req, refusalOf(err)
	}
	return req, nil
}

func parseJSON(data []byte) (tsa.Request, *refusal) {
	var req tsa.Request
	if len(data) > maxJSON {
		return req, bad(textTooLarge, fmt.Errorf("JSON request of %d bytes, at most %d", len(data), maxJSON))
	}
	var in jsonRequest
	if err := httpx.DecodeJSON(data, &in, false); err != nil {
		return req, bad(textFailed, err)
	}
	switch strings.ToLower(in.HashAlgorithm) {
	case "sha256":
		req.Hash = crypto.SHA256
	case "sha384":
		req.Hash = crypto.SHA384
	case "sha512":
		req.Hash = crypto.SHA512
	case "sha1", "md5":
		return req, refusalOf(tsa.ErrWeakHash)
	default:
		return req, refusalOf(tsa.ErrUnsupportedHash)
	}
	var err error
	if req.Digest, err = base64.StdEncoding.Strict().DecodeString(in.ArtifactHash); err != nil {
		return req, bad(textFailed, fmt.Errorf("artifactHash: %w", err))
	}
	if req.Policy, err = parseOID(in.TSAPolicyOID); err != nil {
		return req, bad(textOID, err)
	}
	if in.Nonce != nil && in.Nonce.Sign() < 0 {
		return req, bad(textFailed, errors.New("nonce is negative"))
	}
	req.Nonce, req.Certificates = in.Nonce, in.Certificates
	return req, nil
}

// parseOID reads a dotted OID; "" is none.
func parseOID(s string) (asn1.ObjectIdentifier, error) {
	if s == "" {
		return nil, nil
	}
	parts := strings.SplitN(s, ".", maxArcs+1)
	if len(parts) > maxArcs {
		return nil, fmt.Errorf("OID with more than %d components", maxArcs)
	}
	oid := make(asn1.ObjectIdentifier, len(parts))
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 31)
		if err != nil {
			return nil, fmt.Errorf("OID component %d: %w", i, err)
		}
		oid[i] = int(n)
	}
	return oid, nil
}

func bad(text string, cause error) *refusal {
	return &refusal{http.StatusBadRequest, text, cause}
}
