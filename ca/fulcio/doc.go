// Package fulcio is the face that Sigstore's clients know as Fulcio: API v2 over HTTP and gRPC, and
// the older v1 over HTTP.
//
//	POST /api/v2/signingCert     identity token and key, or CSR, in; certificate chain out (200, JSON)
//	GET  /api/v2/trustBundle     the authority's chain
//	GET  /api/v2/configuration   the accepted issuers
//	POST /api/v1/signingCert     the same for older clients (201, PEM)
//	GET  /api/v1/rootCert        the authority's chain (200, PEM)
//	gRPC dev.sigstore.fulcio.v2.CA
//
// Paths, shapes, statuses and texts are those of Fulcio 1.8. What a client reads when it is refused
// is one of a few fixed sentences; the true reason goes to our log. The answer always has the SCT
// inside the certificate and the whole chain beside it, whatever the Accept header says.
//
// Beside the sentence is a word for the cause, which programs can rely on (header Sigbox-Error, trailer
// sigbox-error in gRPC; docs/errors.md).
//
// It is stricter than Fulcio where no client depends on it: a body that decoders could read in two
// ways, two Authorization headers, base64 or PEM that is not in standard form, and a key beside a
// CSR are refused. It decides nothing about identities and keys: packages oidc, ca/profile,
// ca/rules and ca do. An identity that a rule does not allow is answered 403, the rule's reason with it.
package fulcio
