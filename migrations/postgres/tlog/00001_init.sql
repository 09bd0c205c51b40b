-- +goose Up

SET LOCAL ROLE sigbox_tlog_owner;

-- One row per log. Several logs live in one database and share no lock.
CREATE TABLE tlog.tlog (
    id         integer  PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name       text     COLLATE "C" NOT NULL UNIQUE,
    origin     text     COLLATE "C" NOT NULL UNIQUE,
    face       text     NOT NULL,
    key_sha256 bytea    NOT NULL CHECK (octet_length(key_sha256) = 32),
    state      text     NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'frozen')),
    created_ms bigint   NOT NULL
);

-- The only row that is ever updated: the head of the log, and the lock of its writers. Pages are
-- left mostly empty, so that an update finds room beside the old version and touches no index.
CREATE TABLE tlog.tlog_head (
    log_id     integer PRIMARY KEY REFERENCES tlog.tlog (id),
    size       bigint  NOT NULL CHECK (size >= 0),
    root       bytea   NOT NULL CHECK (octet_length(root) = 32),
    time_ms    bigint  NOT NULL,
    checkpoint bytea   NOT NULL
) WITH (fillfactor = 10);

-- No foreign keys from here on: each new row would lock and rewrite the row it points at. All rows
-- of an entry are written in one transaction that holds the lock of the head, and fsck checks them.

CREATE TABLE tlog.tlog_leaf (
    log_id    integer NOT NULL,
    idx       bigint  NOT NULL CHECK (idx >= 0),
    time_ms   bigint  NOT NULL,
    identity  bytea   NOT NULL CHECK (octet_length(identity) = 32),
    leaf_hash bytea   NOT NULL CHECK (octet_length(leaf_hash) = 32),
    data      bytea   NOT NULL,
    PRIMARY KEY (log_id, idx)
);
-- The other way to a row, region by region. A region is 65,536 entries: identities are random, so that
-- nearly each new row of a large log would touch, and write to the WAL, another page of an index on
-- them alone; so they go to one small part of it, which stays in memory. That an identity is in no
-- other region is for the writer to find out, under the lock of the head. 23 bytes (184 bits of a
-- SHA-256) tell identities apart as well as 32, in an index that is a quarter smaller.
-- Written so, neither index is of use for a query that is meant for the other one: with a table that is
-- empty when a statement is planned, the planner cannot tell which one would read all of the log.
CREATE UNIQUE INDEX tlog_leaf_identity ON tlog.tlog_leaf ((log_id + 0), ((idx >> 16)::integer), substr(identity, 1, 23));
-- Entries hold keys, certificates and signatures, which hardly compress: do not try under the lock.
ALTER TABLE tlog.tlog_leaf ALTER COLUMN data SET STORAGE EXTERNAL, SET (toast_tuple_target = 4080);

-- Which identities a full region does not hold, so that a writer need not look into each of them. A
-- row is made from the rows of tlog_leaf that it speaks of, after they were committed.
CREATE TABLE tlog.tlog_filter (
    log_id integer NOT NULL,
    region integer NOT NULL CHECK (region >= 0),
    bits   bytea   NOT NULL CHECK (octet_length(bits) = 196608),
    sha256 bytea   NOT NULL CHECK (octet_length(sha256) = 32),
    PRIMARY KEY (log_id, region)
);
ALTER TABLE tlog.tlog_filter ALTER COLUMN bits SET STORAGE EXTERNAL;

-- Full tiles only: a partial tile is cut from leaf rows or from the roots of the level below.
CREATE TABLE tlog.tlog_tile (
    log_id integer  NOT NULL,
    level  smallint NOT NULL CHECK (level >= 0),
    n      bigint   NOT NULL CHECK (n >= 0),
    hashes bytea    NOT NULL CHECK (octet_length(hashes) = 8192),
    root   bytea    NOT NULL CHECK (octet_length(root) = 32),
    PRIMARY KEY (log_id, level, n)
);
ALTER TABLE tlog.tlog_tile ALTER COLUMN hashes SET STORAGE EXTERNAL; -- hashes do not compress

-- Search keys. The index is on a slot, which is the entry's index / 65536 (its region), above 24 bits of
-- the key's SHA-256, above the entry's index in the region: new rows go to one small part of the index,
-- which stays in memory, instead of all over it, and a search looks into one region after the other,
-- from the newest back, where the entries of a key lie in their order. Rows of other keys and logs that
-- are among them are told apart by the key and the log.
CREATE TABLE tlog.tlog_key (
    idx    bigint  NOT NULL,
    slot   bigint  NOT NULL,
    log_id integer NOT NULL,
    key    bytea   NOT NULL
);
CREATE INDEX tlog_key_slot ON tlog.tlog_key (slot);

CREATE TABLE tlog.attestation (
    log_id integer NOT NULL,
    idx    bigint  NOT NULL,
    data   bytea   NOT NULL,
    PRIMARY KEY (log_id, idx)
);

-- Append-only means that the database refuses too, whoever asks. A hand that must do it all the
-- same has to drop a trigger first, which only the owner can.

-- +goose StatementBegin
CREATE FUNCTION tlog.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: %', TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'restrict_violation';
END $$;
-- +goose StatementEnd

CREATE TRIGGER no_delete BEFORE DELETE OR TRUNCATE ON tlog.tlog
    FOR EACH STATEMENT EXECUTE FUNCTION tlog.refuse('a log is never deleted');
CREATE TRIGGER no_update BEFORE UPDATE OF id, name, origin, face, key_sha256, created_ms ON tlog.tlog
    FOR EACH STATEMENT EXECUTE FUNCTION tlog.refuse('a log keeps its name, origin, face and key');
CREATE TRIGGER no_thaw BEFORE UPDATE OF state ON tlog.tlog
    FOR EACH ROW WHEN (NEW.state <> 'frozen') EXECUTE FUNCTION tlog.refuse('a frozen log stays frozen');
CREATE TRIGGER no_delete BEFORE DELETE OR TRUNCATE ON tlog.tlog_head
    FOR EACH STATEMENT EXECUTE FUNCTION tlog.refuse('a log is never deleted');
CREATE TRIGGER forward BEFORE UPDATE ON tlog.tlog_head
    FOR EACH ROW WHEN (NEW.log_id <> OLD.log_id OR NEW.size <= OLD.size OR NEW.time_ms <= OLD.time_ms)
    EXECUTE FUNCTION tlog.refuse('a head only moves forward');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON tlog.tlog_leaf
    FOR EACH STATEMENT EXECUTE FUNCTION tlog.refuse('rows are never changed or deleted');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON tlog.tlog_tile
    FOR EACH STATEMENT EXECUTE FUNCTION tlog.refuse('rows are never changed or deleted');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON tlog.tlog_filter
    FOR EACH STATEMENT EXECUTE FUNCTION tlog.refuse('rows are never changed or deleted');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON tlog.tlog_key
    FOR EACH STATEMENT EXECUTE FUNCTION tlog.refuse('rows are never changed or deleted');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON tlog.attestation
    FOR EACH STATEMENT EXECUTE FUNCTION tlog.refuse('rows are never changed or deleted');

GRANT SELECT ON tlog.tlog, tlog.tlog_head, tlog.tlog_leaf, tlog.tlog_tile, tlog.tlog_filter, tlog.tlog_key, tlog.attestation TO sigbox_tlog_writer, sigbox_tlog_reader;
GRANT INSERT ON tlog.tlog, tlog.tlog_head, tlog.tlog_leaf, tlog.tlog_tile, tlog.tlog_filter, tlog.tlog_key, tlog.attestation TO sigbox_tlog_writer;
GRANT UPDATE (size, root, time_ms, checkpoint) ON tlog.tlog_head TO sigbox_tlog_writer;
GRANT UPDATE (state) ON tlog.tlog TO sigbox_tlog_writer; -- to freeze

RESET ROLE;
