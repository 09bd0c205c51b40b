package pgstore

const (
	// Whoever waits for the lock reads in statements of its own what the last holder has committed.
	lockSQL     = versionsSQL + ` FOR UPDATE`
	versionsSQL = `SELECT root, targets, snapshot, timestamp FROM tuf.tuf_current WHERE one = 1`

	currentSQL = `SELECT role, version, signed_s, bytes FROM tuf.tuf_current c JOIN tuf.tuf_metadata m ON m.role = 'root' AND m.version <= c.root ` +
		`UNION ALL SELECT role, version, signed_s, bytes FROM tuf.tuf_current c JOIN tuf.tuf_metadata m ON m.role = 'targets' AND m.version = c.targets ` +
		`UNION ALL SELECT role, version, signed_s, bytes FROM tuf.tuf_current c JOIN tuf.tuf_metadata m ON m.role = 'snapshot' AND m.version = c.snapshot ` +
		`UNION ALL SELECT role, version, signed_s, bytes FROM tuf.tuf_current c JOIN tuf.tuf_metadata m ON m.role = 'timestamp' AND m.version = c.timestamp ` +
		`ORDER BY role, version`
	contentsSQL = `SELECT b.name, b.content FROM tuf.tuf_current c JOIN tuf.tuf_target t ON t.version = c.targets JOIN tuf.tuf_content b USING (name, sha256) ORDER BY b.name`
	oldSQL      = `SELECT role, version, signed_s, bytes FROM tuf.tuf_current c JOIN tuf.tuf_metadata m ON m.role = 'targets' AND m.version < c.targets ` +
		`UNION ALL SELECT role, version, signed_s, bytes FROM tuf.tuf_current c JOIN tuf.tuf_metadata m ON m.role = 'snapshot' AND m.version < c.snapshot ` +
		`ORDER BY role DESC, version`
	recordSQL     = `SELECT r.record FROM tuf.tuf_current c JOIN tuf.tuf_record r ON r.version = c.targets`
	transcriptSQL = `SELECT t.transcript FROM tuf.tuf_current c JOIN tuf.tuf_transcript t ON t.root = c.root AND t.targets = c.targets`

	blobsSQL = `SELECT name, content FROM tuf.tuf_content ORDER BY name, sha256`
	wroteSQL = `SELECT EXISTS (SELECT FROM tuf.tuf_metadata WHERE role = 'timestamp' AND version = $1 AND bytes = $2)`

	insertContentSQL    = `INSERT INTO tuf.tuf_content (name, sha256, content) SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[]) ON CONFLICT DO NOTHING`
	insertTargetSQL     = `INSERT INTO tuf.tuf_target (version, name, sha256) SELECT $1, * FROM unnest($2::text[], $3::bytea[]) ON CONFLICT DO NOTHING`
	insertMetadataSQL   = `INSERT INTO tuf.tuf_metadata (role, version, signed_s, bytes) SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[]) ON CONFLICT DO NOTHING`
	insertRecordSQL     = `INSERT INTO tuf.tuf_record (version, record) VALUES ($1, $2) ON CONFLICT DO NOTHING`
	insertTranscriptSQL = `INSERT INTO tuf.tuf_transcript (root, targets, transcript) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`
	// What the set has or lacks, where the other thing is stored.
	otherRecordSQL     = `SELECT FROM tuf.tuf_record WHERE version = $1 AND record IS DISTINCT FROM $2`
	otherTranscriptSQL = `SELECT FROM tuf.tuf_transcript WHERE root = $1 AND targets = $2 AND transcript IS DISTINCT FROM $3`

	receiveSQL  = `INSERT INTO tuf.tuf_inbox (sha256, sender, received_s, envelope) VALUES ($1, $2, $3, $4) ON CONFLICT (sha256) DO NOTHING RETURNING id`
	messagesSQL = `SELECT sender, received_s, envelope FROM tuf.tuf_inbox ORDER BY id`

	// What of it is stored with other bytes.
	otherSQL = `SELECT m.role, m.version FROM unnest($1::text[], $2::bigint[], $3::bytea[]) AS wanted (role, version, bytes) ` +
		`JOIN tuf.tuf_metadata m ON m.role = wanted.role AND m.version = wanted.version WHERE m.bytes <> wanted.bytes`
	// The division fails where no row was moved: COMMIT follows without a look at the result.
	moveSQL = `WITH moved AS (UPDATE tuf.tuf_current SET root = $1, targets = $2, snapshot = $3, timestamp = $4 ` +
		`WHERE one = 1 AND timestamp = $5 RETURNING 1) SELECT 1 / count(*) FROM moved`
)
