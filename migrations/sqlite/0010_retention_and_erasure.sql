-- The audit log says which person was erased, as a keyed hash of the number.

ALTER TABLE api_key_audit_log ADD COLUMN number_hash TEXT;
