package devidp

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/sigbox/sigbox/ca/profile"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/httpx"
)

const (
	deviceLifetime = 5 * time.Minute
	deviceInterval = time.Second
	maxDevices     = 256
	// userAlphabet has no vowels, so that no code is a word (RFC 8628 section 6.1).
	userAlphabet = "BCDFGHJKLMNPQRSTVWXZ"
)

// device is one device authorization under way.
type device struct {
	userCode, client, challenge string
	email                       string // set once approved
	denied                      bool
	expires, polled             time.Time
}

// devices holds them by device code.
type devices struct {
	clock clock.Clock
	mu    sync.Mutex
	byID  map[string]*device
}

func newDevices(c clock.Clock) *devices { return &devices{clock: c, byID: map[string]*device{}} }

// start registers a device, "" where too many are waiting.
func (d *devices) start(client, challenge string) (id, userCode string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock.Now()
	for id, v := range d.byID {
		if !now.Before(v.expires.Add(deviceLifetime)) { // expired ones stay a while to say so
			delete(d.byID, id)
		}
	}
	if len(d.byID) >= maxDevices {
		return "", ""
	}
	id, userCode = random(), newUserCode()
	d.byID[id] = &device{userCode: userCode, client: client, challenge: challenge, expires: now.Add(deviceLifetime)}
	return id, userCode
}

// decide approves (with an address) or denies (without) the device that shows userCode.
func (d *devices) decide(userCode, email string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range d.byID {
		if v.userCode == userCode && v.email == "" && !v.denied && d.clock.Now().Before(v.expires) {
			v.email, v.denied = email, email == ""
			return true
		}
	}
	return false
}

// poll returns the claims' e-mail address, or an error code of RFC 8628 section 3.5.
func (d *devices) poll(id, client, verifier string) (email, code string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, now := d.byID[id], d.clock.Now()
	switch {
	case v == nil || v.client != client:
		return "", "invalid_grant"
	case !now.Before(v.expires):
		return "", "expired_token"
	case v.challenge != "" && !verifies(v.challenge, verifier):
		delete(d.byID, id)
		return "", "invalid_grant"
	case v.denied:
		delete(d.byID, id)
		return "", "access_denied"
	case v.email != "":
		delete(d.byID, id)
		return v.email, ""
	}
	early := now.Sub(v.polled) < deviceInterval/2 // half: a client's second and ours differ
	v.polled = now
	if early {
		return "", "slow_down"
	}
	return "", "authorization_pending"
}

// newUserCode returns eight letters as XXXX-XXXX, drawn evenly.
func newUserCode() string {
	var out strings.Builder
	for out.Len() < 9 {
		if out.Len() == 4 {
			out.WriteByte('-')
		}
		var b [1]byte
		_, _ = rand.Read(b[:]) // never fails (crypto/rand)
		if b[0] < 240 {
			out.WriteByte(userAlphabet[int(b[0])%len(userAlphabet)])
		}
	}
	return out.String()
}

// normalUserCode forgives case, spaces and a missing hyphen.
func normalUserCode(s string) string {
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune(userAlphabet, r) {
			return r
		}
		return -1
	}, strings.ToUpper(s))
	if len(s) != 8 {
		return ""
	}
	return s[:4] + "-" + s[4:]
}

// deviceAuthorization is POST /device_authorization (RFC 8628 section 3.1).
func (s *Server) deviceAuthorization(w http.ResponseWriter, r *http.Request) {
	form, err := readForm(w, r)
	if err != nil {
		badRequest(w, err)
		return
	}
	client, ok := clientID(r, form)
	if !ok {
		oauthError(w, http.StatusBadRequest, "invalid_client", "client_id is missing or malformed")
		return
	}
	challenge := form.Get("code_challenge")
	if challenge != "" && (form.Get("code_challenge_method") != "S256" || !validChallenge(challenge)) {
		oauthError(w, http.StatusBadRequest, "invalid_request", "code_challenge must be the base64url of a SHA-256, code_challenge_method S256")
		return
	}
	id, userCode := s.devices.start(client, challenge)
	if id == "" {
		oauthError(w, http.StatusServiceUnavailable, "temporarily_unavailable", "too many devices are waiting; try again in a few minutes")
		return
	}
	httpx.WriteJSON(w, http.StatusOK, map[string]any{
		"device_code": id, "user_code": userCode,
		"verification_uri": s.issuer + "/device", "verification_uri_complete": s.issuer + "/device?" + url.Values{"user_code": {userCode}}.Encode(),
		"interval": int(deviceInterval.Seconds()), "expires_in": int(deviceLifetime.Seconds()),
	})
}

// deviceToken is the device grant of POST /token.
func (s *Server) deviceToken(w http.ResponseWriter, r *http.Request, client string, form url.Values) {
	email, code := s.devices.poll(form.Get("device_code"), client, form.Get("code_verifier"))
	if code != "" {
		oauthError(w, http.StatusBadRequest, code, "device authorization: "+strings.ReplaceAll(code, "_", " "))
		return
	}
	s.answer(w, r, person(client, email, ""))
}

// devicePage is GET /device.
func (s *Server) devicePage(w http.ResponseWriter, r *http.Request) {
	s.showDevice(w, http.StatusOK, normalUserCode(r.URL.Query().Get("user_code")), "", "")
}

// deviceDecision is POST /device.
func (s *Server) deviceDecision(w http.ResponseWriter, r *http.Request) {
	form, err := readForm(w, r)
	if err != nil {
		badRequest(w, err)
		return
	}
	userCode, email := normalUserCode(form.Get("user_code")), strings.TrimSpace(form.Get("email"))
	deny := form.Get("decision") == "deny"
	if err := profile.CheckEmail(email); err != nil && !deny {
		s.showDevice(w, http.StatusBadRequest, userCode, email, err.Error())
		return
	}
	if deny {
		email = ""
	}
	switch {
	case !s.devices.decide(userCode, email):
		s.showDevice(w, http.StatusBadRequest, "", email, "no device waits with this code: it may have expired; start again in the terminal")
	case deny:
		s.showDone(w, "Denied", "The device was refused. You can close this page.")
	default:
		s.showDone(w, "Signed in", "The terminal goes on by itself. You can close this page.")
	}
}
