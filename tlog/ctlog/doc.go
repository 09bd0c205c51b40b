// Package ctlog is the certificate transparency face of a log: the HTTP API of RFC 6962
// section 4 under /ct/v1/.
//
// It takes only chains that end in the roots it was given, in order and complete, for leaves that
// are valid now and made for code signing. Under a root that is not ours alone it takes the chains it was
// given, and no others. A signed certificate timestamp is signed after the
// entry is committed, over the leaf as the log holds it, and carries no extensions: every client
// accepts that. A second submission of the same certificate gets the same timestamp and, with a
// key held in this process, the same signature to the byte (deterministic ECDSA, RFC 6979).
// A tree head is signed for the log's published head and never beyond it.
//
// [Server.Tree] is the same tree for who serves it as tiles (C2SP tlog-tiles, package tiles).
//
// Precertificate signing certificates (RFC 6962 3.1) are not accepted: our certificate authority
// signs precertificates with the key that signs the certificate. It keeps no state but the last
// signed tree head.
package ctlog
