package pgstore

const (
	// A serial number that is taken returns no row. One that a transaction under way has inserted is
	// waited for.
	intendSQL = `INSERT INTO ca.ca_intent (serial, intended_ms, not_before, not_after, issuer, subject, san, spki_sha256, tbs_sha256, rules_sha256, rules) ` +
		`SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::bytea[], $9::bytea[], $10::bytea[], $11::text[]) ` +
		`ON CONFLICT (serial) DO NOTHING RETURNING serial`
	// An outcome without an intent, and a second outcome, return no row.
	settleSQL = `WITH given AS MATERIALIZED (SELECT intent.id, wanted.* ` +
		`FROM unnest($1::bytea[], $2::bigint[], $3::bytea[], $4::bytea[], $5::text[]) AS wanted (serial, settled_ms, precert, certificate, failure), ` +
		`LATERAL (SELECT id FROM ca.ca_intent WHERE serial = wanted.serial LIMIT 1) intent), ` +
		`settled AS (INSERT INTO ca.ca_outcome (id, settled_ms, precert, certificate, failure) ` +
		`SELECT id, settled_ms, precert, certificate, failure FROM given ON CONFLICT (id) DO NOTHING RETURNING id) ` +
		`SELECT given.serial FROM settled JOIN given USING (id)`

	// Which of the rows are there just as they are wanted.
	intendedSQL = `SELECT wanted.serial FROM unnest($1::bytea[], $2::bytea[], $3::bytea[]) AS wanted (serial, spki, tbs), ` +
		`LATERAL (SELECT FROM ca.ca_intent WHERE serial = wanted.serial AND spki_sha256 = wanted.spki AND tbs_sha256 = wanted.tbs LIMIT 1) hit`
	settledSQL = `SELECT wanted.serial FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::text[]) AS wanted (serial, precert, certificate, failure), ` +
		`LATERAL (SELECT FROM ca.ca_intent JOIN ca.ca_outcome o USING (id) WHERE serial = wanted.serial AND o.precert IS NOT DISTINCT FROM wanted.precert ` +
		`AND o.certificate IS NOT DISTINCT FROM wanted.certificate AND o.failure = wanted.failure LIMIT 1) hit`
	// COMMIT waits for the synchronous standby only if its transaction has written something, and
	// then for all that was written before: rows that are found may not have reached it yet.
	writeSQL = `SELECT pg_logical_emit_message(true, 'sigbox', '')`

	timesSQL = `SELECT clock_timestamp(), (SELECT intended_ms FROM ca.ca_intent ORDER BY id DESC LIMIT 1)`

	recordsSQL = `SELECT id, serial, state, intended_ms, settled_ms, not_before, not_after, issuer, subject, san, ` +
		`spki_sha256, tbs_sha256, rules_sha256, rules, precert, certificate, failure FROM ca.ca_issuance WHERE id > $1 ORDER BY id LIMIT $2`
)
