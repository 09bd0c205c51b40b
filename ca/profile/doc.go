// Package profile says what a certificate states about an identity: the one subject alternative
// name and the Sigstore extensions that follow from a verified token's claims.
//
// It is a table from identity type to mapping, and pure: no clock, no network, no configuration
// beyond the token's issuer. For every token that it accepts, SAN and extensions equal upstream
// Fulcio's, byte for byte (differential tests), but for two cases: see numbers and null below.
//
// It accepts less than upstream, always by refusing the token:
//
//   - A claim that is used must be a string (numbers and booleans too in ci-provider templates), at
//     most 1 KiB, and printable. Text in another shape is refused, never repaired.
//   - An e-mail address is plain ASCII, unquoted, with a host name of two labels or more;
//     email_verified is true or "true".
//   - The name in the SAN, read again as a URL, is itself, has a host and no user information; its
//     scheme and host are those that the template begins with. A claim that the SAN template uses
//     must not be empty.
//   - A path put together from claims holds no empty and no dot segment and no broken escape: upstream
//     would clean, drop or decode them into the name of another workflow.
//   - A claim never replaces a non-empty default of the same name: such a token is refused, unless
//     both are equal or the configuration lists the name under claims-may-override. Upstream lets
//     claims win silently. A default that is empty marks an optional claim, and the claim wins.
//
// Integer claims are printed in full. Upstream prints those from 1,000,000 on as 1.234567e+06,
// which names another build. A null claim counts as missing; in a template upstream prints it as <nil>.
//
// Documents: Fulcio's certificate specification and oid-info (OID arc 1.3.6.1.4.1.57264.1), RFC 5280
// section 4.2.1.6.
//
// It does not verify tokens (package oidc) and builds no certificates (package ca).
package profile
