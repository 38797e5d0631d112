-- Lists: each filter has an index in the order of the list, so that a page is found without looking at other rows, also
-- when nothing matches. The statements are in src/store/views/plan.rs.

-- Only calls that have ended: a call is entered once, when it is over. The others are few.

CREATE INDEX calls_ended_from ON calls (app_id, COALESCE(from_e164, from_number), direction, created_at, id) WHERE status = 'ended';
CREATE INDEX calls_ended_to ON calls (app_id, COALESCE(to_e164, to_number), direction, created_at, id) WHERE status = 'ended';
CREATE INDEX calls_ended_of_user ON calls (app_id, dialpad_user_id, direction, created_at, id) WHERE status = 'ended';
CREATE INDEX calls_ended_outcome ON calls (app_id, outcome, direction, created_at, id) WHERE status = 'ended';
CREATE INDEX calls_ended ON calls (app_id, direction, created_at, id) WHERE status = 'ended';

CREATE INDEX voicemails_from ON voicemails (app_id, COALESCE(from_e164, from_number), direction, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX voicemails_to ON voicemails (app_id, COALESCE(to_e164, to_number), direction, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX voicemails_of_user ON voicemails (app_id, dialpad_user_id, direction, created_at, id)
    WHERE deleted_at IS NULL;
CREATE INDEX voicemails_kept ON voicemails (app_id, direction, created_at, id) WHERE deleted_at IS NULL;

CREATE INDEX messages_from ON messages (app_id, COALESCE(from_e164, from_number), direction, created_at, id);
CREATE INDEX messages_to ON messages (app_id, COALESCE(to_e164, to_number), direction, created_at, id);
CREATE INDEX messages_to_several ON messages (app_id, created_at, id) WHERE to_number LIKE '%,%';
CREATE INDEX messages_of_user ON messages (app_id, dialpad_user_id, direction, created_at, id);
CREATE INDEX messages_by_direction ON messages (app_id, direction, created_at, id);

CREATE INDEX interactions_by_number ON interactions (app_id, COALESCE(external_e164, external_number), id);

-- The journal, as administrators list it.

CREATE INDEX webhook_events_of_app ON webhook_events (app_id, id);
CREATE INDEX webhook_events_by_type ON webhook_events (event_type, id);
