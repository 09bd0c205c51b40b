-- +goose Up

-- What let the token through: the SHA-256 of the rules on who may sign of its issuer, and their names, one
-- a line. NULL and '' where the issuer has none, and in rows that are older than these columns.
ALTER TABLE ca_issuance ADD COLUMN rules_sha256 BLOB CHECK (length(rules_sha256) = 32);
ALTER TABLE ca_issuance ADD COLUMN rules TEXT NOT NULL DEFAULT '' CHECK ((rules = '') = (rules_sha256 IS NULL));
