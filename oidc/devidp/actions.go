package devidp

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/sigbox/sigbox/internal/httpx"
)

// run returns the claims of a made-up GitHub Actions run. All are strings, as GitHub's are.
func run() map[string]string {
	return map[string]string{
		"repository": "sigbox/example", "repository_owner": "sigbox",
		"repository_id": "1001", "repository_owner_id": "101", "repository_visibility": "public",
		"ref": "refs/heads/main", "ref_type": "branch", "ref_protected": "true", "head_ref": "", "base_ref": "",
		"sha": "3f786850e387550fdab836ed7e6dc881de23001b", "event_name": "push",
		"workflow": "release", "workflow_sha": "3f786850e387550fdab836ed7e6dc881de23001b",
		"workflow_ref": "", "job_workflow_ref": "", "job_workflow_sha": "3f786850e387550fdab836ed7e6dc881de23001b",
		"runner_environment": "github-hosted", "actor": "developer", "actor_id": "11",
		"run_id": "7001", "run_number": "1", "run_attempt": "1",
	}
}

// actionsClaims lays the query over the made-up run and composes what GitHub composes.
func actionsClaims(q url.Values) map[string]any {
	c := run()
	for name := range c {
		if v := q.Get(name); v != "" {
			c[name] = v
		}
	}
	if q.Get("repository_owner") == "" {
		c["repository_owner"], _, _ = strings.Cut(c["repository"], "/")
	}
	if c["workflow_ref"] == "" {
		c["workflow_ref"] = c["repository"] + "/.github/workflows/" + c["workflow"] + ".yml@" + c["ref"]
	}
	if c["job_workflow_ref"] == "" {
		c["job_workflow_ref"] = c["workflow_ref"]
	}
	out := map[string]any{"sub": "repo:" + c["repository"] + ":ref:" + c["ref"], "jti": random()}
	for name, v := range c {
		out[name] = v
	}
	out["aud"] = "https://github.com/" + c["repository_owner"]
	if aud := q.Get("audience"); aud != "" {
		out["aud"] = aud
	}
	return out
}

// actionsToken is GET /actions/token: the request URL of ACTIONS_ID_TOKEN_REQUEST_URL.
func (s *Server) actionsToken(w http.ResponseWriter, r *http.Request) {
	scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") || bearer == "" || len(bearer) > maxBody {
		w.Header().Set("WWW-Authenticate", "Bearer")
		oauthError(w, http.StatusUnauthorized, "invalid_token", "send Authorization: bearer and the value of ACTIONS_ID_TOKEN_REQUEST_TOKEN; any value will do")
		return
	}
	claims := actionsClaims(r.URL.Query())
	if raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(bearer, "=")); err == nil && strings.HasPrefix(string(raw), "{") {
		over, err := decodeClaims(raw)
		if err != nil {
			badRequest(w, err)
			return
		}
		for name, v := range over {
			claims[name] = v
		}
	}
	token, err := s.Mint(claims)
	if err != nil {
		s.mintError(w, r, err)
		return
	}
	httpx.WriteJSON(w, http.StatusOK, map[string]any{"count": len(token), "value": token})
}
