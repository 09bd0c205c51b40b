// Package presets knows the issuers of identity tokens that companies have, by name: what of an issuer's
// claims becomes the name and the extensions of a certificate, and what has to be said of one's own
// (an address, a tenant) for it to be trusted.
//
// A preset is a file below data: a title, its parameters, and Fulcio's own config.yaml with the places
// where parameters go. [Preset.Configuration] fills it in; package oidc reads the result as it reads any
// other. So a preset can be printed, changed and used as a file, by upstream too.
//
// Guarantees: a value of a parameter is text where it stands. It can add no key, no issuer and no
// template, since it is put into the parsed document and its letters are checked before.
//
// For each preset testdata has a token's claims as the issuer publishes them, with the document and the
// date it was read; ca/profile's tests compare the certificates of those with upstream's, byte for byte.
package presets
