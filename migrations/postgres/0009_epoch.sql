-- The epoch of the feeds: one history of them. A restore begins a new one, so that a client learns that the numbers it
-- remembers are those of another history.

CREATE TABLE feed_epoch (
    -- There is one row.
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    epoch UUID NOT NULL
);

-- A random UUID; gen_random_uuid is not in version 12.
INSERT INTO feed_epoch (id, epoch)
SELECT 1, overlay(overlay(md5(random()::text || clock_timestamp()::text || txid_current()::text) PLACING '4' FROM 13)
    PLACING '8' FROM 17)::uuid;

-- The epoch in which the consumer acknowledged last. Null: written by an older version, of the present epoch.
ALTER TABLE consumers ADD COLUMN epoch UUID;
UPDATE consumers SET epoch = (SELECT epoch FROM feed_epoch);
