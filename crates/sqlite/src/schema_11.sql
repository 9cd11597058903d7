-- Version 11: the last run that a start began, which run the last beat is about, and the last message to keep.

ALTER TABLE heartbeats ADD COLUMN run_id INTEGER;    -- of the last beat, a checksum
ALTER TABLE heartbeats ADD COLUMN run INTEGER;       -- when it began
ALTER TABLE heartbeats ADD COLUMN run_limit INTEGER; -- how long it may take
ALTER TABLE heartbeats ADD COLUMN run_of INTEGER;    -- its id, a checksum
ALTER TABLE heartbeats ADD COLUMN run_took INTEGER;  -- when a beat with that id has ended it
ALTER TABLE heartbeats ADD COLUMN logged INTEGER;
ALTER TABLE heartbeats ADD COLUMN log TEXT;
