-- The column by which indexes know what is over was generated. SQLite computes such a column anew for each index that has it
-- in its condition, before and after each change: half of the time that a change of a live call took. The server writes it
-- now, and only when a call ends.

DROP INDEX calls_updated;
DROP INDEX calls_live;
DROP INDEX calls_ended_from;
DROP INDEX calls_ended_to;
DROP INDEX calls_ended_of_user;
DROP INDEX calls_ended_outcome;
DROP INDEX calls_ended;
DROP INDEX interactions_updated;
DROP INDEX interactions_live;
DROP INDEX interactions_by_outcome;
DROP INDEX interactions_by_direction;
DROP INDEX interactions_by_number;

ALTER TABLE calls DROP COLUMN ended_updated_at;
ALTER TABLE calls ADD COLUMN ended_updated_at TEXT;
UPDATE calls SET ended_updated_at = updated_at WHERE status = 'ended';
ALTER TABLE interactions DROP COLUMN ended_updated_at;
ALTER TABLE interactions ADD COLUMN ended_updated_at TEXT;
UPDATE interactions SET ended_updated_at = updated_at WHERE status = 'ended' OR merged_into IS NOT NULL;

CREATE INDEX calls_updated ON calls (app_id, ended_updated_at, id) WHERE ended_updated_at IS NOT NULL;
CREATE INDEX calls_live ON calls (app_id, id) WHERE ended_updated_at IS NULL;
CREATE INDEX calls_ended_from ON calls (app_id, COALESCE(from_e164, from_number), direction, created_at, id)
    WHERE ended_updated_at IS NOT NULL;
CREATE INDEX calls_ended_to ON calls (app_id, COALESCE(to_e164, to_number), direction, created_at, id)
    WHERE ended_updated_at IS NOT NULL;
CREATE INDEX calls_ended_of_user ON calls (app_id, dialpad_user_id, direction, created_at, id)
    WHERE ended_updated_at IS NOT NULL;
CREATE INDEX calls_ended_outcome ON calls (app_id, outcome, direction, created_at, id)
    WHERE ended_updated_at IS NOT NULL;
CREATE INDEX calls_ended ON calls (app_id, direction, created_at, id) WHERE ended_updated_at IS NOT NULL;

CREATE INDEX interactions_updated ON interactions (app_id, ended_updated_at, id) WHERE ended_updated_at IS NOT NULL;
CREATE INDEX interactions_live ON interactions (app_id, id) WHERE ended_updated_at IS NULL;
CREATE INDEX interactions_by_outcome ON interactions (app_id, outcome, id) WHERE ended_updated_at IS NOT NULL;
CREATE INDEX interactions_by_direction ON interactions (app_id, direction, id) WHERE ended_updated_at IS NOT NULL;
CREATE INDEX interactions_by_number ON interactions (app_id, COALESCE(external_e164, external_number), id)
    WHERE ended_updated_at IS NOT NULL;
