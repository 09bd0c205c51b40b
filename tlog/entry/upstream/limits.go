package upstream

// What an entry may make the code behind this package read, unpack and hold. Upstream bounds some of
// this too, by settings of its server that its packages do not have on their own.
const (
	maxPackets    = 1_000     // of a PGP keyring or signature; each costs a signature check at worst
	maxSignature  = 64 << 10  // bytes of a detached signature
	maxPGPKey     = 512 << 10 // bytes of a keyring; the largest in Debian's have 200 KiB
	maxSmallKey   = 64 << 10  // bytes of any other key or certificate chain
	maxProvenance = 1 << 20   // bytes of a Helm provenance file

	maxFiles    = 10_000    // of an archive
	maxUnpacked = 32 << 20  // bytes of all files of a jar
	maxMetadata = 1 << 20   // bytes of one file in META-INF, or of the control part of an apk; upstream's default
	maxPkginfo  = 256 << 10 // bytes of an apk's .PKGINFO
	maxTags     = 10_000    // of an rpm's header

	maxTUF  = 100       // keys, roles, key ids of a role and signatures of TUF metadata, each
	maxTSR  = 10 << 10  // bytes of a timestamp response; upstream's
	maxCBOR = 1_000_000 // bytes of a COSE message
)
