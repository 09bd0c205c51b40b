package fulcio

import (
	"encoding/base64"
	"encoding/json"
)

// requestV2 is CreateSigningCertificateRequest in JSON. protobuf's JSON mapping lets a client write
// the names of the .proto file too.
type requestV2 struct {
	Credentials struct {
		Token      string `json:"oidcIdentityToken"`
		ProtoToken string `json:"oidc_identity_token"`
	} `json:"credentials"`
	Key      *keyRequest `json:"publicKeyRequest"`
	ProtoKey *keyRequest `json:"public_key_request"`
	CSR      string      `json:"certificateSigningRequest"`
	ProtoCSR string      `json:"certificate_signing_request"`
}

type keyRequest struct {
	Key      publicKey `json:"publicKey"`
	ProtoKey publicKey `json:"public_key"`
	Proof    string    `json:"proofOfPossession"`
	ProtoPoP string    `json:"proof_of_possession"`
}

type publicKey struct {
	Algorithm json.RawMessage `json:"algorithm"` // ignored, as upstream: the key decides
	Content   string          `json:"content"`
}

func (b *requestV2) request() (request, error) {
	key := b.Key
	if key == nil {
		key = b.ProtoKey
	} else if b.ProtoKey != nil {
		return request{}, invalid("publicKeyRequest is given twice")
	}
	csr := b.CSR + b.ProtoCSR
	if (b.CSR != "" && b.ProtoCSR != "") || (key != nil && csr != "") {
		return request{}, both()
	}
	req := request{token: b.Credentials.Token}
	if req.token == "" {
		req.token = b.Credentials.ProtoToken
	}
	var err error
	if req.csr, err = decodeBytes("certificateSigningRequest", csr); err != nil || key == nil {
		return req, err
	}
	req.key = []byte(first(key.Key.Content, key.ProtoKey.Content))
	req.proof, err = decodeBytes("proofOfPossession", first(key.Proof, key.ProtoPoP))
	return req, err
}

// answerV2 is SigningCertificate in JSON, as writeProto writes what signingCertificate returns: protobuf's
// encoder takes as long over it as one of the signatures does.
type answerV2 struct {
	Embedded struct {
		Chain struct {
			Certificates []string `json:"certificates"`
		} `json:"chain"`
	} `json:"signedCertificateEmbeddedSct"`
}

// requestV1 is the request of older clients, which send every field, null where it has no value.
type requestV1 struct {
	Key struct {
		Algorithm string `json:"algorithm"` // ignored, as upstream: the key decides
		Content   string `json:"content"`
	} `json:"publicKey"`
	Proof string `json:"signedEmailAddress"`
	CSR   string `json:"certificateSigningRequest"`
}

func (b *requestV1) request() (req request, err error) {
	if req.key, err = decodeBytes("publicKey.content", b.Key.Content); err != nil {
		return req, err
	}
	if req.proof, err = decodeBytes("signedEmailAddress", b.Proof); err != nil {
		return req, err
	}
	req.csr, err = decodeBytes("certificateSigningRequest", b.CSR)
	return req, err
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// decodeBytes reads a bytes field: standard base64 with its padding and nothing between.
func decodeBytes(field, text string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || base64.StdEncoding.EncodedLen(len(b)) != len(text) {
		return nil, invalid("field %q is not standard base64", field)
	}
	return b, nil
}
