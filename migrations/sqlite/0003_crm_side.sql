-- Administration: apps on their way out. Their rows go in pages; whoever asks meanwhile, or again, finds this.

CREATE TABLE removed_apps (
    app_id     TEXT PRIMARY KEY,
    removed_at TEXT NOT NULL,
    -- When the last row was gone that a straggler may have left; null: there is still something to do.
    emptied_at TEXT
) STRICT;
CREATE INDEX removed_apps_unfinished ON removed_apps (removed_at) WHERE emptied_at IS NULL;

-- User mappings: found by the CRM's side as well.

CREATE INDEX dialpad_user_mappings_crm ON dialpad_user_mappings (app_id, crm_user_id);

-- The journal as administrators look through it: what went wrong is rare among what went well.

CREATE INDEX webhook_events_failed ON webhook_events (id) WHERE status = 'failed';
CREATE INDEX webhook_events_waiting ON webhook_events (id) WHERE status = 'unrouted';
