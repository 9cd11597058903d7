-- Version 4: a delivery that fails for long yields to later ones about its hosts, and a digest that is too large for a
-- receiver is sent in parts.

ALTER TABLE deliveries ADD COLUMN refused INTEGER NOT NULL DEFAULT 0; -- tries with an answer that no further try changes
ALTER TABLE deliveries ADD COLUMN failing INTEGER; -- when the first failed try ended
ALTER TABLE deliveries ADD COLUMN yielded INTEGER; -- when the last try failed, if those behind it are tried now
ALTER TABLE deliveries ADD COLUMN sent INTEGER NOT NULL DEFAULT 0; -- the hosts before this place of the list have got it
ALTER TABLE deliveries ADD COLUMN size INTEGER; -- how many places the last try had, until its outcome is known
UPDATE deliveries SET failing = tried WHERE tries > 0;

-- Two deliveries of a host may be due now: the first, which yields, and the one behind it.
DROP INDEX deliveries_head;

-- How many hosts the receiver took last in a part of a digest; NULL while it takes all.
ALTER TABLE subscriptions ADD COLUMN took INTEGER;
