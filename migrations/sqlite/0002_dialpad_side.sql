-- Staying connected: when tokens were issued, and what is known of refreshing them.

-- When the present access token was issued: with expires_at, its life.
ALTER TABLE dialpad_connections ADD COLUMN issued_at TEXT;
-- When they are to be refreshed: by the token's life, or by the pause after a failure. Null: never.
ALTER TABLE dialpad_connections ADD COLUMN refresh_due_at TEXT;
-- A refresh was begun then and its end is not known yet: written before Dialpad is asked.
ALTER TABLE dialpad_connections ADD COLUMN refresh_begun_at TEXT;
-- Refreshes that failed since the last one that did not, when the first of them did, and why the last one did.
ALTER TABLE dialpad_connections ADD COLUMN refresh_failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dialpad_connections ADD COLUMN degraded_since TEXT;
ALTER TABLE dialpad_connections ADD COLUMN refresh_problem TEXT;
CREATE INDEX dialpad_connections_due ON dialpad_connections (refresh_due_at) WHERE refresh_due_at IS NOT NULL;
UPDATE dialpad_connections SET issued_at = updated_at;
UPDATE dialpad_connections SET refresh_due_at = updated_at WHERE refresh_token IS NOT NULL AND status = 'connected';

-- The app's own webhook: the secrets that are rotated out, and what the last look at Dialpad found.

-- Sealed together, each with the end of its validity.
ALTER TABLE dialpad_webhooks ADD COLUMN retired_secrets BLOB;
-- Whether the subscription to messages was made with the right to their texts: whoever makes it decides that for good.
ALTER TABLE dialpad_webhooks ADD COLUMN sms_with_texts INTEGER NOT NULL DEFAULT 0;
-- The organization where it was made.
ALTER TABLE dialpad_webhooks ADD COLUMN dialpad_org_id INTEGER;
-- When calls were last found (or made) to come as they should.
ALTER TABLE dialpad_webhooks ADD COLUMN verified_at TEXT;
-- When it was last looked at, whatever was found.
ALTER TABLE dialpad_webhooks ADD COLUMN checked_at TEXT;
-- What stands in the way, as a JSON array of texts; null where nothing does.
ALTER TABLE dialpad_webhooks ADD COLUMN problems TEXT;
-- Not to be looked at before then; null: at once.
ALTER TABLE dialpad_webhooks ADD COLUMN next_check_at TEXT;
-- Somebody works at it until then at the latest: the lease of one process.
ALTER TABLE dialpad_webhooks ADD COLUMN checking_until TEXT;
-- It was taken away, and does not come back by itself.
ALTER TABLE dialpad_webhooks ADD COLUMN removed_at TEXT;

-- Calls: joined into interactions. The id of an interaction is that of its first leg, and null stands for one's own.

ALTER TABLE calls ADD COLUMN interaction_id TEXT;
ALTER TABLE calls ADD COLUMN answered_elsewhere INTEGER NOT NULL DEFAULT 0;
ALTER TABLE calls ADD COLUMN target_id INTEGER;
CREATE INDEX calls_of_interaction ON calls (app_id, interaction_id) WHERE interaction_id IS NOT NULL;
CREATE INDEX calls_by_master ON calls (app_id, master_call_id) WHERE master_call_id IS NOT NULL;
CREATE INDEX calls_by_entry_point ON calls (app_id, entry_point_call_id) WHERE entry_point_call_id IS NOT NULL;
CREATE INDEX calls_by_operator ON calls (app_id, operator_call_id) WHERE operator_call_id IS NOT NULL;

-- A voicemail that was deleted stays as an empty row, so that a late webhook does not bring it back.

ALTER TABLE voicemails ADD COLUMN deleted_at TEXT;

-- Where the picture or file is that came with a message.

ALTER TABLE messages ADD COLUMN mms_url TEXT;

-- Lists: ids are made in the order of time, so the newest are found by them.

DROP INDEX voicemails_created;
DROP INDEX messages_created;
CREATE INDEX voicemails_newest ON voicemails (app_id, id);
CREATE INDEX messages_newest ON messages (app_id, id);
CREATE INDEX voicemails_updated ON voicemails (app_id, updated_at, id);
CREATE INDEX messages_updated ON messages (app_id, updated_at, id);
CREATE INDEX voicemails_by_theirs ON voicemails (app_id, dialpad_voicemail_id) WHERE dialpad_voicemail_id IS NOT NULL;

-- Requests that create something and may come twice. The answer is sealed: it may hold a secret.

CREATE TABLE idempotency_keys (
    -- Who asked: an app's id, or a word.
    scope        TEXT NOT NULL,
    key          TEXT NOT NULL,
    request_hash BLOB NOT NULL,
    -- What the request is known by where it is passed on to.
    correlation  TEXT NOT NULL,
    -- Grows whenever somebody takes up what another one left behind.
    attempt      INTEGER NOT NULL,
    -- Until then whoever took the request is believed to be at work on it.
    held_until   TEXT NOT NULL,
    -- Null until the request is answered for good.
    status       INTEGER,
    answer       BLOB,
    created_at   TEXT NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT;
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

-- Since when, and until when, webhooks of an app may be missing: what a repair has to look for.

CREATE TABLE repairs (
    id         TEXT PRIMARY KEY,
    app_id     TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    since      TEXT NOT NULL,
    until      TEXT NOT NULL,
    reason     TEXT NOT NULL,
    -- Where the list at Dialpad goes on, and since when its calls began.
    cursor     TEXT,
    list_from  TEXT,
    -- Grows whenever somebody takes it up: of two who do, one gets it.
    turn       INTEGER NOT NULL DEFAULT 0,
    not_before TEXT NOT NULL,
    failures   INTEGER NOT NULL DEFAULT 0,
    -- Why nobody will take it up any more.
    given_up   TEXT
) STRICT;
CREATE INDEX repairs_app ON repairs (app_id, since);

-- What the server knows of itself: when it was last alive.

CREATE TABLE server_state (
    name TEXT PRIMARY KEY,
    at   TEXT NOT NULL
) STRICT;
