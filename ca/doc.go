// Package ca is the certificate authority: it turns a verified identity and a key whose
// possession was shown into a ten-minute code signing certificate.
//
// [Authority.Issue] is the only way to a signature of the authority's key, and it goes through
// steps that cannot be left out or swapped, since each consumes the value that the one before it
// returns:
//
//  1. prepare: one clock reading, a random serial number, the whole precertificate TBS; held
//     against the profile before any key is used
//  2. intend: the serial number and the hash of that TBS are recorded, so that every signature the
//     key ever made has a row, whatever happens next
//  3. sign the precertificate
//  4. log it, and verify the promise (SCT) with the key that clients will use
//  5. build the final TBS from the precertificate's bytes, show that the two correspond, hold it
//     against the profile, sign it, verify the signature
//  6. record both
//  7. hand it out, once the log has done with the entry all that it does before it shows one
//
// Without a promise that verifies no final certificate is ever signed, and a certificate that
// could not be recorded is not handed out.
//
// The certificate profile is that of Sigstore (empty subject, one critical subject alternative
// name, code signing only, Fulcio's extensions) over RFC 5280; promises are RFC 6962.
// [NewHierarchy] makes the root and the intermediate of a new instance.
//
// It verifies no tokens (package oidc), maps no claims (ca/profile) and speaks no protocol
// (ca/fulcio). It does not revoke: certificates are valid for ten minutes.
package ca
