-- +goose Up

SET LOCAL ROLE sigbox_ca_owner;

-- What let the token through: the SHA-256 of the rules on who may sign of its issuer, and their names, one
-- a line. NULL and '' where the issuer has none, and in rows of a sigbox that knew no such columns. Not
-- validated: that would read the whole table while nobody can write.
ALTER TABLE ca.ca_intent
    ADD COLUMN rules_sha256 bytea,
    ADD COLUMN rules text NOT NULL DEFAULT '',
    ADD CONSTRAINT ca_intent_rules CHECK (CASE WHEN rules = '' THEN rules_sha256 IS NULL
        ELSE rules_sha256 IS NOT NULL AND octet_length(rules_sha256) = 32 END) NOT VALID;

CREATE OR REPLACE VIEW ca.ca_issuance AS
    SELECT id, serial,
        CASE WHEN certificate IS NOT NULL THEN 'issued' WHEN precert IS NOT NULL THEN 'precertified' ELSE 'intended' END AS state,
        intended_ms, settled_ms, not_before, not_after, issuer, subject, san, spki_sha256, tbs_sha256, precert, certificate,
        coalesce(failure, '') AS failure, rules_sha256, rules
    FROM ca.ca_intent LEFT JOIN ca.ca_outcome USING (id);

RESET ROLE;
