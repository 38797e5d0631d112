-- When events that retention deleted were emitted, so that a gap can say from when to when a client has to look.

ALTER TABLE event_feeds ADD COLUMN newest_expired_at TIMESTAMPTZ;

-- About one deleted event a day: what was emitted when.
CREATE TABLE expired_event_times (
    app_id       UUID NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    seq          BIGINT NOT NULL,
    published_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (app_id, seq)
);
