-- Version 9: fleets, with their settings and when a notice of each kind was last sent.

CREATE TABLE fleets (
    key     TEXT NOT NULL PRIMARY KEY, -- the name
    version INTEGER NOT NULL,
    writer  TEXT NOT NULL,
    open    INTEGER NOT NULL,
    record  TEXT NOT NULL
) STRICT;
CREATE INDEX fleets_open ON fleets (key) WHERE open = 1;
