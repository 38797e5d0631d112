-- What ended before its time of what the console has signed: sessions that a person signed out of, and addresses that
-- signed a person in once. A row is of no use after the time at which it would have ended anyway.

CREATE TABLE console_endings (
    id         UUID PRIMARY KEY,
    expires_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX console_endings_expired ON console_endings (expires_at);
