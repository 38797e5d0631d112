-- The newest live state of a call in Dialpad's own words.
ALTER TABLE calls ADD COLUMN dialpad_state TEXT;
