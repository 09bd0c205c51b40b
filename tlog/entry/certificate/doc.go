// Package certificate is what a certificate transparency log holds: certificates and
// precertificates as RFC 6962 entries.
//
// An entry's Merkle leaf is the MerkleTreeLeaf of RFC 6962 section 3.4 over the batch's time. Its
// identity is SHA-256 over the entry type and everything that the log's promise covers, so the
// chain that came with a certificate does not make it another entry. Its one search key is the
// leaf hash, which is what get-proof-by-hash asks for.
//
// It checks no signature and no chain: whoever submits entries does (package tlog/ctlog).
package certificate
