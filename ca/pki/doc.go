// Package pki is what stands above the keys of the certificate authority and of the timestamp
// authority: an offline root, or the PKI that a company has.
//
// [NewRoot] makes a root that is kept offline. [Request] asks for the certificate of a key that is here
// (PKCS #10, RFC 2986), [ParseRequest] reads such a request where the root is, and [Sign] answers it with
// the chain. A request says what is wanted in standard extensions, so that any other PKI can answer it
// too; the certificate that Sign makes is the one of packages ca and tsa and takes nothing from the
// request but its key and its name.
//
// [Check] says whether a chain that came back may be served: that it is for the key, complete, in order,
// valid, and for the purpose alone, by the strictest of the clients' rules (RFC 5280; RFC 3161 2.3;
// Fulcio's own check; sigstore-go, -python, -js and -java). What it refuses it names in a [Refusal]: which
// certificate, why, and what to do.
//
// The package touches no file, and revokes nothing: what was published in a trust root stays there.
package pki
