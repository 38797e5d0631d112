-- Deletion of apps: the rows of an app are deleted in pages. Requests for it find this row meanwhile, and later.

CREATE TABLE deleted_apps (
    app_id     UUID PRIMARY KEY,
    deleted_at TIMESTAMPTZ NOT NULL,
    -- When the last row was deleted that a late write may have left; null: the deletion is not finished.
    purged_at TIMESTAMPTZ
);
CREATE INDEX deleted_apps_unfinished ON deleted_apps (deleted_at) WHERE purged_at IS NULL;

-- User mappings are found by the CRM's id as well.

CREATE INDEX dialpad_user_mappings_crm ON dialpad_user_mappings (app_id, crm_user_id);

-- The journal, as administrators read it: failed and unrouted webhooks are rare.

CREATE INDEX webhook_events_failed ON webhook_events (id) WHERE status = 'failed';
CREATE INDEX webhook_events_unrouted_by_id ON webhook_events (id) WHERE status = 'unrouted';
CREATE INDEX webhook_events_unrouted_of_app ON webhook_events (app_id, id) WHERE status = 'unrouted';

-- Named consumers: readers of an app's feed whose cursor the server keeps.

CREATE TABLE consumers (
    app_id     UUID NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    -- Compared byte by byte, as SQLite does: lists continue after a name.
    name       TEXT COLLATE "C" NOT NULL,
    -- 'exclusive' (one connection) or 'share' (its connections share the work).
    mode       TEXT NOT NULL,
    -- The cursor: the last event that was acknowledged.
    acked_seq  BIGINT NOT NULL,
    -- The process that acquired it last; writes of another one are refused.
    holder     BIGINT NOT NULL,
    -- The process that held it before.
    previous_holder BIGINT,
    -- How many connections it has there, until the lease ends.
    connections BIGINT NOT NULL,
    held_until TIMESTAMPTZ NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (app_id, name)
);
CREATE INDEX consumers_held ON consumers (holder);
