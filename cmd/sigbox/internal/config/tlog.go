package config

import (
	"fmt"
	"slices"
)

// TLog is the transparency logs. Each log is one row in the database, with a key of its own; it is
// made once, on purpose, by "sigbox log create NAME --config FILE". Any number of processes with
// equal configuration can run on one database: all of them write, and none leads.
//
// The keys are read and never written: all processes of a log have the same ones.
type TLog struct {
	// The origin of the logs' APIs.
	PublicURL Origin `yaml:"public_url" derived:"the public_url of the file"`
	// The address and port to listen on.
	Listen Address `yaml:"listen" derived:"the listen of the file"`
	// The database of the logs.
	Database *Database `yaml:"database" required:"true"`
	// The register that notices a database that lost entries.
	Guard *Guard `yaml:"guard" required:"true"`
	// How often to look for heads that other processes wrote. An entry that one process has
	// acknowledged is served by the others this much later; each look is one small query a log.
	Poll Duration `yaml:"poll" default:"200ms" min:"10ms" max:"1m"`
	// Bounds on what is taken and kept in memory, for each log.
	Limits Limits `yaml:"limits"`
	// PEM file with the certificates of the authorities that are believed about who signs: each issuing
	// certificate followed by its issuers up to the self-signed root, such as the chain of ca. It
	// decides nothing by itself: writers and quotas go by it.
	Authorities File `yaml:"authorities" live:"true" derived:"the roots of tlog.ct"`
	// How often entries may be written to the Rekor logs, to both together.
	Quotas *Quotas `yaml:"quotas" live:"true"`

	// How this service is known to the others: the certificate authority appends to the CT log through
	// it, and tuf asks for statements.
	Peers *Peers `yaml:"peers"`
	// A directory that the service's trust statements are written to at every start, for a tuf that
	// cannot ask for them. Nothing in it is secret.
	Statements Dir `yaml:"statements"`

	// The log with the Rekor v1 API, at /api/v1.
	RekorV1 *RekorV1 `yaml:"rekor_v1"`
	// The log with the Rekor v2 API, at /api/v2.
	RekorV2 *RekorV2 `yaml:"rekor_v2"`
	// The certificate transparency log of the certificate authority, at /ct/v1.
	CT *CT `yaml:"ct"`
}

// RekorV1 is a Rekor v1 log.
type RekorV1 struct {
	// The log, as a list of shards: the last one takes entries, those before it are frozen and served
	// on. Most logs have one.
	Shards []Shard `yaml:"shards" required:"true"`
	// What answers an entry that the log holds already: conflict (409 and where it is, as upstream)
	// or return (201 with the stored entry).
	Duplicates string `yaml:"duplicates" default:"conflict" one:"conflict|return"`
	// The kinds of entries that it takes; all of them where there is no list. A kind that is not listed
	// is not even read: an entry of it that the log has is found by index, by id and by search, and not
	// by its content.
	Kinds []Kind `yaml:"kinds"`
	// Who may write. Without it everybody may.
	Writers *Writers `yaml:"writers" live:"true"`
}

// Kinds are the kinds of entries that a Rekor v1 log may take.
var Kinds = []string{"alpine", "cose", "dsse", "hashedrekord", "helm", "intoto", "jar", "rekord", "rfc3161", "rpm", "tuf"}

func (k *Kind) parse(text, _ string) error {
	if !slices.Contains(Kinds, text) {
		return fmt.Errorf("%q is no kind of entry: want %s", text, orList(Kinds))
	}
	*k = Kind(text)
	return nil
}

// Shard is one tree of a Rekor v1 log.
type Shard struct {
	// The name of the log in the database, in metrics and in "sigbox log".
	Name Name `yaml:"name" required:"true"`
	// A positive number that no other Rekor log of this host ever had; take a random one, since
	// clients remember heads by it. Its 16 hex digits begin every entry id, and "HOST - TREE_ID" is
	// the origin of the checkpoints. It is fixed for the life of the log.
	TreeID int64 `yaml:"tree_id" required:"true" min:"1"`
	// The host name in the origin, fixed for the life of the log: set it where public_url has moved.
	Host Host `yaml:"host" derived:"the host of tlog.public_url"`
	// PEM file with the log's key: ECDSA P-256, PKCS #8. Shards of one log may share it.
	Key KeyFile `yaml:"key" required:"true"`
}

// RekorV2 is a Rekor v2 log.
type RekorV2 struct {
	// The name of the log in the database, in metrics and in "sigbox log".
	Name Name `yaml:"name" default:"rekor-v2"`
	// The host name in its URL, which is the origin of its checkpoints and fixed for the life of the
	// log: set it where public_url has moved.
	Host Host `yaml:"host" derived:"the host of tlog.public_url"`
	// PEM file with the log's key: ECDSA P-256, PKCS #8, of no other role.
	Key KeyFile `yaml:"key" required:"true"`
	// The shards to go on with that have host names of their own, in their order: "sigbox log rotate" makes
	// the first that is not there. A shard that is not listed shares the host of the one before it.
	Shards []RekorV2Shard `yaml:"shards"`
	// Who may write. Without it everybody may.
	Writers *Writers `yaml:"writers" live:"true"`
}

// RekorV2Shard is a shard of a Rekor v2 log with a host name of its own.
type RekorV2Shard struct {
	// The name of the shard in the database, in metrics and in "sigbox log". Its key is in the file of that
	// name beside the log's key.
	Name Name `yaml:"name" required:"true"`
	// The host name in its URL, of no other log, which is the origin of its checkpoints and stays its own for
	// ever. Scheme and port are those of tlog.public_url: the name leads to the same listeners, and what
	// stands in between passes it on in the Host header.
	Host Host `yaml:"host" required:"true"`
}

// CT is a certificate transparency log (RFC 6962).
type CT struct {
	// The name of the log in the database, in metrics and in "sigbox log".
	Name Name `yaml:"name" default:"ct"`
	// The host name in the origin "HOST/ct" of its checkpoints, fixed for the life of the log: set it
	// where public_url has moved.
	Host Host `yaml:"host" derived:"the host of tlog.public_url"`
	// PEM file with the log's key: ECDSA P-256, PKCS #8, of no other role.
	Key KeyFile `yaml:"key" required:"true"`
	// PEM file with the certificates of the authorities that the log is for: each issuing certificate
	// followed by its issuers up to the self-signed root, such as the chain of ca. Chains that end in
	// one of the roots are taken, all others refused. Below a root that a chain of three certificates or more
	// ends in, which is a company's own, only the chains of this file are taken. When the log is created
	// these certificates are its first entries.
	Roots File `yaml:"roots" required:"true"`
	// The CT logs that came after this one, in their order, with the same host and roots. All of them are
	// served; ca.ct.log says which one certificates go into. "sigbox rotate ct" makes them.
	Next []NextCT `yaml:"next"`
}

// NextCT is a certificate transparency log that came after another one, with a key and an address of its own.
type NextCT struct {
	// The name of the log in the database, in metrics and in "sigbox log": that of the first one and
	// something behind it, such as ct-2. It is served at /NAME/ct/v1, and "HOST/NAME" is the origin of its
	// checkpoints.
	Name Name `yaml:"name" required:"true"`
	// PEM file with the log's key: ECDSA P-256, PKCS #8, of no other role and no other log.
	Key KeyFile `yaml:"key" required:"true"`
}

// CTNamed returns what the configuration says of the CT log of a name; false where there is no such log.
func (t *TLog) CTNamed(name Name) (LogSpec, bool) {
	for _, l := range t.Logs() {
		if l.Face == FaceCT && l.Name == name {
			return l, true
		}
	}
	return LogSpec{}, false
}

// Limits are bounds for each log, in each process.
type Limits struct {
	// Bytes of one entry as it is stored, of its leaf, and of its attestation. A larger one is answered
	// 413 (Rekor v2: 400, as upstream). Rekor v2 entries are bounded by their format at 65535 bytes in any
	// case. Of an intoto or cose entry, an attestation of up to 102400 bytes is kept beside the entry,
	// written in the same transaction; a larger one is not, and the entry is taken without, as upstream
	// does.
	Entry Size `yaml:"entry" default:"1MiB" min:"16KiB" max:"64MiB"`
	// Bytes of the body of a request. A larger one is answered 413, before it is read where its length is
	// announced. An attestation of n bytes makes a body of less than twice as many. Large bodies take 128 MiB of
	// memory together in each Rekor v1 log, or twice this limit where that is more; one that finds no room is
	// answered 503 with Retry-After. Over gRPC a message has at most 4 MiB, whatever is written here.
	Body Size `yaml:"body" default:"4MiB" min:"64KiB" max:"256MiB"`
	// Entries in one commit.
	Batch int64 `yaml:"batch" default:"1024" min:"1" max:"65536"`
	// Bytes of the entries in one commit, beyond the first.
	BatchBytes Size `yaml:"batch_bytes" default:"8MiB" min:"64KiB" max:"256MiB"`
	// Entries that wait for their commit. Those beyond are answered 503 with Retry-After.
	Pending int64 `yaml:"pending" default:"8192" min:"1" max:"1000000"`
	// Entries that a search of Rekor v1 returns: the newest.
	Results int64 `yaml:"results" default:"1000" min:"1" max:"10000"`
	// Full tiles that are kept in memory, some 16 KiB each.
	CacheTiles int64 `yaml:"cache_tiles" default:"512" min:"16" max:"1000000"`
}
