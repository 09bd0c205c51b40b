// Package dsse is Rekor v1's kind dsse 0.0.1: the signatures of a DSSE envelope
// (github.com/secure-systems-lab/dsse), with the key or certificate that verifies each, and the
// hashes of envelope and payload. The envelope itself is not kept.
//
// Canonical body, search keys and refusals equal upstream's (sigstore/rekor
// pkg/types/dsse/v0.0.1), with these differences, all stricter: an envelope whose JSON has a key
// twice, an empty or null verifier, more than 100 signatures or verifiers, more than 10,000
// subject and material digests, more than 1,000 attempts to match keys with signatures, and RSA
// keys of more than 8192 bits are refused. Unknown fields of an envelope are ignored, as the DSSE
// specification demands. A payload that is not an in-toto statement is logged without subject
// search keys; of many digests the first ones become search keys (see [entry.NewBase]).
package dsse
