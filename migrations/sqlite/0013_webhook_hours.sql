-- How many webhooks each app received in each hour: what tells that Dialpad is silent from that nothing happens.

CREATE TABLE webhook_hours (
    app_id   TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    -- Hours since 1970, UTC.
    hour     INTEGER NOT NULL,
    webhooks INTEGER NOT NULL,
    last_at  TEXT NOT NULL,
    PRIMARY KEY (app_id, hour)
);
