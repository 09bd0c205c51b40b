// Package clientcache makes a machine a client of an instance: it fetches the trust material
// through verified TUF updates and leaves it where clients look for it.
//
// [Export] writes files: root.json, trusted_root.json, the signing configurations, every key and
// chain as PEM, and one environment file per client family. [Init] fills a client's TUF cache for
// both generations of clients at once: the files of sigstore-go (cosign 2 and 3), and the tuf.db
// of go-tuf 0.7 (gitsign, Kyverno's command line, policy-controller's tester).
//
// Nothing is written that a TUF client would not have accepted, starting from the given root, or,
// where none is given, from the root.json the instance serves now (trust on first use, whose
// digest is reported). Both can be repeated, and neither leaves half of its work behind when it
// fails to fetch. The formats on disk are written by the clients' own libraries.
package clientcache
