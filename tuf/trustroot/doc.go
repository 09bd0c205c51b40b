// Package trustroot composes what clients trust, and where they sign, from the public material of
// an instance: trusted_root.json, the signing configurations, the single keys and chains that
// older clients look for, and the environment files of the client families.
//
// It is pure: certificates, keys, URLs and validity windows in, bytes out, the same bytes for the
// same input. [Compose] refuses material that some client would misread: see [Material.Lint].
//
// Forms are those of the Sigstore protobuf specifications as the oldest supported reader knows
// them (protobuf-specs 0.4.1: no operator in trusted_root.json), COMPAT.md 5.3 and 6. The package
// signs nothing; tuf does.
package trustroot
