-- Legs that name nothing of each other are linked: a leg that was sent on waits for one of the user or group who did it,
-- a merged leg for another one of its user, that was up at an instant.

ALTER TABLE calls ADD COLUMN link_target INTEGER;
ALTER TABLE calls ADD COLUMN link_at TEXT;
CREATE INDEX calls_waiting ON calls (app_id, link_target, link_at) WHERE link_target IS NOT NULL;
CREATE INDEX calls_of_target ON calls (app_id, target_id, ended_at) WHERE target_id IS NOT NULL;

-- Interactions: human calls as a whole, derived from their legs. The busy tables have no foreign keys.

CREATE TABLE interactions (
    app_id          TEXT NOT NULL,
    -- The id of the oldest leg.
    id              TEXT NOT NULL,
    status          TEXT NOT NULL,
    outcome         TEXT,
    direction       TEXT,
    external_number TEXT,
    -- What is shown of it.
    summary         TEXT NOT NULL,
    -- The interaction of which its legs are now a part.
    merged_into     TEXT,
    -- When its end is emitted, unless there is news before; null: not over, or emitted already.
    settles_at      TEXT,
    has_settled     INTEGER NOT NULL,
    version         INTEGER NOT NULL,
    created_at      TEXT NOT NULL,
    updated_at      TEXT NOT NULL,
    PRIMARY KEY (app_id, id)
) STRICT;
CREATE INDEX interactions_unsettled ON interactions (settles_at) WHERE settles_at IS NOT NULL;
CREATE INDEX interactions_updated ON interactions (app_id, updated_at, id);
CREATE INDEX interactions_live ON interactions (app_id, id) WHERE status <> 'ended';
CREATE INDEX interactions_by_outcome ON interactions (app_id, outcome, id) WHERE outcome IS NOT NULL;
CREATE INDEX interactions_by_direction ON interactions (app_id, direction, id) WHERE direction IS NOT NULL;

-- Those of an earlier version. The ends of those that are over are not emitted any more.

INSERT INTO interactions
    (app_id, id, status, outcome, direction, external_number, summary, has_settled, version, created_at, updated_at)
SELECT app_id, id, status, outcome, direction, external_number,
    json_object('status', status, 'outcome', outcome, 'direction', direction, 'external_number', external_number,
        'recordings', json('[]'), 'users', json('[]'), 'calls', json(calls)),
    status = 'ended', 1, created_at, updated_at
FROM (
    SELECT app_id, COALESCE(interaction_id, id) AS id,
        CASE WHEN MAX(status = 'active') THEN 'active' WHEN MAX(status = 'held') THEN 'held'
            WHEN MAX(status = 'ringing') THEN 'ringing' ELSE 'ended' END AS status,
        CASE WHEN MAX(status <> 'ended') THEN NULL WHEN MAX(outcome = 'answered') THEN 'answered'
            WHEN MAX(outcome = 'voicemail') THEN 'voicemail' WHEN MAX(outcome = 'rejected') THEN 'rejected'
            WHEN MAX(outcome = 'missed') THEN 'missed' WHEN MAX(outcome = 'abandoned') THEN 'abandoned' END AS outcome,
        MAX(CASE WHEN interaction_id IS NULL THEN direction END) AS direction,
        MAX(CASE WHEN interaction_id IS NULL THEN
            CASE direction WHEN 'outbound' THEN to_number ELSE from_number END END) AS external_number,
        json_group_array(dialpad_call_id) AS calls,
        MIN(created_at) AS created_at, MAX(updated_at) AS updated_at
    FROM calls GROUP BY app_id, COALESCE(interaction_id, id)
) AS joined;
