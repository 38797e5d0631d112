-- Fewer index entries for each webhook. While a call is live, each webhook changes its status and `updated_at`: an index
-- with one of them was written each time, and on PostgreSQL every other index of the table with it. The indexes of the lists
-- have only what is over, which is written once; what is live is few, and has one small index.

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

ALTER TABLE calls ADD COLUMN ended_updated_at TIMESTAMPTZ GENERATED ALWAYS AS (CASE WHEN status = 'ended' THEN updated_at END) STORED;
-- One that became a part of another is over as well.
ALTER TABLE interactions ADD COLUMN ended_updated_at TIMESTAMPTZ GENERATED ALWAYS AS (CASE WHEN status = 'ended' OR merged_into IS NOT NULL THEN updated_at END) STORED;

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

-- Room in each page for the versions of a live call, which then need no entry in any index.
ALTER TABLE calls SET (fillfactor = 50);
ALTER TABLE interactions SET (fillfactor = 50);
ALTER TABLE event_feeds SET (fillfactor = 20);
