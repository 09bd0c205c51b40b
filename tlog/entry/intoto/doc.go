// Package intoto is Rekor v1's kind intoto, versions 0.0.1 and 0.0.2: a DSSE envelope
// (github.com/secure-systems-lab/dsse) with an attestation in it. Version 0.0.1 names the key that has
// made one of the signatures, version 0.0.2 one for every signature. The body keeps hashes, keys and, in
// version 0.0.2, signatures; the payload is kept beside the entry, as its attestation.
//
// Canonical body, search keys, attestation and refusals equal upstream's (sigstore/rekor
// pkg/types/intoto), with these differences. Stricter: the limits of package envelope; an envelope whose
// JSON has a key twice; a signature that is no object; RSA keys of more than 8192 bits. Laxer in
// nothing. Where the payload of version 0.0.2 is not the statement that its type says, upstream gives
// the entry no search keys; here it has those of its keys and payload.
//
// In version 0.0.2 content.hash, of the envelope as the client had it, is the client's claim: upstream
// does not check it either, and could not.
package intoto
