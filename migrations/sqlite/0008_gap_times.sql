-- When events that retention deleted were emitted, so that a gap can say from when to when a client has to look.

ALTER TABLE event_feeds ADD COLUMN newest_expired_at TEXT;

-- About one deleted event a day: what was emitted when.
CREATE TABLE expired_event_times (
    app_id       TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    seq          INTEGER NOT NULL,
    published_at TEXT NOT NULL,
    PRIMARY KEY (app_id, seq)
) STRICT;
