-- How many webhooks each app received in each hour: what tells that Dialpad is silent from that nothing happens.

CREATE TABLE webhook_hours (
    app_id   UUID NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    -- Hours since 1970, UTC.
    hour     BIGINT NOT NULL,
    webhooks BIGINT NOT NULL,
    last_at  TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (app_id, hour)
);
