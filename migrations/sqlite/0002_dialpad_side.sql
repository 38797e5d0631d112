-- Renewal of tokens: when they were issued, and the state of their refresh.

-- When the present access token was issued; with expires_at, its lifetime.
ALTER TABLE dialpad_connections ADD COLUMN issued_at TEXT;
-- When they are to be refreshed: by their lifetime, or after the backoff of a failure. Null: never.
ALTER TABLE dialpad_connections ADD COLUMN refresh_due_at TEXT;
-- When a refresh began whose outcome is not known yet: written before Dialpad is asked.
ALTER TABLE dialpad_connections ADD COLUMN refresh_begun_at TEXT;
-- How many refreshes have failed since the last success, since when, and why the last one did.
ALTER TABLE dialpad_connections ADD COLUMN refresh_failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dialpad_connections ADD COLUMN degraded_since TEXT;
ALTER TABLE dialpad_connections ADD COLUMN refresh_problem TEXT;
CREATE INDEX dialpad_connections_due ON dialpad_connections (refresh_due_at) WHERE refresh_due_at IS NOT NULL;
UPDATE dialpad_connections SET issued_at = updated_at;
UPDATE dialpad_connections SET refresh_due_at = updated_at WHERE refresh_token IS NOT NULL AND status = 'connected';

-- The app's own webhook: its retired secrets, and the outcome of the last check at Dialpad.

-- Sealed together, each with its expiry.
ALTER TABLE dialpad_webhooks ADD COLUMN retired_secrets BLOB;
-- Whether the subscription to messages includes their texts: decided for good when it is created.
ALTER TABLE dialpad_webhooks ADD COLUMN sms_with_texts INTEGER NOT NULL DEFAULT 0;
-- The organization in which it was created.
ALTER TABLE dialpad_webhooks ADD COLUMN dialpad_org_id INTEGER;
-- When calls were last known to be delivered.
ALTER TABLE dialpad_webhooks ADD COLUMN verified_at TEXT;
-- When it was last checked, whatever the outcome.
ALTER TABLE dialpad_webhooks ADD COLUMN checked_at TEXT;
-- What is wrong, as a JSON array of sentences; null where nothing is.
ALTER TABLE dialpad_webhooks ADD COLUMN problems TEXT;
-- When to check it again; null: at once.
ALTER TABLE dialpad_webhooks ADD COLUMN next_check_at TEXT;
-- The end of the lease of the process that works on it.
ALTER TABLE dialpad_webhooks ADD COLUMN checking_until TEXT;
-- When it was removed; it is not created again by itself.
ALTER TABLE dialpad_webhooks ADD COLUMN removed_at TEXT;

-- Interactions: calls that are joined. The id of an interaction is that of its first leg; null stands for the call's
-- own.

ALTER TABLE calls ADD COLUMN interaction_id TEXT;
ALTER TABLE calls ADD COLUMN answered_elsewhere INTEGER NOT NULL DEFAULT 0;
ALTER TABLE calls ADD COLUMN target_id INTEGER;
CREATE INDEX calls_of_interaction ON calls (app_id, interaction_id) WHERE interaction_id IS NOT NULL;
CREATE INDEX calls_by_master ON calls (app_id, master_call_id) WHERE master_call_id IS NOT NULL;
CREATE INDEX calls_by_entry_point ON calls (app_id, entry_point_call_id) WHERE entry_point_call_id IS NOT NULL;
CREATE INDEX calls_by_operator ON calls (app_id, operator_call_id) WHERE operator_call_id IS NOT NULL;

-- A deleted voicemail stays as an empty row, so that a late webhook does not create it again.

ALTER TABLE voicemails ADD COLUMN deleted_at TEXT;

-- Where the picture or file of a message is.

ALTER TABLE messages ADD COLUMN mms_url TEXT;

-- Lists: ids are generated in the order of time, so the newest rows are found by id.

DROP INDEX voicemails_created;
DROP INDEX messages_created;
CREATE INDEX voicemails_newest ON voicemails (app_id, id);
CREATE INDEX messages_newest ON messages (app_id, id);
CREATE INDEX voicemails_updated ON voicemails (app_id, updated_at, id);
CREATE INDEX messages_updated ON messages (app_id, updated_at, id);
CREATE INDEX voicemails_by_dialpad_id ON voicemails (app_id, dialpad_voicemail_id) WHERE dialpad_voicemail_id IS NOT NULL;

-- Idempotency keys: requests that create something and may come twice. The answer is sealed: it may contain a secret.

CREATE TABLE idempotency_keys (
    -- The client: an app's id, or a word.
    scope        TEXT NOT NULL,
    key          TEXT NOT NULL,
    request_hash BLOB NOT NULL,
    -- Identifies the request at Dialpad.
    correlation  TEXT NOT NULL,
    -- Grows whenever an attempt takes over an abandoned one.
    attempt      INTEGER NOT NULL,
    -- The end of the lease of the attempt.
    held_until   TEXT NOT NULL,
    -- Null until the request has its final answer.
    status       INTEGER,
    answer       BLOB,
    created_at   TEXT NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT;
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

-- Gaps: periods for which webhooks of an app may be missing, until they are recovered.

CREATE TABLE gaps (
    id         TEXT PRIMARY KEY,
    app_id     TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    since      TEXT NOT NULL,
    until      TEXT NOT NULL,
    reason     TEXT NOT NULL,
    -- Where Dialpad's list continues, and the start of the calls that it covers.
    cursor     TEXT,
    list_from  TEXT,
    -- Grows with every claim: the guard of compare-and-swap.
    generation INTEGER NOT NULL DEFAULT 0,
    due_at     TEXT NOT NULL,
    failures   INTEGER NOT NULL DEFAULT 0,
    -- Why it is not recovered any more.
    given_up   TEXT
) STRICT;
CREATE INDEX gaps_app ON gaps (app_id, since);

-- What the server remembers about itself: when it was last running.

CREATE TABLE server_state (
    name TEXT PRIMARY KEY,
    at   TEXT NOT NULL
) STRICT;
