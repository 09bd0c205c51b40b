// Package upstream is the long tail of Rekor v1's kinds: rekord, helm, jar, alpine, rpm, cose, tuf and
// rfc3161, all of version 0.0.1. Their formats are read, verified and written in canonical form by
// upstream's own code (sigstore/rekor pkg/types), so that bodies, search keys and attestations are
// upstream's by construction.
//
// In front of that code stand checks of size and shape, because it and the libraries below it believe
// what an archive says about itself: what they let a client allocate or unpack is bounded here
// before they see it. Each check is a function of its own, named after the format; the limits are
// in limits.go. Behind it stands a recover: a panic is a refusal, and its stack is the refusal's
// cause. A "url" field is refused: nothing is fetched.
//
// What is stored of an entry is its body with all of its search keys (see [entry.AppendKeys]), since
// they cannot be told from the body.
//
// Stricter than upstream are, beside the limits: helm provenance that names more than one file, of
// which upstream logs a random one; PGP keyrings with secret keys, PGP compression and encryption;
// archives whose files overlap, repeat or climb out.
package upstream
