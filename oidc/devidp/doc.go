// Package devidp is the development identity provider: an OpenID Connect issuer that signs in
// anybody as anybody. It exists so that unmodified Sigstore clients can get a token on a developer's
// machine, and so that tests can have any token they want.
//
//	GET  /.well-known/openid-configuration   discovery
//	GET  /keys                               JWKS: one RSA key, RS256
//	GET  /auth, POST /auth                   authorization code flow, PKCE S256 required, sign-in page
//	POST /token                              authorization_code, device_code, client_credentials
//	POST /device_authorization               device flow (RFC 8628)
//	GET  /device, POST /device               its page, where the user code is entered
//	POST /mint                               a JSON object of claims in, a token as text/plain out
//	GET  /actions/token                      what GitHub Actions offers its jobs: {"value": TOKEN}
//
// Claims that POST /mint leaves out are filled in: iss, aud "sigstore", iat, nbf, exp in an hour,
// email_verified true and sub where there is an email, sub where there is a repository. A claim that
// is null is left out of the token. iss can only be the issuer itself.
//
// GET /actions/token?audience=sigstore with any Authorization: bearer answers with the claims of a
// made-up workflow run. Query parameters named like one of those claims replace it
// (?repository=org/app&ref=refs/tags/v1), and what is composed of them (sub, job_workflow_ref)
// follows. If the bearer token is base64url of a JSON object, its members replace any claim.
//
// A person's token has email and email_verified; a machine's has neither, because clients sign the
// email claim wherever there is one. Tokens of client_credentials have sub ISSUER/clients/CLIENT.
//
// It guards itself against a browser's other pages, which is the danger on loopback: a Host that it
// was not told is answered 421 (DNS rebinding), a POST from another origin 403, there is no CORS,
// no page can be framed, and codes go to loopback addresses only. Codes are used once, live two
// minutes and are bound to client, redirect and verifier. Everything pending is bounded.
//
// It implements what clients need of OpenID Connect Core and Discovery 1.0, RFC 6749, 7636 and 8628.
// It has no users, no passwords, no consent, no sessions, no refresh tokens and no storage: codes
// are gone after a restart, the key comes from the wiring. Never offer it beyond loopback.
package devidp
