-- Administration: apps on their way out. Their rows go in pages; whoever asks meanwhile, or again, finds this.

CREATE TABLE removed_apps (
    app_id     UUID PRIMARY KEY,
    removed_at TIMESTAMPTZ NOT NULL,
    -- When the last row was gone that a straggler may have left; null: there is still something to do.
    emptied_at TIMESTAMPTZ
);
CREATE INDEX removed_apps_unfinished ON removed_apps (removed_at) WHERE emptied_at IS NULL;

-- User mappings: found by the CRM's side as well.

CREATE INDEX dialpad_user_mappings_crm ON dialpad_user_mappings (app_id, crm_user_id);

-- The journal as administrators look through it: what went wrong is rare among what went well.

CREATE INDEX webhook_events_failed ON webhook_events (id) WHERE status = 'failed';
CREATE INDEX webhook_events_waiting ON webhook_events (id) WHERE status = 'unrouted';
CREATE INDEX webhook_events_waiting_of_app ON webhook_events (app_id, id) WHERE status = 'unrouted';

-- Named consumers: readers of an app's feed whose cursor is kept here.

CREATE TABLE consumers (
    app_id     UUID NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    -- Compared byte by byte, as SQLite does: lists go on behind a name.
    name       TEXT COLLATE "C" NOT NULL,
    -- How its connections stand to each other: 'exclusive' or 'share'.
    mode       TEXT NOT NULL,
    -- Everything up to here is dealt with.
    acked_seq  BIGINT NOT NULL,
    -- The process that took it up last; what another one still writes is refused.
    holder     BIGINT NOT NULL,
    -- Who held it until then.
    held_before BIGINT,
    -- How many connections it has there, as far as that is believed without hearing of it again.
    connections BIGINT NOT NULL,
    held_until TIMESTAMPTZ NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (app_id, name)
);
CREATE INDEX consumers_held ON consumers (holder);
