-- Version 6: what admins did.

CREATE TABLE audit (
    id  TEXT NOT NULL PRIMARY KEY, -- sorts by time
    act TEXT NOT NULL              -- JSON
) STRICT, WITHOUT ROWID;
