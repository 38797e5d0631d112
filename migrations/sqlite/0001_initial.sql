-- The same tables as for PostgreSQL. Ids and times are readable text: UUIDs with hyphens, RFC 3339 in UTC, which
-- sorts as the instants do.

-- Tenants and their keys.

CREATE TABLE apps (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    is_active  INTEGER NOT NULL DEFAULT 1,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

-- Only the SHA-256 of a key is stored. It is unique, so its index also finds a key.
CREATE TABLE api_keys (
    id         TEXT PRIMARY KEY,
    app_id     TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    key_hash   BLOB NOT NULL UNIQUE,
    hint       TEXT NOT NULL,
    created_at TEXT NOT NULL,
    -- Not valid from then on: a revocation sets the present, a rotation with grace the near future.
    expires_at TEXT
) STRICT;
CREATE INDEX api_keys_app ON api_keys (app_id);

CREATE TABLE api_key_audit_log (
    id           TEXT PRIMARY KEY,
    app_id       TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    action       TEXT NOT NULL,
    old_key_hint TEXT,
    new_key_hint TEXT,
    created_at   TEXT NOT NULL
) STRICT;
CREATE INDEX api_key_audit_log_app ON api_key_audit_log (app_id, created_at);

-- The Dialpad side. Tokens and secrets are sealed (AEAD, bound to their row).

CREATE TABLE dialpad_connections (
    app_id         TEXT PRIMARY KEY REFERENCES apps (id) ON DELETE CASCADE,
    environment    TEXT NOT NULL,
    -- Not unique: several apps may share one organization.
    dialpad_org_id INTEGER,
    status         TEXT NOT NULL,
    access_token   BLOB NOT NULL,
    refresh_token  BLOB,
    scopes         TEXT NOT NULL,
    -- Grows with every new pair of tokens: the guard of compare-and-swap.
    generation     INTEGER NOT NULL,
    expires_at     TEXT,
    connected_at   TEXT NOT NULL,
    updated_at     TEXT NOT NULL
) STRICT;
CREATE INDEX dialpad_connections_org ON dialpad_connections (dialpad_org_id);

CREATE TABLE dialpad_webhooks (
    id                  TEXT PRIMARY KEY,
    app_id              TEXT NOT NULL UNIQUE REFERENCES apps (id) ON DELETE CASCADE,
    hook_url            TEXT NOT NULL,
    secret              BLOB NOT NULL,
    -- Dialpad's ids, once it has confirmed them.
    dialpad_webhook_id  TEXT,
    call_subscription   TEXT,
    sms_subscription    TEXT,
    created_at          TEXT NOT NULL,
    updated_at          TEXT NOT NULL
) STRICT;

CREATE TABLE dialpad_user_mappings (
    id              TEXT PRIMARY KEY,
    app_id          TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    dialpad_user_id INTEGER NOT NULL,
    crm_user_id     TEXT NOT NULL,
    created_at      TEXT NOT NULL,
    updated_at      TEXT NOT NULL,
    UNIQUE (app_id, dialpad_user_id)
) STRICT;

CREATE TABLE oauth_sessions (
    state_hash   BLOB PRIMARY KEY,
    app_id       TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    environment  TEXT NOT NULL,
    verifier     BLOB NOT NULL,
    browser_hash BLOB NOT NULL,
    created_at   TEXT NOT NULL,
    expires_at   TEXT NOT NULL
) STRICT;

-- The journal: every authentic webhook, as it came, written before it is acknowledged. The three busy tables (this one,
-- calls, events) have no foreign key: a check per row costs more than the rows that a deleted app may leave until
-- retention deletes them.
CREATE TABLE webhook_events (
    id              TEXT PRIMARY KEY,
    -- Null while no app is known for it.
    app_id          TEXT,
    organization_id INTEGER,
    dedup_key       BLOB NOT NULL,
    event_type      TEXT NOT NULL,
    payload         BLOB NOT NULL,
    status          TEXT NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    reason          TEXT,
    received_at     TEXT NOT NULL,
    processed_at    TEXT
) STRICT;
CREATE UNIQUE INDEX webhook_events_dedup ON webhook_events (app_id, dedup_key);
CREATE UNIQUE INDEX webhook_events_dedup_unrouted ON webhook_events (dedup_key) WHERE app_id IS NULL;
CREATE INDEX webhook_events_pending ON webhook_events (app_id, id) WHERE status = 'pending';
CREATE INDEX webhook_events_unrouted ON webhook_events (organization_id, id) WHERE status = 'unrouted';

-- Calls: their facts, and columns that are derived from the facts for queries.
CREATE TABLE calls (
    id                  TEXT NOT NULL,
    app_id              TEXT NOT NULL,
    dialpad_call_id     INTEGER NOT NULL,
    direction           TEXT,
    from_number         TEXT,
    to_number           TEXT,
    status              TEXT NOT NULL,
    outcome             TEXT,
    dialpad_user_id     INTEGER,
    ringing_at          TEXT,
    answered_at         TEXT,
    ended_at            TEXT,
    duration_seconds    INTEGER,
    talk_seconds        INTEGER,
    hold_seconds        INTEGER,
    recording_url       TEXT,
    is_voicemail        INTEGER NOT NULL,
    voicemail_id        TEXT,
    leg                 TEXT,
    master_call_id      INTEGER,
    entry_point_call_id INTEGER,
    operator_call_id    INTEGER,
    facts               TEXT NOT NULL,
    version             INTEGER NOT NULL,
    created_at          TEXT NOT NULL,
    updated_at          TEXT NOT NULL,
    -- Ids are generated in the order of time: this is also the index of the newest calls.
    PRIMARY KEY (app_id, id),
    UNIQUE (app_id, dialpad_call_id)
) STRICT;
CREATE INDEX calls_updated ON calls (app_id, updated_at, id);
CREATE INDEX calls_live ON calls (app_id, id) WHERE status <> 'ended';

CREATE TABLE voicemails (
    id                   TEXT PRIMARY KEY,
    app_id               TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    dialpad_call_id      INTEGER,
    dialpad_voicemail_id TEXT,
    dialpad_user_id      INTEGER,
    direction            TEXT,
    from_number          TEXT,
    to_number            TEXT,
    recording_url        TEXT,
    transcript           TEXT,
    duration_seconds     INTEGER,
    received_at          TEXT NOT NULL,
    created_at           TEXT NOT NULL,
    updated_at           TEXT NOT NULL
) STRICT;
CREATE INDEX voicemails_created ON voicemails (app_id, created_at, id);

CREATE TABLE messages (
    id                  TEXT PRIMARY KEY,
    app_id              TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    dialpad_message_id  TEXT NOT NULL,
    dialpad_user_id     INTEGER,
    direction           TEXT,
    from_number         TEXT,
    to_number           TEXT,
    text                TEXT,
    message_status      TEXT,
    sent_at             TEXT NOT NULL,
    facts               TEXT NOT NULL,
    version             INTEGER NOT NULL,
    created_at          TEXT NOT NULL,
    updated_at          TEXT NOT NULL,
    UNIQUE (app_id, dialpad_message_id)
) STRICT;
CREATE INDEX messages_created ON messages (app_id, created_at, id);

-- The feed: the events of an app, in the order of seq. A transaction that assigns seq locks the row of event_feeds, so
-- that the order of commits is the order of seq and a cursor never skips an event.
CREATE TABLE event_feeds (
    app_id     TEXT PRIMARY KEY REFERENCES apps (id) ON DELETE CASCADE,
    last_seq   INTEGER NOT NULL DEFAULT 0,
    oldest_seq INTEGER NOT NULL DEFAULT 1
) STRICT;

CREATE TABLE events (
    app_id          TEXT NOT NULL,
    seq             INTEGER NOT NULL,
    id              TEXT NOT NULL,
    type            TEXT NOT NULL,
    dialpad_call_id INTEGER,
    dialpad_user_id INTEGER,
    occurred_at     TEXT NOT NULL,
    published_at    TEXT NOT NULL,
    body            TEXT NOT NULL,
    PRIMARY KEY (app_id, seq)
) STRICT;
CREATE INDEX events_of_call ON events (app_id, dialpad_call_id, seq);
