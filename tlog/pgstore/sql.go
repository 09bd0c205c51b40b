package pgstore

const (
	describeSQL = `SELECT id, name, origin, face, key_sha256, created_ms, coalesce(follows, '') FROM tlog.tlog`

	// Two statements, since the first may wait. What a statement reads beside the row that it
	// waited for is as old as the statement; the second one sees what the last holder committed.
	lockSQL  = `SELECT size, root, time_ms, checkpoint FROM tlog.tlog_head WHERE log_id = $1 FOR UPDATE`
	stateSQL = `SELECT state = 'frozen', lost, frozen_why FROM tlog.tlog WHERE id = $1`

	headSQL = `SELECT h.size, h.root, h.time_ms, h.checkpoint, l.state = 'frozen', l.lost, l.frozen_why FROM tlog.tlog_head h JOIN tlog.tlog l ON l.id = h.log_id WHERE h.log_id = $1`
	leafSQL = `SELECT l.idx, l.time_ms, l.identity, l.leaf_hash, l.data, a.data FROM tlog.tlog_leaf l ` +
		`LEFT JOIN tlog.attestation a ON a.log_id = l.log_id AND a.idx = l.idx WHERE l.log_id = $1 AND l.idx = $2`
	leavesSQL     = `SELECT idx, time_ms, identity, leaf_hash, data FROM tlog.tlog_leaf WHERE log_id = $1 AND idx >= $2 AND idx < $3 ORDER BY idx`
	leafHashesSQL = `SELECT leaf_hash FROM tlog.tlog_leaf WHERE log_id = $1 AND idx >= $2 AND idx < $3 ORDER BY idx`
	tileSQL       = `SELECT hashes, root FROM tlog.tlog_tile WHERE log_id = $1 AND level = $2 AND n = $3`
	tileRootsSQL  = `SELECT root FROM tlog.tlog_tile WHERE log_id = $1 AND level = $2 AND n >= $3 AND n < $4 ORDER BY n`

	// One look into the index for each identity and region: a join would leave the planner other ways,
	// which are good for small tables. Given are the regions which may hold an identity ($2, $3), and
	// identities that may be in any region from one on ($4, $5). log_id + 0 and the rest are how the
	// index on identities knows them.
	findSQL = `SELECT wanted.identity, hit.idx, hit.time_ms FROM (` +
		`SELECT identity, region FROM unnest($2::bytea[], $3::integer[]) AS one (identity, region) UNION ALL ` +
		`SELECT identity, region FROM unnest($4::bytea[]) AS each (identity), generate_series($5::integer, (SELECT (size >> 16)::integer FROM tlog.tlog_head WHERE log_id = $1)) AS region` +
		`) AS wanted, LATERAL (SELECT idx, time_ms FROM tlog.tlog_leaf WHERE log_id + 0 = $1 AND (idx >> 16)::integer = wanted.region ` +
		`AND substr(identity, 1, 23) = substr(wanted.identity, 1, 23) AND identity = wanted.identity LIMIT 1) hit`
	// The same look for leaves ($2 to $4), each in its own region. It returns those that it does not find.
	unfoundSQL = `SELECT leaf.idx FROM unnest($2::bigint[], $3::bigint[], $4::bytea[]) AS leaf (idx, time_ms, identity) LEFT JOIN ` +
		`LATERAL (SELECT idx, time_ms FROM tlog.tlog_leaf WHERE log_id + 0 = $1 AND (idx >> 16)::integer = (leaf.idx >> 16)::integer ` +
		`AND substr(identity, 1, 23) = substr(leaf.identity, 1, 23) AND identity = leaf.identity LIMIT 1) hit ON true ` +
		`WHERE hit.idx IS DISTINCT FROM leaf.idx OR hit.time_ms IS DISTINCT FROM leaf.time_ms`
	identitiesSQL = `SELECT identity FROM tlog.tlog_leaf WHERE log_id = $1 AND idx >= $2 AND idx < $3`
	filterSQL     = `SELECT identities, keys, sha256 FROM tlog.tlog_filter WHERE log_id = $1 AND region = $2`
	keysOfSQL     = `SELECT key FROM tlog.tlog_key WHERE slot >= $2 AND slot < $3 AND log_id = $1`
	// The rows of a key in a region are a range of the index, from the newest back: see the table
	// tlog_key. A look for a common key ends where there is enough.
	searchAnySQL = `SELECT DISTINCT hit.idx FROM unnest($2::bytea[], $3::bigint[]) AS wanted (key, hash), unnest($4::bigint[]) AS region, ` +
		`LATERAL (SELECT idx FROM tlog.tlog_key WHERE slot >= (region << 40) + wanted.hash AND slot <= (region << 40) + wanted.hash + 65535 ` +
		`AND log_id = $1 AND key = wanted.key AND idx < $5 ORDER BY slot DESC LIMIT $6) hit ` +
		`ORDER BY hit.idx DESC LIMIT $6`
	// An entry that has one of the keys is looked up by each of the others.
	searchAllSQL = `SELECT hit.idx FROM unnest($4::bigint[]) AS region, ` +
		`LATERAL (SELECT idx FROM tlog.tlog_key WHERE slot >= (region << 40) + $8::bigint AND slot <= (region << 40) + $8::bigint + 65535 ` +
		`AND log_id = $1 AND key = $7 AND idx < $5 AND ` + hasAll + ` ORDER BY slot DESC LIMIT $6) hit ORDER BY hit.idx DESC LIMIT $6`
	searchTheseSQL = `SELECT tlog_key.idx FROM unnest($4::bigint[]) AS tlog_key (idx) WHERE ` + hasAll + ` ORDER BY tlog_key.idx DESC`
	hasAll         = `(SELECT count(*) FROM unnest($2::bytea[], $3::bigint[]) AS other (key, hash), ` +
		`LATERAL (SELECT FROM tlog.tlog_key k WHERE k.slot = (tlog_key.idx >> 16 << 40) + other.hash + (tlog_key.idx & 65535) ` +
		`AND k.log_id = $1 AND k.key = other.key AND k.idx = tlog_key.idx LIMIT 1) hit) = cardinality($2::bytea[])`
	leavesAtSQL = `SELECT l.idx, l.time_ms, l.identity, l.leaf_hash, l.data FROM unnest($2::bigint[]) AS wanted (idx), ` +
		`LATERAL (SELECT idx, time_ms, identity, leaf_hash, data FROM tlog.tlog_leaf WHERE log_id = $1 AND idx = wanted.idx LIMIT 1) l ORDER BY l.idx`
	// Reading keys lasts as long as what is done with them. All of a region's are found through the index
	// (a bitmap of them), and then read in the order in which they lie in the table.
	keysSettingsSQL = `SELECT set_config('statement_timeout', '0', true), set_config('enable_indexscan', 'off', true)`
	keysSQL         = `SELECT idx, slot, key FROM tlog.tlog_key WHERE slot >= $2 AND slot < $3 AND log_id = $1 AND idx >= $4 AND idx < $5`
	attestsSQL      = `SELECT idx, data FROM tlog.attestation WHERE log_id = $1 AND idx >= $2 AND idx < $3`

	// A name, an origin or a place that is taken returns no row.
	insertLogSQL    = `INSERT INTO tlog.tlog (name, origin, face, key_sha256, created_ms, follows) VALUES ($1, $2, $3, $4, $5, nullif($6, '')) ON CONFLICT DO NOTHING RETURNING id`
	insertHeadSQL   = `INSERT INTO tlog.tlog_head (log_id, size, root, time_ms, checkpoint) VALUES ($1, $2, $3, $4, $5)`
	copyLeavesSQL   = `COPY tlog.tlog_leaf (log_id, idx, time_ms, identity, leaf_hash, data) FROM STDIN (FORMAT binary)`
	copyKeysSQL     = `COPY tlog.tlog_key (log_id, idx, slot, key) FROM STDIN (FORMAT binary)`
	copyAttestSQL   = `COPY tlog.attestation (log_id, idx, data) FROM STDIN (FORMAT binary)`
	insertLeavesSQL = `INSERT INTO tlog.tlog_leaf (log_id, idx, time_ms, identity, leaf_hash, data) SELECT $1, leaf.* FROM unnest($2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[]) AS leaf`
	insertTileSQL   = `INSERT INTO tlog.tlog_tile (log_id, level, n, hashes, root) VALUES ($1, $2, $3, $4, $5)`
	insertFilterSQL = `INSERT INTO tlog.tlog_filter (log_id, region, identities, keys, sha256) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`
	insertKeysSQL   = `INSERT INTO tlog.tlog_key (log_id, idx, slot, key) SELECT $1, key.* FROM unnest($2::bigint[], $3::bigint[], $4::bytea[]) AS key`
	insertAttestSQL = `INSERT INTO tlog.attestation (log_id, idx, data) SELECT $1, attestation.* FROM unnest($2::bigint[], $3::bytea[]) AS attestation`
	// The division fails where no row was moved: COMMIT follows without a look at the result.
	moveHeadSQL = `WITH moved AS (UPDATE tlog.tlog_head SET size = $3, root = $4, time_ms = $5, checkpoint = $6 ` +
		`WHERE log_id = $1 AND size = $2 RETURNING 1) SELECT 1 / count(*) FROM moved`
	freezeSQL  = `UPDATE tlog.tlog SET state = 'frozen', lost = $2, frozen_why = $3 WHERE id = $1`
	setNoteSQL = `UPDATE tlog.tlog_head SET checkpoint = $2 WHERE log_id = $1`
)
