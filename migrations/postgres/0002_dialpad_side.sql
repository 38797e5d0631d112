-- Staying connected: when tokens were issued, and what is known of refreshing them.

ALTER TABLE dialpad_connections
    -- When the present access token was issued: with expires_at, its life.
    ADD COLUMN issued_at TIMESTAMPTZ,
    -- When they are to be refreshed: by the token's life, or by the pause after a failure. Null: never.
    ADD COLUMN refresh_due_at TIMESTAMPTZ,
    -- A refresh was begun then and its end is not known yet: written before Dialpad is asked.
    ADD COLUMN refresh_begun_at TIMESTAMPTZ,
    -- Refreshes that failed since the last one that did not, when the first of them did, and why the last one did.
    ADD COLUMN refresh_failures BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN degraded_since TIMESTAMPTZ,
    ADD COLUMN refresh_problem TEXT;
CREATE INDEX dialpad_connections_due ON dialpad_connections (refresh_due_at) WHERE refresh_due_at IS NOT NULL;
UPDATE dialpad_connections SET issued_at = updated_at;
UPDATE dialpad_connections SET refresh_due_at = updated_at WHERE refresh_token IS NOT NULL AND status = 'connected';

-- The app's own webhook: the secrets that are rotated out, and what the last look at Dialpad found.

ALTER TABLE dialpad_webhooks
    -- Sealed together, each with the end of its validity.
    ADD COLUMN retired_secrets BYTEA,
    -- Whether the subscription to messages was made with the right to their texts: whoever makes it decides that for
    -- good.
    ADD COLUMN sms_with_texts BOOLEAN NOT NULL DEFAULT FALSE,
    -- The organization where it was made.
    ADD COLUMN dialpad_org_id BIGINT,
    -- When calls were last found (or made) to come as they should.
    ADD COLUMN verified_at TIMESTAMPTZ,
    -- When it was last looked at, whatever was found.
    ADD COLUMN checked_at TIMESTAMPTZ,
    -- What stands in the way, as a JSON array of texts; null where nothing does.
    ADD COLUMN problems TEXT,
    -- Not to be looked at before then; null: at once.
    ADD COLUMN next_check_at TIMESTAMPTZ,
    -- Somebody works at it until then at the latest: the lease of one process.
    ADD COLUMN checking_until TIMESTAMPTZ,
    -- It was taken away, and does not come back by itself.
    ADD COLUMN removed_at TIMESTAMPTZ;

-- Calls: joined into interactions. The id of an interaction is that of its first leg, and null stands for one's own.

ALTER TABLE calls
    ADD COLUMN interaction_id UUID,
    ADD COLUMN answered_elsewhere BOOLEAN NOT NULL DEFAULT FALSE,
    ADD COLUMN target_id BIGINT;
CREATE INDEX calls_of_interaction ON calls (app_id, interaction_id) WHERE interaction_id IS NOT NULL;
CREATE INDEX calls_by_master ON calls (app_id, master_call_id) WHERE master_call_id IS NOT NULL;
CREATE INDEX calls_by_entry_point ON calls (app_id, entry_point_call_id) WHERE entry_point_call_id IS NOT NULL;
CREATE INDEX calls_by_operator ON calls (app_id, operator_call_id) WHERE operator_call_id IS NOT NULL;

-- A voicemail that was deleted stays as an empty row, so that a late webhook does not bring it back.

ALTER TABLE voicemails
    ADD COLUMN deleted_at TIMESTAMPTZ;

-- Where the picture or file is that came with a message.

ALTER TABLE messages
    ADD COLUMN mms_url TEXT;

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
    request_hash BYTEA NOT NULL,
    -- What the request is known by where it is passed on to.
    correlation  UUID NOT NULL,
    -- Grows whenever somebody takes up what another one left behind.
    attempt      BIGINT NOT NULL,
    -- Until then whoever took the request is believed to be at work on it.
    held_until   TIMESTAMPTZ NOT NULL,
    -- Null until the request is answered for good.
    status       BIGINT,
    answer       BYTEA,
    created_at   TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

-- Since when, and until when, webhooks of an app may be missing: what a repair has to look for.

CREATE TABLE repairs (
    id         UUID PRIMARY KEY,
    app_id     UUID NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    since      TIMESTAMPTZ NOT NULL,
    until      TIMESTAMPTZ NOT NULL,
    reason     TEXT NOT NULL,
    -- Where the list at Dialpad goes on, and since when its calls began.
    cursor     TEXT,
    list_from  TIMESTAMPTZ,
    -- Grows whenever somebody takes it up: of two who do, one gets it.
    turn       BIGINT NOT NULL DEFAULT 0,
    not_before TIMESTAMPTZ NOT NULL,
    failures   BIGINT NOT NULL DEFAULT 0,
    -- Why nobody will take it up any more.
    given_up   TEXT
);
CREATE INDEX repairs_app ON repairs (app_id, since);

-- What the server knows of itself: when it was last alive.

CREATE TABLE server_state (
    name TEXT PRIMARY KEY,
    at   TIMESTAMPTZ NOT NULL
);
