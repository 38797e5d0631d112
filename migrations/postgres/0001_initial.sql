-- Tenants and their keys.

CREATE TABLE apps (
    id         UUID PRIMARY KEY,
    name       TEXT NOT NULL,
    is_active  BOOLEAN NOT NULL DEFAULT TRUE,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);

-- Only the SHA-256 of a key is stored. It is unique, so its index also finds a key.
CREATE TABLE api_keys (
    id         UUID PRIMARY KEY,
    app_id     UUID NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    key_hash   BYTEA NOT NULL UNIQUE,
    hint       TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    -- Not valid from then on: a revocation sets the present, a rotation with grace the near future.
    expires_at TIMESTAMPTZ
);
CREATE INDEX api_keys_app ON api_keys (app_id);

CREATE TABLE api_key_audit_log (
    id           UUID PRIMARY KEY,
    app_id       UUID NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    action       TEXT NOT NULL,
    old_key_hint TEXT,
    new_key_hint TEXT,
    created_at   TIMESTAMPTZ NOT NULL
);
CREATE INDEX api_key_audit_log_app ON api_key_audit_log (app_id, created_at);

-- The Dialpad side. Tokens and secrets are sealed (AEAD, bound to their row).

CREATE TABLE dialpad_connections (
    app_id         UUID PRIMARY KEY REFERENCES apps (id) ON DELETE CASCADE,
    environment    TEXT NOT NULL,
    -- Not unique: several apps may share one organization.
    dialpad_org_id BIGINT,
    status         TEXT NOT NULL,
    access_token   BYTEA NOT NULL,
    refresh_token  BYTEA,
    scopes         TEXT NOT NULL,
    -- Grows with every new pair of tokens: the guard of compare-and-swap.
    generation     BIGINT NOT NULL,
    expires_at     TIMESTAMPTZ,
    connected_at   TIMESTAMPTZ NOT NULL,
    updated_at     TIMESTAMPTZ NOT NULL
);
CREATE INDEX dialpad_connections_org ON dialpad_connections (dialpad_org_id);

CREATE TABLE dialpad_webhooks (
    id                  UUID PRIMARY KEY,
    app_id              UUID NOT NULL UNIQUE REFERENCES apps (id) ON DELETE CASCADE,
    hook_url            TEXT NOT NULL,
    secret              BYTEA NOT NULL,
    -- Dialpad's ids, once it has confirmed them.
    dialpad_webhook_id  TEXT,
    call_subscription   TEXT,
    sms_subscription    TEXT,
    created_at          TIMESTAMPTZ NOT NULL,
    updated_at          TIMESTAMPTZ NOT NULL
);

CREATE TABLE dialpad_user_mappings (
    id              UUID PRIMARY KEY,
    app_id          UUID NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    dialpad_user_id BIGINT NOT NULL,
    crm_user_id     TEXT NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL,
    updated_at      TIMESTAMPTZ NOT NULL,
    UNIQUE (app_id, dialpad_user_id)
);

CREATE TABLE oauth_sessions (
    state_hash   BYTEA PRIMARY KEY,
    app_id       UUID NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    environment  TEXT NOT NULL,
    verifier     BYTEA NOT NULL,
    browser_hash BYTEA NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    expires_at   TIMESTAMPTZ NOT NULL
);

-- The journal: every authentic webhook, as it came, written before it is acknowledged. The three busy tables (this one,
-- calls, events) have no foreign key: a check per row costs more than the rows that a deleted app may leave until
-- retention deletes them.
CREATE TABLE webhook_events (
    id              UUID PRIMARY KEY,
    -- Null while no app is known for it.
    app_id          UUID,
    organization_id BIGINT,
    dedup_key       BYTEA NOT NULL,
    event_type      TEXT NOT NULL,
    payload         BYTEA NOT NULL,
    status          TEXT NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    reason          TEXT,
    received_at     TIMESTAMPTZ NOT NULL,
    processed_at    TIMESTAMPTZ
);
CREATE UNIQUE INDEX webhook_events_dedup ON webhook_events (app_id, dedup_key);
CREATE UNIQUE INDEX webhook_events_dedup_unrouted ON webhook_events (dedup_key) WHERE app_id IS NULL;
CREATE INDEX webhook_events_pending ON webhook_events (app_id, id) WHERE status = 'pending';
CREATE INDEX webhook_events_unrouted ON webhook_events (organization_id, id) WHERE status = 'unrouted';

-- Calls: their facts, and columns that are derived from the facts for queries.
CREATE TABLE calls (
    id                  UUID NOT NULL,
    app_id              UUID NOT NULL,
    dialpad_call_id     BIGINT NOT NULL,
    direction           TEXT,
    from_number         TEXT,
    to_number           TEXT,
    status              TEXT NOT NULL,
    outcome             TEXT,
    dialpad_user_id     BIGINT,
    ringing_at          TIMESTAMPTZ,
    answered_at         TIMESTAMPTZ,
    ended_at            TIMESTAMPTZ,
    duration_seconds    BIGINT,
    talk_seconds        BIGINT,
    hold_seconds        BIGINT,
    recording_url       TEXT,
    is_voicemail        BOOLEAN NOT NULL,
    voicemail_id        UUID,
    leg                 TEXT,
    master_call_id      BIGINT,
    entry_point_call_id BIGINT,
    operator_call_id    BIGINT,
    facts               JSON NOT NULL,
    version             BIGINT NOT NULL,
    created_at          TIMESTAMPTZ NOT NULL,
    updated_at          TIMESTAMPTZ NOT NULL,
    -- Ids are generated in the order of time: this is also the index of the newest calls.
    PRIMARY KEY (app_id, id),
    UNIQUE (app_id, dialpad_call_id)
);
CREATE INDEX calls_updated ON calls (app_id, updated_at, id);
CREATE INDEX calls_live ON calls (app_id, id) WHERE status <> 'ended';

CREATE TABLE voicemails (
    id                   UUID PRIMARY KEY,
    app_id               UUID NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    dialpad_call_id      BIGINT,
    dialpad_voicemail_id TEXT,
    dialpad_user_id      BIGINT,
    direction            TEXT,
    from_number          TEXT,
    to_number            TEXT,
    recording_url        TEXT,
    transcript           TEXT,
    duration_seconds     BIGINT,
    received_at          TIMESTAMPTZ NOT NULL,
    created_at           TIMESTAMPTZ NOT NULL,
    updated_at           TIMESTAMPTZ NOT NULL
);
CREATE INDEX voicemails_created ON voicemails (app_id, created_at, id);

CREATE TABLE messages (
    id                  UUID PRIMARY KEY,
    app_id              UUID NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    dialpad_message_id  TEXT NOT NULL,
    dialpad_user_id     BIGINT,
    direction           TEXT,
    from_number         TEXT,
    to_number           TEXT,
    text                TEXT,
    message_status      TEXT,
    sent_at             TIMESTAMPTZ NOT NULL,
    facts               JSON NOT NULL,
    version             BIGINT NOT NULL,
    created_at          TIMESTAMPTZ NOT NULL,
    updated_at          TIMESTAMPTZ NOT NULL,
    UNIQUE (app_id, dialpad_message_id)
);
CREATE INDEX messages_created ON messages (app_id, created_at, id);

-- The feed: the events of an app, in the order of seq. A transaction that assigns seq locks the row of event_feeds, so
-- that the order of commits is the order of seq and a cursor never skips an event.
CREATE TABLE event_feeds (
    app_id     UUID PRIMARY KEY REFERENCES apps (id) ON DELETE CASCADE,
    last_seq   BIGINT NOT NULL DEFAULT 0,
    oldest_seq BIGINT NOT NULL DEFAULT 1
);

CREATE TABLE events (
    app_id          UUID NOT NULL,
    seq             BIGINT NOT NULL,
    id              UUID NOT NULL,
    type            TEXT NOT NULL,
    dialpad_call_id BIGINT,
    dialpad_user_id BIGINT,
    occurred_at     TIMESTAMPTZ NOT NULL,
    published_at    TIMESTAMPTZ NOT NULL,
    body            TEXT NOT NULL,
    PRIMARY KEY (app_id, seq)
);
CREATE INDEX events_of_call ON events (app_id, dialpad_call_id, seq);
