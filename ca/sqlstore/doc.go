// Package sqlstore keeps the certificate authority's issuance records in the embedded database.
//
// Every method commits one transaction, durable when it returns. Rows are inserted before the key
// signs, settled once, and never deleted. It holds no key and decides nothing. The schema is
// migrations/sqlite/ca.
package sqlstore
