-- +goose Up

-- Every file of the repository that was ever signed. A version of a role is signed once.
CREATE TABLE tuf_metadata (
    role      TEXT    NOT NULL CHECK (role IN ('root', 'targets', 'snapshot', 'timestamp')),
    version   INTEGER NOT NULL CHECK (version > 0),
    signed_s  INTEGER NOT NULL, -- Unix seconds
    bytes     BLOB    NOT NULL,
    PRIMARY KEY (role, version)
) STRICT, WITHOUT ROWID;

-- The contents of targets, current and earlier: clients with older metadata still fetch them.
CREATE TABLE tuf_content (
    name    TEXT NOT NULL,
    sha256  BLOB NOT NULL CHECK (length(sha256) = 32),
    content BLOB NOT NULL,
    PRIMARY KEY (name, sha256)
) STRICT, WITHOUT ROWID;

-- Which contents each version of targets names.
CREATE TABLE tuf_target (
    version INTEGER NOT NULL,
    name    TEXT    NOT NULL,
    sha256  BLOB    NOT NULL,
    PRIMARY KEY (version, name),
    FOREIGN KEY (name, sha256) REFERENCES tuf_content (name, sha256)
) STRICT, WITHOUT ROWID;

-- What each version of targets was composed from.
CREATE TABLE tuf_record (
    version INTEGER PRIMARY KEY,
    record  BLOB NOT NULL
) STRICT;

-- The ceremony that signed a root and targets: a request file with its signatures.
CREATE TABLE tuf_transcript (
    root       INTEGER NOT NULL,
    targets    INTEGER NOT NULL,
    transcript BLOB    NOT NULL,
    PRIMARY KEY (root, targets)
) STRICT, WITHOUT ROWID;

-- Trust statements as they came, taken in or not.
CREATE TABLE tuf_inbox (
    id         INTEGER PRIMARY KEY,
    sha256     BLOB    NOT NULL UNIQUE CHECK (length(sha256) = 32),
    sender     TEXT    NOT NULL,
    received_s INTEGER NOT NULL, -- Unix seconds
    envelope   BLOB    NOT NULL
) STRICT;

-- The one row that is updated: the current set.
CREATE TABLE tuf_current (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    root      INTEGER NOT NULL,
    targets   INTEGER NOT NULL,
    snapshot  INTEGER NOT NULL,
    timestamp INTEGER NOT NULL
) STRICT;
