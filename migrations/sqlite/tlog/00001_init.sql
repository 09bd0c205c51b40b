-- +goose Up

-- One row per log. Several logs live in one file and share nothing else.
CREATE TABLE tlog (
    id         INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE,
    origin     TEXT    NOT NULL UNIQUE,
    face       TEXT    NOT NULL,
    key_sha256 BLOB    NOT NULL CHECK (length(key_sha256) = 32),
    state      TEXT    NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'frozen')),
    created_ms INTEGER NOT NULL
) STRICT;

-- The only row that is ever updated: the head of the log, and the lock of its writers.
CREATE TABLE tlog_head (
    log_id     INTEGER PRIMARY KEY REFERENCES tlog (id),
    size       INTEGER NOT NULL CHECK (size >= 0),
    root       BLOB    NOT NULL CHECK (length(root) = 32),
    time_ms    INTEGER NOT NULL,
    checkpoint BLOB    NOT NULL
) STRICT;

CREATE TABLE tlog_leaf (
    log_id    INTEGER NOT NULL REFERENCES tlog (id),
    idx       INTEGER NOT NULL CHECK (idx >= 0),
    identity  BLOB    NOT NULL CHECK (length(identity) = 32),
    leaf_hash BLOB    NOT NULL CHECK (length(leaf_hash) = 32),
    time_ms   INTEGER NOT NULL,
    data      BLOB    NOT NULL,
    PRIMARY KEY (log_id, idx),
    UNIQUE (log_id, identity)
) STRICT;

-- Full tiles only: a partial tile is cut from leaf rows or from the roots of the level below.
CREATE TABLE tlog_tile (
    log_id INTEGER NOT NULL REFERENCES tlog (id),
    level  INTEGER NOT NULL CHECK (level >= 0),
    n      INTEGER NOT NULL CHECK (n >= 0),
    hashes BLOB    NOT NULL CHECK (length(hashes) = 8192),
    root   BLOB    NOT NULL CHECK (length(root) = 32),
    PRIMARY KEY (log_id, level, n)
) STRICT;

-- Search keys. The foreign key sees to it that none points at a leaf that is not there.
CREATE TABLE tlog_key (
    log_id INTEGER NOT NULL,
    key    BLOB    NOT NULL,
    idx    INTEGER NOT NULL,
    PRIMARY KEY (log_id, key, idx),
    FOREIGN KEY (log_id, idx) REFERENCES tlog_leaf (log_id, idx)
) STRICT, WITHOUT ROWID;

CREATE INDEX tlog_key_idx ON tlog_key (log_id, idx); -- for fsck

CREATE TABLE attestation (
    log_id INTEGER NOT NULL,
    idx    INTEGER NOT NULL,
    data   BLOB    NOT NULL,
    PRIMARY KEY (log_id, idx),
    FOREIGN KEY (log_id, idx) REFERENCES tlog_leaf (log_id, idx)
) STRICT;

-- Append-only means that the database refuses too, whoever asks.

-- +goose StatementBegin
CREATE TRIGGER tlog_no_delete BEFORE DELETE ON tlog
BEGIN SELECT RAISE(ABORT, 'tlog: a log is never deleted'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tlog_no_update BEFORE UPDATE OF id, name, origin, face, key_sha256, created_ms ON tlog
BEGIN SELECT RAISE(ABORT, 'tlog: a log keeps its name, origin, face and key'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tlog_head_no_delete BEFORE DELETE ON tlog_head
BEGIN SELECT RAISE(ABORT, 'tlog_head: a log is never deleted'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tlog_head_forward BEFORE UPDATE ON tlog_head
WHEN NEW.log_id <> OLD.log_id OR NEW.size <= OLD.size OR NEW.time_ms <= OLD.time_ms
BEGIN SELECT RAISE(ABORT, 'tlog_head: a head only moves forward'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tlog_leaf_no_update BEFORE UPDATE ON tlog_leaf
BEGIN SELECT RAISE(ABORT, 'tlog_leaf is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tlog_leaf_no_delete BEFORE DELETE ON tlog_leaf
BEGIN SELECT RAISE(ABORT, 'tlog_leaf is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tlog_tile_no_update BEFORE UPDATE ON tlog_tile
BEGIN SELECT RAISE(ABORT, 'tlog_tile is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tlog_tile_no_delete BEFORE DELETE ON tlog_tile
BEGIN SELECT RAISE(ABORT, 'tlog_tile is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tlog_key_no_update BEFORE UPDATE ON tlog_key
BEGIN SELECT RAISE(ABORT, 'tlog_key is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tlog_key_no_delete BEFORE DELETE ON tlog_key
BEGIN SELECT RAISE(ABORT, 'tlog_key is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER attestation_no_update BEFORE UPDATE ON attestation
BEGIN SELECT RAISE(ABORT, 'attestation is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER attestation_no_delete BEFORE DELETE ON attestation
BEGIN SELECT RAISE(ABORT, 'attestation is append-only'); END;
-- +goose StatementEnd
