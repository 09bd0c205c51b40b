// Package airgap is the one file in which an instance's trust is carried to where no network is
// (docs/design/0017).
//
// The file is a tar archive. Its first entry is a [Manifest] in a DSSE envelope, which as many targets keys
// have signed as the carried root wants; the others are what the manifest names, in its order: the TUF
// repository, the contents of its targets, and, where asked for, entries of logs and bundles. Names,
// sizes and digests are those of the manifest, and there is nothing else in the file.
//
//	m := airgap.Manifest{...}
//	e, err := m.Seal()                              nobody has signed
//	err = e.Sign(key, root)                         a holder of a targets key
//	err = airgap.Write(w, e, contents)              the file
//
//	f, err := airgap.Read(r, airgap.ReadOptions{})  where it is brought
//	err = f.Manifest.Follows(last)
//	set := f.Carried()                              for (*tuf.Repository).Adopt
//
// Read believes nothing that it has not verified: the chain of roots from one that is known, the signatures,
// the expiry, every digest, the checkpoints of logs by the keys that the carried trusted_root.json has, and
// that carried entries are those of the signed trees. [Manifest.Follows] holds it against the last one that
// was taken in: no gap, nothing that goes back, and every log still has the entries that it had. Entries and
// bundles are not kept in memory; a file that is refused has reached nothing but the writer of the caller.
package airgap
