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
ALTER TABLE interactions ADD COLUMN external_e164 TEXT;

-- What payloads say of a call and of a message.

ALTER TABLE calls ADD COLUMN contact_name TEXT;
ALTER TABLE calls ADD COLUMN target_name TEXT;
ALTER TABLE calls ADD COLUMN is_internal INTEGER;
ALTER TABLE calls ADD COLUMN callback_requested INTEGER;
-- JSON, as it came.
ALTER TABLE calls ADD COLUMN custom_data TEXT;
-- The parts of the recording as a JSON array; null where there is none.
ALTER TABLE calls ADD COLUMN recordings TEXT;
-- The addresses of all pictures and files as a JSON array; null where there is none.
ALTER TABLE messages ADD COLUMN media_urls TEXT;
ALTER TABLE messages ADD COLUMN message_delivery_result TEXT;
