-- +goose Up

SET LOCAL ROLE sigbox_tuf_owner;

-- Every file of the repository that was ever signed. A version of a role is signed once.
CREATE TABLE tuf.tuf_metadata (
    role     text   COLLATE "C" NOT NULL CHECK (role IN ('root', 'targets', 'snapshot', 'timestamp')),
    version  bigint NOT NULL CHECK (version > 0),
    signed_s bigint NOT NULL, -- Unix seconds
    bytes    bytea  NOT NULL,
    PRIMARY KEY (role, version)
);

-- The contents of targets, current and earlier: clients with older metadata still fetch them.
CREATE TABLE tuf.tuf_content (
    name    text  COLLATE "C" NOT NULL,
    sha256  bytea NOT NULL CHECK (octet_length(sha256) = 32),
    content bytea NOT NULL,
    PRIMARY KEY (name, sha256)
);

-- Which contents each version of targets names.
CREATE TABLE tuf.tuf_target (
    version bigint NOT NULL,
    name    text   COLLATE "C" NOT NULL,
    sha256  bytea  NOT NULL,
    PRIMARY KEY (version, name),
    FOREIGN KEY (name, sha256) REFERENCES tuf.tuf_content (name, sha256)
);

-- What each version of targets was composed from.
CREATE TABLE tuf.tuf_record (
    version bigint PRIMARY KEY,
    record  bytea NOT NULL
);

-- The ceremony that signed a root and targets: a request file with its signatures.
CREATE TABLE tuf.tuf_transcript (
    root       bigint NOT NULL,
    targets    bigint NOT NULL,
    transcript bytea  NOT NULL,
    PRIMARY KEY (root, targets)
);

-- Trust statements as they came, taken in or not.
CREATE TABLE tuf.tuf_inbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sha256     bytea  NOT NULL UNIQUE CHECK (octet_length(sha256) = 32),
    sender     text   COLLATE "C" NOT NULL,
    received_s bigint NOT NULL, -- Unix seconds
    envelope   bytea  NOT NULL
);

-- The one row that is updated: the current set, and the lock by which replicas take turns. It is
-- there from the beginning, with zeros, so that there is something to lock.
CREATE TABLE tuf.tuf_current (
    one       integer PRIMARY KEY CHECK (one = 1),
    root      bigint NOT NULL,
    targets   bigint NOT NULL,
    snapshot  bigint NOT NULL,
    timestamp bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO tuf.tuf_current VALUES (1, 0, 0, 0, 0);

-- Append-only means that the database refuses too, whoever asks. A hand that must do it all the
-- same has to drop a trigger first, which only the owner can.

-- +goose StatementBegin
CREATE FUNCTION tuf.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: %', TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'restrict_violation';
END $$;
-- +goose StatementEnd

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON tuf.tuf_metadata
    FOR EACH STATEMENT EXECUTE FUNCTION tuf.refuse('rows are never changed or deleted');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON tuf.tuf_content
    FOR EACH STATEMENT EXECUTE FUNCTION tuf.refuse('rows are never changed or deleted');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON tuf.tuf_target
    FOR EACH STATEMENT EXECUTE FUNCTION tuf.refuse('rows are never changed or deleted');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON tuf.tuf_record
    FOR EACH STATEMENT EXECUTE FUNCTION tuf.refuse('rows are never changed or deleted');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON tuf.tuf_transcript
    FOR EACH STATEMENT EXECUTE FUNCTION tuf.refuse('rows are never changed or deleted');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON tuf.tuf_inbox
    FOR EACH STATEMENT EXECUTE FUNCTION tuf.refuse('rows are never changed or deleted');
CREATE TRIGGER one_row BEFORE INSERT OR DELETE OR TRUNCATE ON tuf.tuf_current
    FOR EACH STATEMENT EXECUTE FUNCTION tuf.refuse('there is one current set');
-- Every set has a timestamp of its own, since clients look no further than one they know.
CREATE TRIGGER forward BEFORE UPDATE ON tuf.tuf_current
    FOR EACH ROW WHEN (NEW.one <> OLD.one OR NEW.root < OLD.root OR NEW.targets < OLD.targets OR NEW.snapshot < OLD.snapshot OR NEW.timestamp <= OLD.timestamp)
    EXECUTE FUNCTION tuf.refuse('a repository only moves forward');

GRANT SELECT ON tuf.tuf_metadata, tuf.tuf_content, tuf.tuf_target, tuf.tuf_record, tuf.tuf_transcript, tuf.tuf_inbox, tuf.tuf_current TO sigbox_tuf_writer, sigbox_tuf_reader;
GRANT INSERT ON tuf.tuf_metadata, tuf.tuf_content, tuf.tuf_target, tuf.tuf_record, tuf.tuf_transcript, tuf.tuf_inbox TO sigbox_tuf_writer;
GRANT UPDATE (root, targets, snapshot, timestamp) ON tuf.tuf_current TO sigbox_tuf_writer;

RESET ROLE;
