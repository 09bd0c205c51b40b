// Package rules decides which identities may sign: for each issuer a list of rules, each an
// expression in CEL over the claims of a verified token.
//
// [Parse] reads a file (YAML: issuer, list of name, allow, reason) and compiles every expression, so
// that what is wrong shows when the file is loaded. [Set.Decide] asks the rules of the token's issuer
// in order: all must allow. The first that does not decides, and its reason is what the caller reads. An
// issuer without rules is not restricted; for one that was not known when they were read nothing is
// decided. A rule that cannot be evaluated, for want of a claim that it reads or by going over its limit,
// does not allow. Whom all allow gets a [ca.Grant], which goes on record with the issuance.
//
// Expressions know claims (all of the token's, a map), issuer (iss), subject (sub) and san (the name
// that would be certified). Integers are int, other numbers double. There is no clock, no network and no
// state: equal tokens are decided alike.
//
// Bounds: file, rules, length of an expression, its nodes, depth and regular expressions, which must be
// written out; and what one evaluation may cost, by CEL's own count.
//
// Documents: the CEL specification (cel.dev). It verifies no tokens (package oidc), maps no claims
// (ca/profile) and does not log.
package rules
