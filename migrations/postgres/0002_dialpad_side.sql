-- Renewal of tokens: when they were issued, and the state of their refresh.

ALTER TABLE dialpad_connections
    -- When the present access token was issued; with expires_at, its lifetime.
    ADD COLUMN issued_at TIMESTAMPTZ,
    -- When they are to be refreshed: by their lifetime, or after the backoff of a failure. Null: never.
    ADD COLUMN refresh_due_at TIMESTAMPTZ,
    -- When a refresh began whose outcome is not known yet: written before Dialpad is asked.
    ADD COLUMN refresh_begun_at TIMESTAMPTZ,
    -- How many refreshes have failed since the last success, since when, and why the last one did.
    ADD COLUMN refresh_failures BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN degraded_since TIMESTAMPTZ,
    ADD COLUMN refresh_problem TEXT;
CREATE INDEX dialpad_connections_due ON dialpad_connections (refresh_due_at) WHERE refresh_due_at IS NOT NULL;
UPDATE dialpad_connections SET issued_at = updated_at;
UPDATE dialpad_connections SET refresh_due_at = updated_at WHERE refresh_token IS NOT NULL AND status = 'connected';

-- The app's own webhook: its retired secrets, and the outcome of the last check at Dialpad.

ALTER TABLE dialpad_webhooks
    -- Sealed together, each with its expiry.
    ADD COLUMN retired_secrets BYTEA,
    -- Whether the subscription to messages includes their texts: decided for good when it is created.
    ADD COLUMN sms_with_texts BOOLEAN NOT NULL DEFAULT FALSE,
    -- The organization in which it was created.
    ADD COLUMN dialpad_org_id BIGINT,
    -- When calls were last known to be delivered.
    ADD COLUMN verified_at TIMESTAMPTZ,
    -- When it was last checked, whatever the outcome.
    ADD COLUMN checked_at TIMESTAMPTZ,
    -- What is wrong, as a JSON array of sentences; null where nothing is.
    ADD COLUMN problems TEXT,
    -- When to check it again; null: at once.
    ADD COLUMN next_check_at TIMESTAMPTZ,
    -- The end of the lease of the process that works on it.
    ADD COLUMN checking_until TIMESTAMPTZ,
    -- When it was removed; it is not created again by itself.
    ADD COLUMN removed_at TIMESTAMPTZ;

-- Interactions: calls that are joined. The id of an interaction is that of its first leg; null stands for the call's
-- own.

ALTER TABLE calls
    ADD COLUMN interaction_id UUID,
    ADD COLUMN answered_elsewhere BOOLEAN NOT NULL DEFAULT FALSE,
    ADD COLUMN target_id BIGINT;
CREATE INDEX calls_of_interaction ON calls (app_id, interaction_id) WHERE interaction_id IS NOT NULL;
CREATE INDEX calls_by_master ON calls (app_id, master_call_id) WHERE master_call_id IS NOT NULL;
CREATE INDEX calls_by_entry_point ON calls (app_id, entry_point_call_id) WHERE entry_point_call_id IS NOT NULL;
CREATE INDEX calls_by_operator ON calls (app_id, operator_call_id) WHERE operator_call_id IS NOT NULL;

-- A deleted voicemail stays as an empty row, so that a late webhook does not create it again.

ALTER TABLE voicemails
    ADD COLUMN deleted_at TIMESTAMPTZ;

-- Where the picture or file of a message is.

ALTER TABLE messages
    ADD COLUMN mms_url TEXT;

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
    request_hash BYTEA NOT NULL,
    -- Identifies the request at Dialpad.
    correlation  UUID NOT NULL,
    -- Grows whenever an attempt takes over an abandoned one.
    attempt      BIGINT NOT NULL,
    -- The end of the lease of the attempt.
    held_until   TIMESTAMPTZ NOT NULL,
    -- Null until the request has its final answer.
    status       BIGINT,
    answer       BYTEA,
    created_at   TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

-- Gaps: periods for which webhooks of an app may be missing, until they are recovered.

CREATE TABLE gaps (
    id         UUID PRIMARY KEY,
    app_id     UUID NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    since      TIMESTAMPTZ NOT NULL,
    until      TIMESTAMPTZ NOT NULL,
    reason     TEXT NOT NULL,
    -- Where Dialpad's list continues, and the start of the calls that it covers.
    cursor     TEXT,
    list_from  TIMESTAMPTZ,
    -- Grows with every claim: the guard of compare-and-swap.
    generation BIGINT NOT NULL DEFAULT 0,
    due_at     TIMESTAMPTZ NOT NULL,
    failures   BIGINT NOT NULL DEFAULT 0,
    -- Why it is not recovered any more.
    given_up   TEXT
);
CREATE INDEX gaps_app ON gaps (app_id, since);

-- What the server remembers about itself: when it was last running.

CREATE TABLE server_state (
    name TEXT PRIMARY KEY,
    at   TIMESTAMPTZ NOT NULL
);
