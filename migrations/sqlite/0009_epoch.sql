-- The epoch of the feeds: one history of them. A restore begins a new one, so that a client learns that the numbers it
-- remembers are those of another history.

CREATE TABLE feed_epoch (
    -- There is one row.
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    epoch TEXT NOT NULL
) STRICT;

-- A random UUID.
INSERT INTO feed_epoch (id, epoch)
SELECT 1, substr(digits, 1, 8) || '-' || substr(digits, 9, 4) || '-4' || substr(digits, 14, 3) || '-8'
    || substr(digits, 18, 3) || '-' || substr(digits, 21, 12)
FROM (SELECT lower(hex(randomblob(16))) AS digits);

-- The epoch in which the consumer acknowledged last. Null: written by an older version, of the present epoch.
ALTER TABLE consumers ADD COLUMN epoch TEXT;
UPDATE consumers SET epoch = (SELECT epoch FROM feed_epoch);
