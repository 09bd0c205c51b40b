-- +goose Up

-- One row for every serial number that the authority's key may have signed. A row is written
-- before the key is used and settled once, after. state: intended, precertified, issued.
-- Times are Unix milliseconds, the validity Unix seconds.
CREATE TABLE ca_issuance (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    serial       BLOB    NOT NULL UNIQUE CHECK (length(serial) = 20),
    state        TEXT    NOT NULL CHECK (state IN ('intended', 'precertified', 'issued')),
    intended_ms  INTEGER NOT NULL,
    settled_ms   INTEGER,
    not_before   INTEGER NOT NULL,
    not_after    INTEGER NOT NULL,
    issuer       TEXT    NOT NULL,
    subject      TEXT    NOT NULL,
    san          TEXT    NOT NULL,
    spki_sha256  BLOB    NOT NULL CHECK (length(spki_sha256) = 32),
    tbs_sha256   BLOB    NOT NULL CHECK (length(tbs_sha256) = 32),
    precert      BLOB,
    certificate  BLOB,
    failure      TEXT    NOT NULL DEFAULT '',
    CHECK ((state = 'issued') = (certificate IS NOT NULL)),
    CHECK ((state = 'intended') = (precert IS NULL))
) STRICT;
