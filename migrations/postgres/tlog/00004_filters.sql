-- +goose Up

SET LOCAL ROLE sigbox_tlog_owner;

-- Filters of another kind, and of search keys too: which identities and which search keys a full region
-- does not hold, as package internal/fuse encodes them. Rows are made from those of tlog_leaf and
-- tlog_key that they speak of, after these were committed; the old ones told less, and whoever writes
-- next makes them anew. keys is null where a region has too many keys for a filter to be worth its memory.
DROP TABLE tlog.tlog_filter;
CREATE TABLE tlog.tlog_filter (
    log_id     integer NOT NULL,
    region     integer NOT NULL CHECK (region >= 0),
    identities bytea   NOT NULL CHECK (octet_length(identities) = 155672),
    keys       bytea,
    sha256     bytea   NOT NULL CHECK (octet_length(sha256) = 32), -- of log, region (8 bytes each) and both, one after the other
    PRIMARY KEY (log_id, region)
);
ALTER TABLE tlog.tlog_filter ALTER COLUMN identities SET STORAGE EXTERNAL, ALTER COLUMN keys SET STORAGE EXTERNAL;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON tlog.tlog_filter
    FOR EACH STATEMENT EXECUTE FUNCTION tlog.refuse('rows are never changed or deleted');

GRANT SELECT ON tlog.tlog_filter TO sigbox_tlog_writer, sigbox_tlog_reader;
GRANT INSERT ON tlog.tlog_filter TO sigbox_tlog_writer;

RESET ROLE;
