-- Consumers whose connections share the work at several processes.

-- Which process serves which partition, and how far each has come (JSON). Valid while the holder is its version: a process that takes
-- the consumer over writes another holder.
ALTER TABLE consumers ADD COLUMN sharing TEXT;
ALTER TABLE consumers ADD COLUMN sharing_version INTEGER;
