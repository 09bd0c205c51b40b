-- +goose Up

SET LOCAL ROLE sigbox_tlog_owner;

-- Entries that were lost and given up with a log that was frozen for that, and the whole story.
ALTER TABLE tlog.tlog
    ADD COLUMN lost bigint NOT NULL DEFAULT 0 CHECK (lost >= 0),
    ADD COLUMN frozen_why text NOT NULL DEFAULT '';

CREATE TRIGGER no_other_reason BEFORE UPDATE OF lost, frozen_why ON tlog.tlog
    FOR EACH ROW WHEN (OLD.state = 'frozen') EXECUTE FUNCTION tlog.refuse('a frozen log keeps its reason');

-- The last checkpoint of a log says that it is frozen: the same head, signed once more.
DROP TRIGGER forward ON tlog.tlog_head;
CREATE TRIGGER forward BEFORE UPDATE ON tlog.tlog_head
    FOR EACH ROW WHEN (NEW.log_id <> OLD.log_id
        OR (NEW.size <= OLD.size OR NEW.time_ms <= OLD.time_ms) AND (NEW.size <> OLD.size OR NEW.root <> OLD.root OR NEW.time_ms <> OLD.time_ms))
    EXECUTE FUNCTION tlog.refuse('a head only moves forward');

GRANT UPDATE (lost, frozen_why) ON tlog.tlog TO sigbox_tlog_writer;

RESET ROLE;
