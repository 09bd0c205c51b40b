-- +goose Up

SET LOCAL ROLE sigbox_ca_owner;

-- One row for every serial number that the authority's key may have signed, written before the key
-- is used. What came of it is a row of another table, so that nothing is ever updated.
-- Times are Unix milliseconds, the validity Unix seconds.
CREATE TABLE ca.ca_intent (
    id          bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    serial      bytea  NOT NULL UNIQUE CHECK (octet_length(serial) = 20),
    intended_ms bigint NOT NULL,
    not_before  bigint NOT NULL,
    not_after   bigint NOT NULL,
    issuer      text   NOT NULL,
    subject     text   NOT NULL,
    san         text   NOT NULL,
    spki_sha256 bytea  NOT NULL CHECK (octet_length(spki_sha256) = 32),
    tbs_sha256  bytea  NOT NULL CHECK (octet_length(tbs_sha256) = 32)
);

-- What came of an intent, once. id is the intent's. No foreign key: each new row would lock and
-- rewrite the intent; the one statement that inserts here takes id from there.
CREATE TABLE ca.ca_outcome (
    id          bigint PRIMARY KEY,
    settled_ms  bigint NOT NULL,
    precert     bytea,
    certificate bytea,
    failure     text   NOT NULL,
    CHECK (certificate IS NULL OR precert IS NOT NULL)
);
-- Certificates hold keys and signatures, which hardly compress, and rows that are read as a whole.
ALTER TABLE ca.ca_outcome ALTER COLUMN precert SET STORAGE EXTERNAL, ALTER COLUMN certificate SET STORAGE EXTERNAL,
    SET (toast_tuple_target = 4080);

-- An issuance as operators look at it.
CREATE VIEW ca.ca_issuance AS
    SELECT id, serial,
        CASE WHEN certificate IS NOT NULL THEN 'issued' WHEN precert IS NOT NULL THEN 'precertified' ELSE 'intended' END AS state,
        intended_ms, settled_ms, not_before, not_after, issuer, subject, san, spki_sha256, tbs_sha256, precert, certificate,
        coalesce(failure, '') AS failure
    FROM ca.ca_intent LEFT JOIN ca.ca_outcome USING (id);

-- Append-only means that the database refuses too, whoever asks. A hand that must do it all the
-- same has to drop a trigger first, which only the owner can.

-- +goose StatementBegin
CREATE FUNCTION ca.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: %', TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'restrict_violation';
END $$;
-- +goose StatementEnd

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ca.ca_intent
    FOR EACH STATEMENT EXECUTE FUNCTION ca.refuse('rows are never changed or deleted');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ca.ca_outcome
    FOR EACH STATEMENT EXECUTE FUNCTION ca.refuse('rows are never changed or deleted');

GRANT SELECT ON ca.ca_intent, ca.ca_outcome, ca.ca_issuance TO sigbox_ca_writer, sigbox_ca_reader;
GRANT INSERT ON ca.ca_intent, ca.ca_outcome TO sigbox_ca_writer;

RESET ROLE;
