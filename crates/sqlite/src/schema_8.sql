-- Version 8: with which key a host beats, how many hosts each key has, and what it is limited to.

ALTER TABLE heartbeats ADD COLUMN key TEXT;               -- of the last beat
ALTER TABLE heartbeats ADD COLUMN first_interval INTEGER; -- of the first beat
ALTER TABLE heartbeats ADD COLUMN address TEXT; -- that the last beat came from
UPDATE heartbeats SET first_interval = interval;

ALTER TABLE keys ADD COLUMN max_hosts INTEGER;    -- NULL for the default
ALTER TABLE keys ADD COLUMN max_interval INTEGER; -- NULL for none
ALTER TABLE keys ADD COLUMN hosts INTEGER NOT NULL DEFAULT 0;

CREATE TRIGGER hosts_new AFTER INSERT ON heartbeats WHEN NEW.key IS NOT NULL BEGIN
    UPDATE keys SET hosts = hosts + 1 WHERE id = NEW.key;
END;
CREATE TRIGGER hosts_gone AFTER DELETE ON heartbeats WHEN OLD.key IS NOT NULL BEGIN
    UPDATE keys SET hosts = hosts - 1 WHERE id = OLD.key;
END;
CREATE TRIGGER hosts_moved AFTER UPDATE OF key ON heartbeats WHEN OLD.key IS NOT NEW.key BEGIN
    UPDATE keys SET hosts = hosts - 1 WHERE id = OLD.key;
    UPDATE keys SET hosts = hosts + 1 WHERE id = NEW.key;
END;
