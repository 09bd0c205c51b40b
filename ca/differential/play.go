package differential

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog/differential"
)

// Player asks one server. Requests hold names in double braces, which it replaces:
//
//	{{token:NAME}}           a token of [Tokens], signed now
//	{{key:NAME}}             the PEM of a public key: p256, p384, p521, rsa, ed25519, p224
//	{{der:NAME}}             base64 of the public key's SubjectPublicKeyInfo
//	{{proof:NAME:CHALLENGE}} base64 of the key's signature over a challenge
//	{{csr:NAME}}             base64 of the PEM of a certificate signing request
type Player struct {
	URL    string // scheme and host
	Issuer *Issuer
	Client *http.Client

	keys    map[string]crypto.Signer
	seconds string // for which the certificate of the answer at hand is valid
}

// NewPlayer returns a player with keys of its own.
func NewPlayer(url string, issuer *Issuer) (*Player, error) {
	p := &Player{URL: url, Issuer: issuer, keys: map[string]crypto.Signer{}, Client: &http.Client{
		Timeout:       time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableCompression: true},
	}}
	var err error
	for name, curve := range map[string]elliptic.Curve{"p224": elliptic.P224(), "p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521()} {
		if p.keys[name], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			return nil, err
		}
	}
	if p.keys["rsa"], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return nil, err
	}
	_, p.keys["ed25519"], err = ed25519.GenerateKey(rand.Reader)
	return p, err
}

// Play sends the requests in their order.
func (p *Player) Play(ctx context.Context, requests []differential.Request) ([]differential.Answer, error) {
	var answers []differential.Answer
	for _, r := range requests {
		a, err := p.ask(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Name, err)
		}
		answers = append(answers, a)
	}
	return answers, nil
}

func (p *Player) ask(ctx context.Context, r differential.Request) (differential.Answer, error) {
	body, err := p.fill(r.Body)
	if err != nil {
		return differential.Answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, p.URL+r.Target, strings.NewReader(body))
	if err != nil {
		return differential.Answer{}, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range r.Header {
		if v, err = p.fill(v); err != nil {
			return differential.Answer{}, err
		}
		if v == "-" {
			req.Header.Del(k)
		} else {
			req.Header.Set(k, v)
		}
	}
	resp, err := p.Client.Do(req)
	if err != nil {
		return differential.Answer{}, err
	}
	raw, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return differential.Answer{}, err
	}
	a := r.Answered(resp.StatusCode)
	for k, v := range resp.Header {
		if k != "Date" && k != "Content-Length" && k != "X-Request-Id" {
			a.Header[k] = strings.Join(v, "\n")
		}
	}
	p.seconds = ""
	a.Body = p.shape(raw)
	if p.seconds != "" {
		a.Header["(validity in seconds)"] = p.seconds // beside the body, so that a difference in it hides none there
	}
	return a, nil
}

var name = regexp.MustCompile(`\{\{(?:(token):([^{}]*)|(key|der|proof|csr):([^{}:]*):?([^{}]*))\}\}`)

func (p *Player) fill(text string) (string, error) {
	var failed error
	out := name.ReplaceAllStringFunc(text, func(m string) string {
		parts := name.FindStringSubmatch(m)
		s, err := p.value(parts[1]+parts[3], parts[2]+parts[4], parts[5])
		failed = errors.Join(failed, err)
		return s
	})
	return out, failed
}

func (p *Player) value(kind, name, challenge string) (string, error) {
	if kind == "token" {
		return p.Issuer.Token(name)
	}
	key := p.keys[name]
	if key == nil {
		return "", fmt.Errorf("there is no key %q", name)
	}
	switch kind {
	case "key":
		content, err := keys.PublicPEM(key.Public())
		quoted, _ := json.Marshal(string(content)) // a string
		return string(bytes.Trim(quoted, `"`)), err
	case "der":
		der, err := keys.SPKI(key.Public())
		return base64.StdEncoding.EncodeToString(der), err
	case "csr":
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
		return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), err
	}
	digest, hash := []byte(challenge), hashOf(key.Public())
	if hash != 0 {
		h := hash.New()
		h.Write(digest)
		digest = h.Sum(nil)
	}
	sig, err := key.Sign(rand.Reader, digest, hash)
	return base64.StdEncoding.EncodeToString(sig), err
}

// hashOf is the hash that clients use with a key.
func hashOf(pub crypto.PublicKey) crypto.Hash {
	switch k := pub.(type) {
	case ed25519.PublicKey:
		return 0
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P384():
			return crypto.SHA384
		case elliptic.P521():
			return crypto.SHA512
		}
	}
	return crypto.SHA256
}

// Issuer signs tokens of the issuers of [Config], which are paths of one server.
type Issuer struct {
	URL string // scheme and host
	key *rsa.PrivateKey
}

// NewIssuer returns the issuers at URL. Its Register answers for them there.
func NewIssuer() (*Issuer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	return &Issuer{key: key}, err
}

// Register answers discovery and keys of all issuers.
func (i *Issuer) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /{type}/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		iss := i.URL + "/" + r.PathValue("type")
		write(w, map[string]any{
			"issuer": iss, "jwks_uri": i.URL + "/keys", "authorization_endpoint": iss + "/auth", "token_endpoint": iss + "/token",
			"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		write(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(), KeyID: "k", Algorithm: "RS256", Use: "sig"}}})
	})
}

func write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}

// Token signs a token of Tokens.
func (i *Issuer) Token(name string) (string, error) {
	claims, ok := Tokens(i.URL, time.Now())[name]
	if !ok {
		return "", fmt.Errorf("there is no token %q", name)
	}
	key := i.key
	if claims["stranger"] != nil {
		delete(claims, "stranger")
		var err error
		if key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return "", err
		}
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return jws.CompactSerialize()
}
