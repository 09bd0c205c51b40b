-- +goose Up

-- Entries that were lost and given up with a log that was frozen for that, and the whole story.
ALTER TABLE tlog ADD COLUMN lost INTEGER NOT NULL DEFAULT 0 CHECK (lost >= 0);
ALTER TABLE tlog ADD COLUMN frozen_why TEXT NOT NULL DEFAULT '';

-- +goose StatementBegin
CREATE TRIGGER tlog_no_other_reason BEFORE UPDATE OF lost, frozen_why ON tlog WHEN OLD.state = 'frozen'
BEGIN SELECT RAISE(ABORT, 'tlog: a frozen log keeps its reason'); END;
-- +goose StatementEnd

-- The last checkpoint of a log says that it is frozen: the same head, signed once more.
DROP TRIGGER tlog_head_forward;
-- +goose StatementBegin
CREATE TRIGGER tlog_head_forward BEFORE UPDATE ON tlog_head
WHEN NEW.log_id <> OLD.log_id
  OR (NEW.size <= OLD.size OR NEW.time_ms <= OLD.time_ms) AND (NEW.size <> OLD.size OR NEW.root <> OLD.root OR NEW.time_ms <> OLD.time_ms)
BEGIN SELECT RAISE(ABORT, 'tlog_head: a head only moves forward'); END;
-- +goose StatementEnd
