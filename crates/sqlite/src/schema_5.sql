-- Version 5: the incarnation of this database, drawn when it is first needed.

CREATE TABLE incarnations (
    key     TEXT NOT NULL PRIMARY KEY, -- current
    version INTEGER NOT NULL,
    writer  TEXT NOT NULL,
    open    INTEGER NOT NULL,
    record  TEXT NOT NULL
) STRICT;
