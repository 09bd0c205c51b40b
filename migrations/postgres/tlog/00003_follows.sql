-- +goose Up

SET LOCAL ROLE sigbox_tlog_owner;

-- The log that goes on for another one once that is frozen: the next shard of the same API. A log has
-- one successor, so that two operators who rotate it at a time cannot both.
ALTER TABLE tlog.tlog ADD COLUMN follows text COLLATE "C" UNIQUE REFERENCES tlog.tlog (name) CHECK (follows <> name);

CREATE TRIGGER no_other_place BEFORE UPDATE OF follows ON tlog.tlog
    FOR EACH STATEMENT EXECUTE FUNCTION tlog.refuse('a log keeps its place among the shards');

RESET ROLE;
