-- Phone numbers in E.164 form, as the app's region reads them. Null: no phone number, or not computed yet.

ALTER TABLE apps ADD COLUMN region TEXT NOT NULL DEFAULT 'US';
-- The region by which the stored numbers were computed; null: they are still to be computed.
ALTER TABLE apps ADD COLUMN e164_region TEXT;
ALTER TABLE calls ADD COLUMN from_e164 TEXT;
ALTER TABLE calls ADD COLUMN to_e164 TEXT;
ALTER TABLE voicemails ADD COLUMN from_e164 TEXT;
ALTER TABLE voicemails ADD COLUMN to_e164 TEXT;
ALTER TABLE messages ADD COLUMN from_e164 TEXT;
-- Of several recipients, separated by commas.
ALTER TABLE messages ADD COLUMN to_e164 TEXT;

-- Filters by number. What is no phone number is compared literally.

CREATE INDEX calls_from_e164 ON calls (app_id, from_e164, id);
CREATE INDEX calls_to_e164 ON calls (app_id, to_e164, id);
CREATE INDEX calls_from_literal ON calls (app_id, from_number, id) WHERE from_e164 IS NULL;
CREATE INDEX calls_to_literal ON calls (app_id, to_number, id) WHERE to_e164 IS NULL;
CREATE INDEX calls_outcome ON calls (app_id, outcome, id) WHERE outcome IS NOT NULL;
CREATE INDEX voicemails_from_e164 ON voicemails (app_id, from_e164, id);
CREATE INDEX voicemails_to_e164 ON voicemails (app_id, to_e164, id);
CREATE INDEX voicemails_from_literal ON voicemails (app_id, from_number, id) WHERE from_e164 IS NULL;
CREATE INDEX voicemails_to_literal ON voicemails (app_id, to_number, id) WHERE to_e164 IS NULL;
CREATE INDEX messages_from_e164 ON messages (app_id, from_e164, id);
CREATE INDEX messages_to_e164 ON messages (app_id, to_e164, id);
CREATE INDEX messages_from_literal ON messages (app_id, from_number, id) WHERE from_e164 IS NULL;
CREATE INDEX messages_to_literal ON messages (app_id, to_number, id) WHERE to_e164 IS NULL;
-- Messages with several recipients are few: each is looked at.
CREATE INDEX messages_to_several ON messages (app_id, id) WHERE to_number LIKE '%,%';

-- What payloads say of a call and of a message.

ALTER TABLE calls ADD COLUMN contact_name TEXT;
ALTER TABLE calls ADD COLUMN target_name TEXT;
ALTER TABLE calls ADD COLUMN is_internal BOOLEAN;
ALTER TABLE calls ADD COLUMN callback_requested BOOLEAN;
-- JSON, as it came.
ALTER TABLE calls ADD COLUMN custom_data JSON;
-- The parts of the recording as a JSON array; null where there is none.
ALTER TABLE calls ADD COLUMN recordings JSON;
-- The addresses of all pictures and files as a JSON array; null where there is none.
ALTER TABLE messages ADD COLUMN media_urls JSON;
ALTER TABLE messages ADD COLUMN message_delivery_result TEXT;
