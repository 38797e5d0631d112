-- Several processes on one database: each app has one owner at a time.

-- The same tables as for PostgreSQL. SQLite has one process, which owns everything: here, expires_at is not moved on.
CREATE TABLE processes (
    process_id  TEXT PRIMARY KEY,
    incarnation TEXT NOT NULL UNIQUE,
    host        TEXT NOT NULL,
    -- The operating system and the process id in it, by which processes beside it see that it is gone.
    machine     TEXT NOT NULL,
    pid         INTEGER NOT NULL,
    version     TEXT NOT NULL,
    is_stopping INTEGER NOT NULL,
    started_at  TEXT NOT NULL,
    seen_at     TEXT NOT NULL,
    expires_at  TEXT NOT NULL
) STRICT;

-- Which process works on an app. A lease ends with its owner: one row is renewed, and not one for each app.
CREATE TABLE app_leases (
    app_id TEXT PRIMARY KEY REFERENCES apps (id) ON DELETE CASCADE,
    owner  TEXT REFERENCES processes (process_id) ON DELETE SET NULL,
    -- Grows with each new owner.
    fence  INTEGER NOT NULL
) STRICT;
CREATE INDEX app_leases_owner ON app_leases (owner);

-- Which process does the periodic work that is done once for all.
CREATE TABLE job_leases (
    name  TEXT PRIMARY KEY,
    owner TEXT NOT NULL REFERENCES processes (process_id) ON DELETE CASCADE
) STRICT;

-- The fence of the owner, in the row that every unit of work locks: what an earlier owner writes is refused there.
ALTER TABLE event_feeds ADD COLUMN fence INTEGER NOT NULL DEFAULT 0;

INSERT INTO app_leases (app_id, fence) SELECT id, 0 FROM apps;
