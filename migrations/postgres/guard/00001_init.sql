-- +goose Up

SET LOCAL ROLE sigbox_guard_owner;

-- What is remembered of each log, in a database that is not the log's. It only moves forward.
CREATE TABLE guard.guard_mark (
    origin     text   COLLATE "C" PRIMARY KEY,
    size       bigint NOT NULL CHECK (size >= 0),
    root       bytea  NOT NULL CHECK (octet_length(root) = 32),
    checkpoint bytea  NOT NULL
) WITH (fillfactor = 10);

-- +goose StatementBegin
CREATE FUNCTION guard.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: %', TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'restrict_violation';
END $$;
-- +goose StatementEnd

CREATE TRIGGER no_delete BEFORE DELETE OR TRUNCATE ON guard.guard_mark
    FOR EACH STATEMENT EXECUTE FUNCTION guard.refuse('a guard never forgets');
CREATE TRIGGER forward BEFORE UPDATE ON guard.guard_mark
    FOR EACH ROW WHEN (NEW.origin <> OLD.origin OR NEW.size <= OLD.size)
    EXECUTE FUNCTION guard.refuse('a guard only moves forward');

GRANT SELECT ON guard.guard_mark TO sigbox_guard_writer, sigbox_guard_reader;
GRANT INSERT ON guard.guard_mark TO sigbox_guard_writer;
GRANT UPDATE (size, root, checkpoint) ON guard.guard_mark TO sigbox_guard_writer;

RESET ROLE;
