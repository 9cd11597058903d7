-- Version 10: how much later than expected the next beat may come, as the last one said; NULL if it did not.

ALTER TABLE heartbeats ADD COLUMN grace INTEGER;
