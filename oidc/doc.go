// Package oidc verifies identity tokens against exactly the configured issuers.
//
// [ParseConfig] reads Fulcio's own config.yaml unchanged (oidc-issuers, meta-issuers,
// ci-issuer-metadata) and reports every problem at once with its line. A [Verifier] takes one raw
// token and returns its claims, or a [TokenError] whose reason is for our log only.
//
// [Verifier.Explain] makes the same checks, all of them and without asking anybody, for a person to
// read.
//
// Guarantees:
//
//   - Size and structure are checked before anything is decoded, and the issuer is matched, byte
//     for byte, before anything is fetched: a token of an unknown issuer causes no outbound call.
//   - Only asymmetric algorithms of a fixed list are accepted, each with a key of its kind and size.
//   - The claims handed out are decoded from the bytes whose signature was checked. An object that
//     names a member twice, letter case aside, is refused: no two decoders can read it differently.
//   - Each issuer's keys load when they are first needed. A dead issuer is asked again after a short
//     while and never delays another one. Keys given in [Options] need no network at all.
//
// Specifications: OpenID Connect Core 1.0 section 3.1.3.7, OpenID Connect Discovery 1.0, RFC 7515,
// 7517, 7518, 7519, 8725. Signature, audience and expiry are checked by coreos/go-oidc.
//
// It does not map claims to certificates (ca/profile), does not follow distributed claims, does not
// decrypt tokens, and remembers no token: a token can be used again until it expires, as upstream.
package oidc
