-- +goose Up

-- The log that goes on for another one once that is frozen: the next shard of the same API. A log has
-- one successor.
ALTER TABLE tlog ADD COLUMN follows TEXT REFERENCES tlog (name) CHECK (follows <> name);
CREATE UNIQUE INDEX tlog_follows ON tlog (follows);

-- +goose StatementBegin
CREATE TRIGGER tlog_no_other_place BEFORE UPDATE OF follows ON tlog
BEGIN SELECT RAISE(ABORT, 'tlog: a log keeps its place among the shards'); END;
-- +goose StatementEnd
